"""Which ports ask who comes: all that can, and none is open by mistake."""

from random import Random
from typing import Any

import pytest

from server_room_system.rooms.doors import Doors
from server_room_system.transport.locks import Caller, KeyPair, Verdict

KEYS = KeyPair(Random(1).randbytes(32), Random(2).randbytes(32))


async def nobody(caller: Caller) -> bool:
    return False


@pytest.mark.parametrize(
    ("asks", "clients", "workers"),
    [
        ({}, True, True),
        ({"keys": KEYS}, False, False),
        ({"keys": KEYS, "authorised": set()}, False, False),
        ({"authorised": set()}, False, True),
        ({"passwords": nobody}, False, True),
    ],
    ids=["nothing", "keys", "authorised keys", "authorised keys without keys", "passwords"],
)
def test_a_port_is_open_only_where_nothing_is_asked(asks: dict[str, Any], clients: bool, workers: bool) -> None:
    doors = Doors(**asks)
    doors.join(b"the key of a cluster")
    assert doors.for_clients().is_open is clients
    assert doors.for_workers().is_open is workers


def test_with_authorised_keys_and_none_of_its_own_a_port_lets_nobody_in() -> None:
    assert Doors(authorised=set()).for_clients().judge(Caller("192.0.2.1")) is Verdict.NEVER
