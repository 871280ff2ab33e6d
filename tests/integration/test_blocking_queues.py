"""The blocking client in queues and parties."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from server_room_system import MatchCancelled, MatchFound, MatchQueue, PartyNotFound, QueueProgress, Server, UsageError

from .system import LOCAL, on_a_thread
from .test_blocking_client import Echo, Loop


class Duel(MatchQueue):
    room = "echo"


class Careful(MatchQueue):
    room = "echo"
    accept = 20.0


class Pairs(MatchQueue):
    room = "echo"
    teams = {"all": 2}  # noqa: RUF012  # nobody writes to it


class Queued(Loop):
    """Keeps what it hears of its ticket, and plays or not."""

    plays = True

    def __init__(self) -> None:
        super().__init__()
        self.found: list[MatchFound] = []
        self.progress: list[QueueProgress] = []

    def match_found(self, found: MatchFound) -> bool:
        self.found.append(found)
        return self.plays

    def queue_progress(self, progress: QueueProgress) -> None:
        self.progress.append(progress)


@contextlib.contextmanager
def players(count: int) -> Iterator[list[Queued]]:
    queues = {"duel": Duel, "careful": Careful, "pairs": Pairs}
    with on_a_thread(Server(rooms={"echo": Echo}, queues=queues)) as host, contextlib.ExitStack() as stack:
        several = [Queued() for _ in range(count)]
        for one in several:
            one.connect(LOCAL, int(host.address.rpartition(":")[2]))
            stack.callback(one.close)
        yield several


def both_ready(*several: Queued) -> None:
    for one in several:
        one.poll_until(lambda one=one: one.ready)  # type: ignore[misc]  # bound at once


def test_two_are_matched_and_play_again() -> None:
    with players(2) as (ann, bob):
        ann.enqueue("duel")
        with pytest.raises(UsageError):
            ann.enqueue("duel")
        ann.poll_until(lambda: ann.progress)
        assert ann.why()["queue"] == "duel"
        bob.enqueue("duel", options={"level": 3})
        both_ready(ann, bob)
        assert ann.request("double", 4) == 8
        room: Any = ann._room
        for one in (ann, bob):
            one.leave()
            one.poll_until(lambda one=one: one.ended)  # type: ignore[misc]  # bound at once
            one.rematch(room.id)
        both_ready(ann, bob)


def test_it_says_whether_it_plays() -> None:
    with players(3) as (ann, bob, cid):
        bob.plays = False
        ann.enqueue("careful")
        bob.enqueue("careful")
        for one in (ann, bob):
            one.poll_until(lambda one=one: one.found)  # type: ignore[misc]  # bound at once
        bob.poll_until(lambda: bob.ended)
        assert isinstance(bob.ended[0], MatchCancelled)
        cid.enqueue("careful")
        cid.poll_until(lambda: cid.found)
        ann.poll_until(lambda: len(ann.found) > 1)
        both_ready(ann, cid)


def test_a_cancel_is_final() -> None:
    with players(2) as (ann, bob):
        with pytest.raises(UsageError):
            ann.why()
        ann.cancel()  # nothing to cancel
        ann.enqueue("duel")
        ann.poll_until(lambda: ann.progress)
        ann.cancel()
        ann.poll_until(lambda: ann.ended)
        assert isinstance(ann.ended[0], MatchCancelled)
        bob.enqueue("duel")
        bob.poll_until(lambda: bob.progress)
        assert not bob.ready


def test_a_party_plays_together() -> None:
    with players(2) as (ann, bob):
        with pytest.raises(UsageError):
            ann.leave_party()
        with pytest.raises(PartyNotFound):
            bob.join_party("abcdefghijkl")
        bob.join_party(ann.make_party())
        assert bob.party is not None
        assert [one.client for one in bob.party.members] == [ann.data.ID, bob.data.ID]
        bob.follow()
        ann.enqueue("pairs")
        both_ready(ann, bob)
        bob.leave_party()
        assert bob.party.over


def test_hooks_that_raise_are_logged_and_play_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Queued):
        def match_found(self, found: MatchFound) -> bool:
            raise RuntimeError("mine")

    with players(1) as (ann,):
        bob = Broken()
        bob.connect(LOCAL, int(str(ann._client._shell._address).rpartition(":")[2]))  # type: ignore[union-attr]
        try:
            ann.enqueue("careful")
            bob.enqueue("careful")
            bob.poll_until(lambda: bob.ended)
            assert isinstance(bob.ended[0], MatchCancelled)
            assert "match_found" in caplog.text
        finally:
            bob.close()
