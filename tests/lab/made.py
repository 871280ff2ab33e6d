"""Figures of a run that never was."""

from dataclasses import replace
from typing import Any

from server_room_system.lab.figures import Figures, Latency, Moment, ProcessUse
from server_room_system.lab.ledger import Faults

__all__ = ["figures"]

_FAST = Latency(1000, 0.001, 0.002, 0.004, 0.008, 0.02)
_NONE = Latency(0, None, None, None, None, None)

_MADE = Figures(
    scenario="rooms",
    server="app:server",
    bots=40,
    processes=2,
    seconds=3.0,
    warm_up=1.0,
    visits=False,
    delivery=_FAST,
    join=_FAST,
    lag=Latency(1000, 0.0001, 0.0002, 0.0003, 0.0004, 0.0005),
    own=Latency(1000, 0.0001, 0.0002, 0.0003, 0.0004, 0.0005),
    sent=250,
    messages_per_second=250 / 3,
    deliveries_per_second=1000 / 3,
    joins_per_second=None,
    checked=1300,
    faults=Faults(),
    busy=0.3,
    foreign=0.02,
    unsent=0,
    held=0,
    errors={},
    moments=[Moment(1.0, _FAST, 80, 320), Moment(2.0, _NONE, 0, 0), Moment(3.0, _FAST, 90, 350)],
    servers=[
        ProcessUse("server", 100, [0.25, 0.5, 0.75], [30e6, 40e6, 40e6]),
        ProcessUse("server, child 1", 101, [None, 0.25, 0.25], [None, 20e6, 30e6]),
    ],
    loads=[ProcessUse("load 1", 102, [0.2, 0.2, 0.2], [30e6, 30e6, 30e6])],
    machine={"CPU": "of cardboard", "cores": "2"},
    server_said=[],
)


def figures(**changes: Any) -> Figures:
    """Good ones, but for what is changed."""
    return replace(_MADE, **changes)
