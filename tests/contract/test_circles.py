"""A connection that is over is gone at once, with its sockets: nothing of it waits for the cyclic collector."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from server_room_system.broker.probe import ask_endpoint
from server_room_system.protocol import Probed

from .ground import Ground, on_zeromq


@pytest.fixture(autouse=True)
def nobody_collects() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def at_hand(ground: Ground) -> None:
    """Forget what the ground keeps to close at the end, of what is closed."""
    ground._links.clear()
    ground._listeners[:] = [one for one in ground._listeners if not one._socket.closed]  # type: ignore[attr-defined]


@on_zeromq
async def test_a_link_that_was_closed_is_gone(ground: Ground) -> None:
    listener, _ = ground.listen()
    link, _ = await ground.dial(listener)
    gone = weakref.ref(link)
    link.close()
    at_hand(ground)
    del link
    await asyncio.sleep(0)
    assert gone() is None


@on_zeromq
async def test_a_link_that_found_nobody_is_gone(ground: Ground) -> None:
    listener, _ = ground.listen()
    address = listener.address
    listener.close()
    link, mouth = ground.connect(address)
    gone = weakref.ref(link)
    await ground.until(lambda: mouth.reasons)
    at_hand(ground)
    del link
    await asyncio.sleep(0)
    assert gone() is None


@on_zeromq
async def test_a_listener_that_was_closed_is_gone(ground: Ground) -> None:
    listener, _ = ground.listen()
    gone = weakref.ref(listener)
    await ground.dial(listener)
    listener.close()
    at_hand(ground)
    del listener
    await asyncio.sleep(0.01)
    assert gone() is None


@on_zeromq
async def test_a_probe_is_gone_when_it_has_its_answer_or_none(ground: Ground) -> None:
    listener, _ = ground.listen()
    address = listener.address
    listener.close()
    answers: list[Probed | None] = []
    probe = ask_endpoint(ground.network, address, None, b"0123456789abcdef", answers.append)
    gone = weakref.ref(probe)
    del probe
    await ground.eventually(lambda: answers)
    await asyncio.sleep(0.01)
    assert answers == [None]
    assert gone() is None
