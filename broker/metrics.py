"""What a broker tells Prometheus: the families, and how their values are found.

Every label has few values, and no client can choose one: room types are those
of the server, workers have the cluster key, errors are our own classes. Rooms,
clients and addresses are never labels.
"""

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..protocol.errors import ConfigError
from .broker import Broker
from .placement import Load
from .workers import WorkerRecord, WorkerState

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["CONTENT_TYPE", "FAMILIES", "Family", "Look", "check_extra", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
"""The type of rooms that are registered under no name."""
_DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Look:
    """Where the values are found, at one moment."""

    broker: Broker
    load: Load
    """Of the broker's own process."""
    up: float
    """Seconds since the broker began."""
    room_types: frozenset[str]
    """Those that are registered."""
    connections: Mapping[str, int]
    """How many there are, by port: ``clients`` and, with workers in processes of their own, ``workers``."""
    received: Mapping[str, int]
    """Frames that came, by port."""
    refusals: Mapping[str, Counter[str]]
    """By port, and the name of the error."""

    def by_type(self, count: Callable[[int, int], int]) -> list["Sample"]:
        """A sum over the rooms of each type. ``count`` gets the members and the free seats of a room."""
        sums = dict.fromkeys((*sorted(self.room_types), OTHER), 0)
        for entry in self.broker.directory:
            report = entry.report
            sums[report.type if report.type in self.room_types else OTHER] += count(
                report.clients, report.max_clients - report.free
            )
        return [Sample((name,), value) for name, value in sums.items()]

    def by_worker(self, value: Callable[[WorkerRecord], float]) -> list["Sample"]:
        """A value of each worker."""
        return [Sample((record.name,), value(record)) for record in self.broker.workers]


class Sample(NamedTuple):
    """One value, with a value for each label of its family."""

    labels: tuple[str, ...]
    value: float


class Family(NamedTuple):
    """One thing that is measured."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    labels: tuple[str, ...]
    samples: Callable[[Look], Iterable[Sample]]


def _one(value: Callable[[Look], float]) -> Callable[[Look], list[Sample]]:
    return lambda look: [Sample((), value(look))]


def _workers_by_state(look: Look) -> list[Sample]:
    states = Counter(_DRAINING if record.draining else record.state.value for record in look.broker.workers)
    names = (WorkerState.SERVING.value, WorkerState.MISSING.value, _DRAINING)
    return [Sample((name,), states[name]) for name in names]


def _refusals(look: Look) -> Iterator[Sample]:
    for port, counts in look.refusals.items():
        for error, count in sorted(counts.items()):
            yield Sample((port, error), count)


FAMILIES: tuple[Family, ...] = (
    Family("srs_up_seconds", "gauge", "Since the broker began.", (), _one(lambda look: look.up)),
    Family("srs_sessions", "gauge", "Clients, those included that may still come back.", (),
           _one(lambda look: len(look.broker.sessions))),
    Family("srs_connections", "gauge", "Connections at the broker's ports: clients, workers.", ("port",),
           lambda look: [Sample((port,), count) for port, count in look.connections.items()]),
    Family("srs_tickets", "gauge", "Tickets that wait for a match.", (), _one(lambda look: len(look.broker.queues))),
    Family("srs_tickets_ended_total", "counter", "Tickets by their end: matched, cancelled, expired.", ("outcome",),
           lambda look: [Sample((state.value,), count) for state, count in look.broker.queues.ended.items()]),
    Family("srs_rooms", "gauge", "Rooms by registered type; others are together.", ("type",),
           lambda look: look.by_type(lambda members, seats: 1)),
    Family("srs_members", "gauge", "Members of rooms.", ("type",),
           lambda look: look.by_type(lambda members, seats: members)),
    Family("srs_seats", "gauge", "Seats that are taken or reserved.", ("type",),
           lambda look: look.by_type(lambda members, seats: seats)),
    Family("srs_workers", "gauge", "Workers: serving, missing (connection lost just now), draining.", ("state",),
           _workers_by_state),
    Family("srs_worker_rooms", "gauge", "Rooms of a worker.", ("worker",),
           lambda look: look.by_worker(lambda record: len(record.rooms))),
    Family("srs_worker_seats", "gauge", "Seats of a worker that are taken or reserved.", ("worker",),
           lambda look: look.by_worker(lambda record: record.taken)),
    Family("srs_worker_lag_seconds", "gauge", "The longest that a worker's loop was late in the last second.",
           ("worker",), lambda look: look.by_worker(lambda record: record.load.lag)),
    Family("srs_worker_cpu_cores", "gauge", "Cores that a worker keeps busy.", ("worker",),
           lambda look: look.by_worker(lambda record: record.load.cpu)),
    Family("srs_worker_resident_bytes", "gauge", "Memory of a worker; 0 where the system does not tell.", ("worker",),
           lambda look: look.by_worker(lambda record: record.load.rss)),
    Family("srs_worker_messages_per_second", "gauge", "Messages that a worker gets from clients.", ("worker",),
           lambda look: look.by_worker(lambda record: record.load.messages)),
    Family("srs_broker_lag_seconds", "gauge", "The longest that the broker's loop was late in the last second.", (),
           _one(lambda look: look.load.lag)),
    Family("srs_broker_cpu_cores", "gauge", "Cores that the broker's process keeps busy.", (),
           _one(lambda look: look.load.cpu)),
    Family("srs_broker_resident_bytes", "gauge", "Memory of the broker's process; 0 where the system does not tell.",
           (), _one(lambda look: look.load.rss)),
    Family("srs_frames_received_total", "counter", "Frames that came to the broker.", ("port",),
           lambda look: [Sample((port,), count) for port, count in look.received.items()]),
    Family("srs_refusals_total", "counter", "What the broker refused, by the error's name, or why.", ("port", "error"),
           _refusals),
)  # fmt: skip
"""All of them. ``docs/operations.md`` describes each."""


def check_extra() -> None:
    """Raises ConfigError where prometheus-client is not installed. It loads it now, so that no scrape has to."""
    try:
        importlib.import_module("prometheus_client")
    except ModuleNotFoundError as error:
        raise ConfigError("metrics need prometheus-client: pip install 'server-room-system[metrics]'") from error


def exposition(look: Look) -> bytes:
    """All families, in the text format of Prometheus."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  # an extra, and slow to import

    class Families:
        def collect(self) -> Iterator["Metric"]:
            return _metrics(look)

    registry = CollectorRegistry()
    registry.register(Families())
    return generate_latest(registry)


def _metrics(look: Look) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  # likewise

    for name, kind, meaning, labels, samples in FAMILIES:
        family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, meaning, labels=labels)
        for label_values, value in samples(look):
            family.add_metric(label_values, value)
        yield family
