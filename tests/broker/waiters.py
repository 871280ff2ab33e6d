"""Guests who wait in queues: the policies that they meet there, and what they say and hear."""

from typing import Any

from server_room_system import MatchQueue, Window
from server_room_system.broker.queues import Ticket
from server_room_system.protocol import Assigned, Enqueue, Error, Message

from .fakes import Bench, Guest

__all__ = ["Duel", "code_of", "enqueue", "is_assigned", "only", "policies", "waits"]


class Duel(MatchQueue):
    pass


class Careful(MatchQueue):
    accept = 10.0


class Modes(MatchQueue):
    hard = ("mode",)


class Rated(MatchQueue):
    window = Window(start=100.0, per_second=10.0, most=500.0)

    def on_ticket(self, ticket: Ticket) -> None:
        for entrant in ticket.entrants:
            entrant.rating = 1000.0 * entrant.client


class Teams(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012  # nobody writes to it


class Trios(MatchQueue):
    teams = {"red": 3, "blue": 3}  # noqa: RUF012  # nobody writes to it


class Several(MatchQueue):
    tickets_of_a_session = 2


def policies() -> dict[str, MatchQueue]:
    """One queue of each kind."""
    return {
        "duel": Duel(), "careful": Careful(), "modes": Modes(), "rated": Rated(), "teams": Teams(),
        "trios": Trios(), "several": Several(),
    }  # fmt: skip


def enqueue(
    guest: Guest, queue: str = "duel", *, ask: int = 9, timeout: float = 60.0, **criteria: Any
) -> list[Message]:
    """What is heard until the matcher has nothing more to do."""
    party = guest.bench.broker._parties.code_of(guest.session)
    guest.bench.say(guest.caller, Enqueue(guest.ref, ask, queue, criteria, [], {}, {}, timeout, party))
    guest.bench.out.advance(0.0)
    return guest.heard()


def only(messages: list[Message], kind: type[Any]) -> Any:
    (found,) = (message for message in messages if isinstance(message, kind))
    return found


def code_of(messages: list[Message]) -> int:
    return int(only(messages, Error).code)


def waits(guest: Guest) -> bool:
    return guest.bench.broker.tickets.waits(guest.session)


def is_assigned(guest: Guest, bench: Bench) -> bool:
    wanted = bench.wanted
    bench.grant(wanted)
    return any(isinstance(message, Assigned) and message.room == wanted.room for message in guest.heard())
