"""One queue with its players, rooms and faults, drawn up from a seed, on a virtual clock.

Whoever runs a matcher does what this does: it takes tickets in, ends them, proposes
matches to those who have to accept, asks workers for rooms, and tells the matcher
what came of it. Everything that can go wrong goes wrong: sessions vanish in every
phase, cancels race with matches, answers come late or never, players decline, workers
refuse or are lost, rooms close while somebody is on the way to them.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random

from server_room_system.broker.queues import (
    Backfill,
    Entrant,
    Match,
    Matcher,
    Ticket,
    TicketEvent,
    TicketState,
)
from server_room_system.protocol.errors import TicketError

from .desk import Desk
from .oracle import Mistake, Oracle, Party
from .outcome import Outcome
from .policies import KINDS

__all__ = ["World", "play"]

_TICKETS = 1500
"""Of a run."""
_EVERY = 4
"""Of so many seeds, one draws up a whole broker, and the others a matcher."""
_ENDS = {"cancelled": TicketEvent.CANCEL, "expired": TicketEvent.EXPIRE}


def play(seed: int, tickets: int = _TICKETS) -> Outcome:
    """One run. What is wrong is in its outcome."""
    world = Desk(seed, tickets) if seed % _EVERY == 0 else World(seed, tickets)
    try:
        world.run()
    except Mistake as error:
        world.outcome.mistake = f"{world.outcome.kind}, {world.now:.6f} s: {error}"
    except Exception as error:  # noqa: BLE001  # what decides raises nothing that its callers don't know
        world.outcome.mistake = f"{world.outcome.kind}, {world.now:.6f} s: {type(error).__name__}: {error}"
    return world.outcome


class World:
    """One queue, from its first ticket until nothing is left.

    Args:
        seed: draws up everything.
        tickets: that come.
    """

    def __init__(self, seed: int, tickets: int) -> None:
        self.random = Random(seed)
        name = self.random.choice(sorted(KINDS))
        self.kind = KINDS[name]
        self.policy = self.kind.policy()
        self.matcher = Matcher(self.policy, "queue")
        self.oracle = Oracle(self.policy)
        self.outcome = Outcome(seed, name)
        self.counts = self.outcome.counts
        self.now = 0.0
        self._left = tickets
        self._rate = self.random.choice((0.5, 2.0, 8.0, 30.0))
        """Tickets a second."""
        self._trouble = self.random.choice((0.0, 0.05, 0.3))
        """The share of what goes wrong."""
        self._idle = [f"s{number}" for number in range(self.random.choice((24, 60, 250)))]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        self._rooms = itertools.count(1)
        self._living: set[str] = set()
        """Rooms that run."""

    def run(self) -> None:
        """All of it."""
        self._at(0.0, self._come)
        while self._events or self.oracle.parties:
            due = self.matcher.due()
            times = ([] if due is None else [due]) + ([self._events[0][0]] if self._events else [])
            if not times:
                raise Mistake(f"nothing will ever happen to {list(self.oracle.parties)}")
            self.now = max(self.now, min(times))
            if self._events and self._events[0][0] <= self.now and (due is None or self.random.random() < 0.9):
                heapq.heappop(self._events)[2]()
            if not self._events or self._events[0][0] > self.now or self.random.random() < 0.5:
                self._work()
        self._nothing_is_left()

    # What happens.

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def _wrong(self) -> bool:
        return self.random.random() < self._trouble

    def _come(self) -> None:
        if self._left <= 0:
            return
        size = self.random.choice(self.kind.parties)
        if size > len(self._idle):  # all others wait or play
            self._at(1.0, self._come)
            return
        self._left -= 1
        self._enter(size)
        # Several in one instant, now and then: so that one piece of work has them all.
        self._at(0.0 if self.random.random() < 0.2 else self.random.expovariate(self._rate), self._come)

    def _enter(self, size: int) -> None:
        random, policy = self.random, self.policy
        sessions = tuple(self._idle.pop(random.randrange(len(self._idle))) for _ in range(size))
        trips = {name: random.choice((0.02, 0.06, 0.12, 0.19)) for name in policy.regions if random.random() < 0.8}
        asked = {name: random.choice(values) for name, values in self.kind.criteria.items()}
        wishes = {name: value for name, value in asked.items() if value is not None}
        roles = tuple(frozenset(random.choice(self.kind.roles)) for _ in sessions)
        ratings = [random.choice((random.gauss(1500, 300), 1500.0, 1600.0)) for _ in sessions]
        number = next(self._numbers)
        entrants = tuple(
            Entrant(session, number, rating, plays, trips)
            for session, rating, plays in zip(sessions, ratings, roles, strict=True)
        )
        ticket = Ticket(number, entrants, self.now, policy.read(wishes))
        self.counts["tickets"] += 1
        self.counts["players"] += size
        try:
            self.matcher.add(ticket, self.now)
        except TicketError:
            if trips:
                raise
            self.counts["refused at the door"] += 1  # it is near no region
            self._idle += sessions
            return
        lists = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in wishes.items()}
        party = Party(ticket, sessions, lists, roles, trips, sum(ratings) / size, self.now)
        self.oracle.entered(party)
        self._at(random.uniform(1.0, 90.0), lambda: self._over(party, "expired"))
        if self._wrong():
            self._at(random.choice((0.0, random.expovariate(0.1))), lambda: self._over(party, "cancelled"))
        if self._wrong():
            self._at(random.choice((0.0, random.expovariate(0.1))), lambda: self._away(party))

    def _over(self, party: Party, how: str) -> None:
        """It is cancelled, its deadline has come, or one of its sessions has ended: in whatever phase."""
        ticket = party.ticket
        if self.oracle.parties.get(ticket.number) is not party or party.standing == "matched":
            return
        before = self.random.random() < 0.5
        if before:
            self.matcher.remove(ticket)
        ticket.step(_ENDS[how])
        if not before:
            self.matcher.remove(ticket)
        self.counts[f"{how} while {party.standing}"] += 1
        if party.standing == "proposed":
            for session in party.sessions:
                del self.oracle.playing[session]
        self.oracle.end(ticket.number, how)
        self._idle += party.sessions

    def _away(self, party: Party) -> None:
        if party.standing != "waiting" or party.ticket.state is not TicketState.WAITING:
            return
        self.matcher.set_aside(party.ticket)
        party.standing = "aside"
        self.counts["set aside"] += 1
        self._at(self.random.choice((0.0, 1.0, 30.0)), lambda: self._back(party))

    def _back(self, party: Party) -> None:
        if party.standing == "aside":
            self.matcher.bring_back(party.ticket)
            party.standing, party.touched = "waiting", self.now

    def _work(self) -> None:
        """A piece of it; what comes between two pieces may be anything."""
        matches, more = self.matcher.work(self.now, self.random.choice((1, 5, 64, 256)))
        for match in matches:
            self._propose(match, self.oracle.matched(match, self.now))
        for ticket in self.matcher.take_refused():
            party = self.oracle.parties[ticket.number]
            self.oracle.refused(party, self.now)
            self._idle += party.sessions
        failure = self.matcher.take_failure()
        if failure is not None:
            raise failure
        self.counts["pieces of work"] += 1
        if more:
            self._at(0.0, self._work)
        elif not matches and not self._due_now():
            self.oracle.settled(self.now)
            self._asked()

    def _due_now(self) -> bool:
        due = self.matcher.due()
        return due is not None and due <= self.now

    def _asked(self) -> None:
        waiting = [party for party in self.oracle.parties.values() if party.standing == "waiting"]
        if len(self.matcher) != len(waiting):
            raise Mistake(f"the matcher has {len(self.matcher)} tickets, and {len(waiting)} wait")
        if waiting and self.random.random() < 0.05:
            ticket = self.random.choice(waiting).ticket
            progress, why = self.matcher.progress(ticket, self.now), self.matcher.why(ticket, self.now)
            if not 1 <= progress.position <= progress.waiting == len(waiting):
                raise Mistake(f"{ticket} is at {progress} of {len(waiting)}")
            if self.policy.shape.full == 2 and any(each.rule == "together" for each in why.obstacles):
                raise Mistake(f"{ticket} waits beside somebody that it fits with: {why}")
            self.counts["asked why"] += 1

    # What becomes of a match.

    def _propose(self, match: Match, parties: list[Party]) -> None:
        self.counts["proposed"] += 1
        if self.policy.accept is None:
            self._ask_worker(match, parties)
            return
        declining = [party for party in parties if self._wrong() and self._wrong()]
        answer = self.random.uniform(0.1, self.policy.accept)
        late = bool(declining) and self.random.random() < 0.3
        if late:  # nobody hears of it before the deadline, and what comes after it counts no more
            answer = self.policy.accept
        self._at(answer, lambda: self._answered(match, parties, declining))

    def _answered(self, match: Match, parties: list[Party], declining: list[Party]) -> None:
        for party in declining:
            if party.standing == "proposed":
                self.counts["declined"] += 1
                self._over(party, "cancelled")
        if any(party.standing != "proposed" for party in parties):
            self._put_back(match, parties)
        else:
            self._ask_worker(match, parties)

    def _ask_worker(self, match: Match, parties: list[Party]) -> None:
        if self._wrong():  # it refuses, or is lost; its answer may come late
            self.counts["workers refused"] += 1
            self._at(self.random.choice((0.0, 0.05, 5.0)), lambda: self._put_back(match, parties))
            return
        self._at(self.random.choice((0.0, 0.01, 1.0)), lambda: self._opened(match, parties))

    def _put_back(self, match: Match, parties: list[Party]) -> None:
        """It comes to nothing: who is still there has its old place."""
        left = [party for party in parties if party.standing == "proposed"]
        self.counts["put back"] += len(left)
        for party in left:
            for session in party.sessions:
                del self.oracle.playing[session]
            party.standing, party.touched = "waiting", self.now
        self.matcher.put_back([party.ticket for party in left])

    def _opened(self, match: Match, parties: list[Party]) -> None:
        gone = any(party.standing != "proposed" for party in parties)
        if gone or (match.room is not None and match.room not in self._living):
            self._put_back(match, parties)
            return
        for party in parties:
            party.ticket.step(TicketEvent.MATCH)
            self.oracle.end(party.ticket.number, "matched")
        self.counts["matches"] += 1
        if match.room is not None:
            self.counts["came into a running room"] += 1
        room = match.room or f"r{next(self._rooms)}"
        self._living.add(room)
        sessions = [session for party in parties for session in party.sessions]
        self._at(self.random.expovariate(1 / 30), lambda: self._ended(sessions))
        if match.room is None:
            if self.kind.backfill and self.random.random() < 0.4:
                self._at(self.random.uniform(0, 5), lambda: self._seek(room, match, parties))
            self._at(self.random.uniform(10, 60), lambda: self._close(room))

    def _ended(self, sessions: list[str]) -> None:
        for session in sessions:
            del self.oracle.playing[session]
        self._idle += sessions

    # Rooms that seek members.

    def _seek(self, room: str, match: Match, parties: list[Party]) -> None:
        if room not in self._living:
            return
        vacancies: dict[str, dict[str, int]] = {}
        for team, places in self.policy.shape.teams:
            roles = Counter(self.random.sample(self.policy.shape.slots(places), self.random.randrange(places + 1)))
            if roles:
                vacancies[team] = dict(roles)
        rating = self.random.choice((None, sum(party.rating for party in parties) / len(parties)))
        criteria = {name: (value,) for name, value in match.criteria.items()}
        self.matcher.seek(Backfill(room, vacancies, self.now, rating, criteria, match.region))
        self.oracle.sought[room] = (rating, criteria, match.region, self.now)
        self.oracle.vacant[room] = {team: Counter(roles) for team, roles in vacancies.items()}
        self.counts["rooms sought members"] += 1

    def _close(self, room: str) -> None:
        self._living.discard(room)
        self.oracle.vacant.pop(room, None)
        self.matcher.stop_seeking(room)

    # The end.

    def _nothing_is_left(self) -> None:
        for room in list(self._living):
            self._close(room)
        matches, _ = self.matcher.work(self.now, 1_000_000)
        if matches or len(self.matcher) or self.matcher.rooms or self.matcher.take_refused():
            raise Mistake(
                f"{len(self.matcher)} tickets, {self.matcher.rooms} rooms and {len(matches)} matches are left"
            )
        if self.matcher.due() is not None:
            raise Mistake(f"something is due at {self.matcher.due()}, and nobody waits")
        ended = sum(self.oracle.ended.values())
        if ended + self.counts["refused at the door"] != self.counts["tickets"]:
            raise Mistake(f"{self.counts['tickets']} tickets came, and {ended} ended")
        self.counts.update(self.oracle.ended)
        self.counts["checks"] += self.oracle.checks
