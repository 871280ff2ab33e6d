"""Rooms that seek members from queues: what they lack, and what they lack again when somebody does not come."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

from ..protocol.errors import Code, RequestError, UnknownQueue
from ..rooms.control import Seeking
from .queues import Backfill, Match, Matcher

__all__ = ["Seekers", "SeekersOutbox"]

_REST = 1.0
"""Seconds that a room gets nobody after it has refused somebody, so that one that seeks more members than it has seats
for is not asked all the time."""


class SeekersOutbox(Protocol):
    """Where it writes what must happen."""

    @property
    def now(self) -> float:
        """The time of this turn, monotonic seconds."""
        ...

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back at that time."""


class Seekers:
    """The rooms that seek members.

    Args:
        matchers: the queues, by their names.
        out: where to write.
        soon: called with the queue that has something to do.
    """

    def __init__(self, matchers: Mapping[str, Matcher], out: SeekersOutbox, soon: Callable[[str], None]) -> None:
        self._matchers = matchers
        self._out = out
        self._soon = soon
        self._seeking: dict[str, tuple[str, Backfill]] = {}
        """What rooms seek, with their queue. The matcher lowers the vacancies as it fills them."""
        self._resting: dict[str, tuple[str, Backfill] | None] = {}
        """Rooms that have refused somebody just now, and what they have sought since."""

    def __len__(self) -> int:
        return len(self._seeking)

    def seek(self, report: Seeking) -> None:
        """A room seeks members, in place of what it sought before.

        Raises:
            UnknownQueue, TicketError: it seeks them where there are none such.
        """
        self.stop(report.room)
        if not report.vacancies:
            return
        matcher = self._matchers.get(report.queue)
        if matcher is None:
            raise UnknownQueue(f"no queue is named {report.queue!r:.80}")
        about = report.about
        criteria = matcher.queue.read(about.get("criteria") or {})
        backfill = Backfill(
            report.room, report.vacancies, self._out.now, about.get("rating"), criteria, about.get("region")
        )
        if report.room in self._resting:
            matcher.queue.check_backfill(backfill)
            self._resting[report.room] = report.queue, backfill
        else:
            self._seek(report.queue, backfill)

    def stop(self, room: str) -> None:
        """A room seeks no more, or is gone."""
        if self._resting.get(room) is not None:
            self._resting[room] = None
        queue, _ = self._seeking.pop(room, ("", None))
        if queue:
            self._matchers[queue].stop_seeking(room)

    def give_back(self, match: Match) -> None:
        """A match has come to nothing: the room that it was for, if any, still lacks them."""
        queue, backfill = self._seeking.get(match.room or "", ("", None))
        if backfill is None:
            return
        vacancies = {team: Counter(roles) for team, roles in backfill.vacancies.items()}
        for team, places in match.teams.items():
            vacancies.setdefault(team, Counter()).update(place.role for place in places)
        self._seek(queue, Backfill(
            backfill.room, vacancies, backfill.since, backfill.rating, backfill.criteria, backfill.region
        ))  # fmt: skip

    def refused(self, room: str, match: Match, answer: RequestError) -> None:
        """A room does not take whom a queue sent. It says once more what it seeks."""
        self.stop(room)
        if answer.code == Code.ALREADY_WAITING:  # one of them is in it
            for ticket in match.tickets:
                ticket.shunned |= {room}
            return
        self._resting[room] = None
        self._out.alarm(self._out.now + _REST, self._rested, room)

    def _seek(self, queue: str, backfill: Backfill) -> None:
        self._matchers[queue].seek(backfill)
        self._seeking[backfill.room] = (queue, backfill)
        self._soon(queue)

    def _rested(self, room: str) -> None:
        sought = self._resting.pop(room)
        if sought is not None:
            self._seek(*sought)
