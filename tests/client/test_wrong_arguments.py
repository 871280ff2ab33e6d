"""What no broker would take is refused where it is asked for, at once, and the client goes on."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server_room_system import AsyncClient, MatchQueue, PayloadError, Room, RuleSet, RuleSetError, Server, UsageError
from server_room_system.testing import run, system


class Table(Room):
    max_clients = 2


class Ranked(MatchQueue):
    room = "table"
    least = most = 2
    hard = ("mode",)


TWO = RuleSet(2, "table")
WRONG: Any = [1]

CALLS: list[tuple[Callable[[AsyncClient], Awaitable[object]], type[UsageError], str]] = [
    (lambda c: c.match(TWO, timeout=-1), UsageError, "timeout has to be seconds, over 0, not -1"),
    (lambda c: c.match(TWO, timeout=math.nan), UsageError, "timeout has to be seconds, over 0, not nan"),
    (lambda c: c.match(TWO, timeout=WRONG), UsageError, "timeout has to be seconds"),
    (lambda c: c.match(WRONG), RuleSetError, r"a ruleset is wanted here, like RuleSet\(2, room='duel'\), not \[1\]"),
    (lambda c: c.match(TWO, options=WRONG), UsageError, r"options has to be map with str keys, not \[1\]"),
    (lambda c: c.match(TWO, options={"a": object()}), PayloadError, "can't be sent as msgpack"),
    (lambda c: c.create(TWO, options={"a": "x" * 20_000}), PayloadError, "over the limit of 16384"),
    (lambda c: c.create(WRONG), RuleSetError, "a ruleset is wanted"),
    (lambda c: c.join_or_create(WRONG), RuleSetError, "a ruleset is wanted"),
    (lambda c: c.join_or_create(TWO, where=WRONG), UsageError, "filter has to be map with str keys"),
    (lambda c: c.join_or_create(TWO, where={1: 2}), UsageError, "filter has to be map with str keys"),  # type: ignore[dict-item]
    (lambda c: c.join(WRONG), UsageError, "type has to be str, at most 64 characters"),
    (lambda c: c.join_by_id(WRONG), UsageError, "room has to be str, at most 32 characters"),
    (lambda c: c.join_by_id("x" * 40), UsageError, "room has to be str, at most 32 characters"),
    (lambda c: c.rematch("x", timeout=0), UsageError, "timeout has to be seconds, over 0, not 0"),
    (lambda c: c.rooms(WRONG), UsageError, "type has to be str, at most 64 characters, or nil"),
    (lambda c: c.watch_rooms(where=WRONG), UsageError, "filter has to be map with str keys"),
    (lambda c: c.enqueue(WRONG), UsageError, "queue has to be str, at most 64 characters"),
    (lambda c: c.enqueue("ranked", WRONG), UsageError, "criteria has to be map with str keys"),
    (lambda c: c.enqueue("ranked", {"mode": "x" * 20_000}), PayloadError, "over the limit of 16384"),
    (lambda c: c.enqueue("ranked", timeout=-1), UsageError, "timeout has to be seconds, over 0, not -1"),
    (lambda c: c.enqueue("ranked", regions=WRONG), UsageError, "regions has to be map with str keys"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), CALLS)
def test_a_wrong_argument_is_named_at_once_and_the_client_goes_on(
    call: Callable[[AsyncClient], Awaitable[object]], error: type[UsageError], sentence: str
) -> None:
    async def wrong() -> None:
        async with system(Server(rooms={"table": Table}, queues={"ranked": Ranked})) as s:
            client = await s.client()
            before = s.now
            with pytest.raises(error, match=sentence):
                await call(client)
            assert s.now == before
            room = await client.create(TWO)
            assert room.type == "table"

    run(wrong)
