"""The whole broker with queues and parties, clients that misbehave, and a worker that may refuse: from a seed.

What holds is checked from what the clients are told and what the worker is asked for, and from nothing else.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from server_room_system import BrokerLimits, ClientData, Code, Limits
from server_room_system.protocol import Error, Goodbye, Hello, Message, Resume, Welcome
from server_room_system.protocol.messages import Assigned, Cancel
from server_room_system.protocol.queue_messages import Accept, Enqueue, Found, Party, PartyState
from server_room_system.rooms.control import (
    OpenRoom,
    Refused,
    ReleaseSeats,
    ReserveSeats,
    RoomEnded,
    Seated,
    Seeking,
    Unseated,
)
from tests.broker.fakes import Bench, FakeCaller

from .clients import ACCEPT, QUEUES, Ask, Client
from .oracle import Mistake
from .outcome import Outcome

__all__ = ["Desk"]

_LONGEST = 30.0
"""Seconds that a worker has for its answer."""
_SLACK = 15.0
"""Seconds beyond, for answers of workers that come while a deadline passes."""


class Desk:
    """One broker from the first client until nobody is left.

    Args:
        seed: draws up everything.
        tickets: ENQUEUEs that are sent.
    """

    def __init__(self, seed: int, tickets: int) -> None:
        self.random = Random(f"{seed} desk")
        FakeCaller._count = 0  # it is in the numbers that clients are told
        self.outcome = Outcome(seed, "broker")
        self.counts = self.outcome.counts
        self.bench = Bench(
            BrokerLimits(session_grace=20.0, longest_wait=120.0), Limits(),
            queues={name: queue() for name, queue in QUEUES.items()},
        )  # fmt: skip
        self.out = self.bench.out
        self._left = tickets
        self._trouble = self.random.choice((0.0, 0.05, 0.25))
        self._rate = self.random.choice((2.0, 10.0))
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._asks = itertools.count(100)
        self.clients: dict[str, Client] = {}
        """By session: those that have not ended."""
        self._read_orders = 0
        self._pending: dict[int, set[str]] = {}
        """What the worker was asked for and has not answered, and for whom."""
        self._making: dict[int, str] = {}
        """The room that each of these is to make, if it is."""
        self._unsure: set[str] = set()
        """Sessions that have missed what was said: a match that was being made for them may have come to nothing."""
        self._spoiled: set[str] = set()
        """Rooms whose match somebody has left before they were made: nobody of it comes into them."""
        self._rooms: dict[str, set[str]] = {}
        self._vacant: dict[str, Counter[tuple[str, str]]] = {}
        self._filled: dict[tuple[str, str], tuple[str, str]] = {}
        """The place that a session has in a room that sought members."""

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return self.out.now - 1000.0

    def run(self) -> None:
        """All of it."""
        for _ in range(self.random.choice((8, 25, 60))):
            self._come()
        self._at(0.0, self._act)
        while self._events:
            when, _, what = heapq.heappop(self._events)
            self._until(when)
            what()
            self._look()
        self._until(self.now + 200.0)
        self._nobody_is_left()

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), what))

    def _wrong(self) -> bool:
        return self.random.random() < self._trouble

    def _until(self, when: float) -> None:
        """Each alarm of the broker is met, and what comes of it is read at once."""
        while (due := self.out.alarms.next()) is not None and due - 1000.0 <= when:
            self.out.advance(max(0.0, due - self.out.now))
            self._look()
        self.out.advance(max(0.0, when - self.now))

    # Clients.

    def _come(self) -> None:
        caller = FakeCaller(self.out)
        self.bench.say(caller, Hello(1, [1], "test", {}))
        welcome = next(message for message in caller.heard() if isinstance(message, Welcome))
        self.clients[welcome.session] = Client(caller, welcome)

    def _say(self, client: Client, message: Message) -> None:
        self.bench.say(client.caller, message)
        self._look()

    def _act(self) -> None:
        """Somebody does something."""
        if self._left <= 0:
            return
        client = self.random.choice([*self.clients.values()])
        if client.here and client.ask is None and client.room is None:
            if self.random.random() < 0.3:
                self._about_parties(client)
            else:
                self._enqueue(client, self.random.choice(list(QUEUES)))
        elif client.here and self._wrong():
            self.random.choice((self._cancel, self._lose, self._leave))(client)
        self._at(self.random.expovariate(self._rate * len(self.clients) / 10), self._act)

    def _enqueue(self, client: Client, queue: str) -> None:
        number, timeout = next(self._asks), self.random.uniform(2.0, 60.0)
        criteria = {"mode": self.random.choice(("ctf", "dm", ["ctf", "dm"]))} if queue == "duel" else {}
        message = Enqueue(
            client.welcome.ref, number, queue, criteria, [], {}, {}, timeout, client.party.get("code", "")
        )
        client.ask = Ask(number, message, self.now + timeout)
        self._left -= 1
        self.counts["tickets"] += 1
        self._say(client, message)
        others = client.party.get("members", [])
        if client.ask is not None and others and client.party["leader"] == client.welcome.client_id:
            ids = {other["client"] for other in others}
            for other in [one for one in self.clients.values() if one.welcome.client_id in ids and one is not client]:
                if other.here and other.ask is None and other.room is None:
                    self._at(self.random.choice((0.0, 0.5)), partial(self._follow, other, queue))

    def _follow(self, client: Client, queue: str) -> None:
        if client.here and not client.gone and client.ask is None and client.room is None and client.party:
            self._enqueue(client, queue)

    def _about_parties(self, client: Client) -> None:
        if not client.party:
            codes = [one.party["code"] for one in self.clients.values() if len(one.party.get("members", ())) == 1]
            what = ("join", self.random.choice(codes)) if codes else ("make", None)
        else:
            what = self.random.choice((("leave", None), ("look", None), ("look", None)))
            if client.party["leader"] == client.welcome.client_id:
                other = self.random.choice(client.party["members"])["client"]
                what = self.random.choice((what, ("promote", other), ("kick", other)))
        self.counts[f"party: {what[0]}"] += 1
        self._say(client, Party(client.welcome.ref, next(self._asks), *what))

    def _cancel(self, client: Client) -> None:
        if client.ask is not None:
            client.ask.cancelled = True
            self.counts["cancels"] += 1
            self._say(client, Cancel(client.welcome.ref, client.ask.number))

    def _lose(self, client: Client) -> None:
        self.counts["connections lost"] += 1
        client.here = False
        client.caller.lose()
        self._at(self.random.choice((0.0, 1.0, 10.0, 40.0)), lambda: self._return(client))

    def _return(self, client: Client) -> None:
        client.caller = FakeCaller(self.out)
        token = client.welcome.token
        self.bench.say(client.caller, Resume(2, [1], client.welcome.session, token, 0))
        told = client.caller.heard()
        welcome = next((message for message in told if isinstance(message, Welcome)), None)
        if welcome is None or not welcome.resumed:
            self._is_gone(client)
            return
        client.welcome, client.here = welcome, True
        self._unsure.add(welcome.session)
        with self.out.turn():
            client.caller.refs[welcome.ref].on_ack(0)
        for message in told:
            self._hear(client, message)
        if client.ask is not None:  # what became of it may be lost: it asks once more
            left = max(0.1, client.ask.deadline - self.now)
            client.ask.deadline = self.now + left  # who was away for longer asks anew, and is answered as any other
            again = client.ask.message._replace(ref=welcome.ref, timeout=left)
            cancelled, number = client.ask.cancelled, client.ask.number
            self._say(client, again)
            if cancelled:
                self._say(client, Cancel(welcome.ref, number))

    def _leave(self, client: Client) -> None:
        self.counts["sessions ended"] += 1
        self._say(client, Goodbye(client.welcome.ref, 0, ""))
        self._is_gone(client)

    def _is_gone(self, client: Client) -> None:
        self.clients.pop(client.welcome.session, None)
        client.gone, client.here, client.ask = True, False, None
        self._come()

    # What is heard.

    def _look(self) -> None:
        for client in [*self.clients.values()]:
            if client.here:
                for message in client.caller.heard():
                    self._hear(client, message)
        while self._read_orders < len(self.out.asked):
            order = self.out.asked[self._read_orders]
            self._read_orders += 1
            if isinstance(order, OpenRoom | ReserveSeats):
                self._asked(order)
            elif isinstance(order, ReleaseSeats):
                for room in order.rooms:
                    self._give_up(room, order.session)
        if self.out.failures:
            raise Mistake(f"hooks failed: {self.out.failures}")

    def _hear(self, client: Client, message: Message) -> None:
        if isinstance(message, Assigned | Error):
            self._unsure.discard(client.welcome.session)
        if isinstance(message, Assigned):
            if client.ask is None or message.ask != client.ask.number:
                raise Mistake(f"client {client.welcome.client_id} is assigned by {message.ask}, which has ended")
            if message.room in self._spoiled:
                raise Mistake(f"client {client.welcome.client_id} is assigned to a match that somebody has left")
            if client.room not in (None, message.room):
                raise Mistake(f"client {client.welcome.client_id} is in two matches")
            self._is_late(client)
            client.ended.add(message.ask)
            client.ask, client.room = None, message.room
            self.counts["assigned"] += 1
            self._at(self.random.uniform(0.0, 10.0), lambda: self._play(client, message.room))
        elif isinstance(message, Error):
            if message.ask in client.ended:
                raise Mistake(f"ask {message.ask} of client {client.welcome.client_id} ends twice: {message}")
            if client.ask is not None and message.ask == client.ask.number:
                self._is_late(client)
                client.ended.add(message.ask)
                client.ask = None
                for ask, sessions in self._pending.items():  # what is still asked for it will be given back
                    if client.welcome.session in sessions:
                        sessions.discard(client.welcome.session)
                        self._spoiled |= {self._making[ask]} if ask in self._making else set()
                self.counts[f"ended: {Code(message.code).name}"] += 1
        elif isinstance(message, Found):
            self._found(client, message)
        elif isinstance(message, PartyState):
            client.party = message.party

    def _is_late(self, client: Client) -> None:
        assert client.ask is not None
        if self.now > client.ask.deadline + ACCEPT + _LONGEST + _SLACK:
            raise Mistake(
                f"ask {client.ask.number} ends at {self.now:.3f} s, and was to by {client.ask.deadline:.3f} s"
            )

    def _found(self, client: Client, message: Found) -> None:
        self.counts["found"] += 1
        if self._wrong() and self._wrong():
            return  # it says nothing
        yes = not (self._wrong() and self._wrong())
        late = self._wrong() and self._wrong()
        after = ACCEPT + 1 if late else self.random.choice((0.0, self.random.uniform(0.0, ACCEPT / 2)))
        self._at(after, lambda: self._answer(client, message, yes=yes))

    def _answer(self, client: Client, message: Found, *, yes: bool) -> None:
        if client.here and not client.gone and client.ask is not None and client.ask.number == message.ask:
            self._say(client, Accept(client.welcome.ref, message.ask, message.match, yes))

    # The worker.

    def _asked(self, order: OpenRoom | ReserveSeats) -> None:
        """The broker wants seats: may those have them?"""
        sessions = [wish.session for wish in order.seats]
        self.counts["matches"] += 1
        if len(set(sessions)) < len(sessions):
            raise Mistake(f"one session twice in {order}")
        for session in sessions:
            client = self.clients.get(session)
            if client is not None and client.here and client.ask is None:
                raise Mistake(f"client {client.welcome.client_id} is matched, and has not asked, or its ask has ended")
            for others in self._pending.values():
                if session in others and session not in self._unsure:
                    raise Mistake(f"session {session} is in two matches that are being made")
                others.discard(session)  # the broker gives that one back
            if any(session in members for members in self._rooms.values()):
                raise Mistake(f"session {session} is in a match that runs")
        parties = [
            {one["client"] for one in self.clients[one].party["members"]} for one in sessions if self._together(one)
        ]
        here = {self.clients[session].welcome.client_id for session in sessions if session in self.clients}
        if any(len(party & here) not in (0, len(party)) for party in parties):
            raise Mistake(f"a party is split: {parties} and {here}")
        if isinstance(order, OpenRoom):
            self._sizes_hold(order)
        else:
            taken = Counter(wish.place or ("", "") for wish in order.seats)
            if any(self._vacant.get(order.room, Counter())[place] < count for place, count in taken.items()):
                raise Mistake(f"room {order.room} lacks {self._vacant.get(order.room)}, and gets {taken}")
            self._vacant[order.room].subtract(taken)
        self._pending[order.ask] = set(sessions)
        if isinstance(order, OpenRoom):
            self._making[order.ask] = order.room
        if self._wrong():
            self.counts["workers refused"] += 1
            self._at(self.random.choice((0.0, 2.0)), lambda: self._refuse(order))
        elif self._wrong() and self._wrong():
            self.counts["workers said nothing"] += 1
            self._at(_LONGEST - 1e-3, lambda: self._drop(order.ask))  # its time is over before others may have them
            self._at(_LONGEST + 5.0, lambda: self._grant_too_late(order))
        else:
            self._at(self.random.choice((0.0, 0.0, 0.3, 2.0)), lambda: self._grant(order))

    def _drop(self, ask: int) -> None:
        self._pending.pop(ask, None)

    def _together(self, session: str) -> bool:
        client = self.clients.get(session)
        return client is not None and client.here and len(client.party.get("members", ())) > 1

    def _sizes_hold(self, order: OpenRoom) -> None:
        policy = QUEUES[str(order.match["queue"])]
        teams = Counter(wish.place[0] if wish.place is not None else "" for wish in order.seats)
        if teams != (policy.teams or {"": policy.most or 2}):
            raise Mistake(f"{teams} in a room for {policy.teams or policy.most}")

    def _refuse(self, order: OpenRoom | ReserveSeats) -> None:
        self._pending.pop(order.ask, None)
        if order.room in self._vacant:
            self._vacant[order.room].update(wish.place or ("", "") for wish in order.seats)
        with self.out.turn():
            self.bench.report(Refused(order.ask, int(Code.ROOM_FAILED), "no"))

    def _grant_too_late(self, order: OpenRoom | ReserveSeats) -> None:
        self.bench.grant(order)
        if isinstance(order, OpenRoom):  # nobody comes into it
            with self.out.turn():
                self.bench.report(RoomEnded(order.room))

    def _give_up(self, room: str, session: str) -> None:
        """Its seat, taken or held, is free; a room that sought somebody for it lacks somebody again."""
        if session in self._rooms.get(room, ()):
            self._rooms[room].discard(session)
            if room in self._vacant and (room, session) in self._filled:
                self._vacant[room].update([self._filled.pop((room, session))])

    def _grant(self, order: OpenRoom | ReserveSeats) -> None:
        if isinstance(order, ReserveSeats) and order.room not in self._rooms:
            self._refuse(order)
            return
        self._pending.pop(order.ask, None)
        sessions = {wish.session for wish in order.seats}
        self._rooms.setdefault(order.room, set()).update(sessions)
        if isinstance(order, ReserveSeats):
            self._filled.update({(order.room, wish.session): wish.place or ("", "") for wish in order.seats})
        self.bench.grant(order)
        if isinstance(order, OpenRoom):
            seconds = self.random.uniform(20.0, 60.0)
            self._at(seconds, lambda: self._end_room(order.room))
            if order.match["queue"] == "late" and self.random.random() < 0.5:
                self._at(12.0, lambda: self._seek(order.room))
        else:
            self.counts["came into a running room"] += len(order.seats)
        # Whoever does not come has no seat any more after a while, as with a worker.
        self._at(11.0, lambda: self._expire(order.room, sessions))

    def _play(self, client: Client, room: str) -> None:
        if client.gone or room not in self._rooms or client.welcome.session not in self._rooms[room]:
            self._forget(client, room)
            return
        if self._wrong():  # it does not come; once its seat is lost, it may wait for another
            self._at(12.0, lambda: self._forget(client, room))
            return
        with self.out.turn():
            self.bench.report(Seated(room, client.welcome.session, ClientData(client.welcome.client_id, "")))
        self._at(self.random.uniform(1.0, 30.0), lambda: self._left_room(client, room))

    def _forget(self, client: Client, room: str) -> None:
        if client.room == room:
            client.room = None
        self._rooms.get(room, set()).discard(client.welcome.session)
        self._filled.pop((room, client.welcome.session), None)

    def _left_room(self, client: Client, room: str) -> None:
        if room in self._rooms and client.welcome.session in self._rooms[room]:
            self._rooms[room].discard(client.welcome.session)
            with self.out.turn():
                self.bench.report(Unseated(room, client.welcome.session))
        if client.room == room:
            client.room = None

    def _expire(self, room: str, sessions: set[str]) -> None:
        for session in sessions:
            client = self.clients.get(session)
            if room in self._rooms and (client is None or client.room is None):
                self._rooms[room].discard(session)
                self._filled.pop((room, session), None)

    def _seek(self, room: str) -> None:
        if room in self._rooms:
            missing = self.random.choice((1, 2))
            self._vacant[room] = Counter({("", ""): missing})
            self._spoiled.discard(room)
            self.counts["rooms sought members"] += 1
            with self.out.turn():
                self.bench.report(Seeking(room, "late", {"": {"": missing}}, {}))

    def _end_room(self, room: str) -> None:
        del self._rooms[room]
        self._vacant.pop(room, None)
        with self.out.turn():
            self.bench.report(RoomEnded(room))
        for client in self.clients.values():
            if client.room == room:
                client.room = None

    # The end.

    def _nobody_is_left(self) -> None:
        tickets = self.bench.broker.tickets
        waiting = [client.ask.number for client in self.clients.values() if client.here and client.ask is not None]
        if waiting or len(tickets) or tickets.proposals:
            raise Mistake(f"asks {waiting}, {len(tickets)} tickets and {tickets.proposals} matches are left")
