"""What a client asks the broker, until it is answered, and what it says of it meanwhile."""

from ..protocol.codec import pack_payload
from ..protocol.errors import UsageError
from ..protocol.limits import Limits
from ..protocol.messages import (
    Cancel,
    Endpoints,
    ListEndpoints,
    ListRooms,
    Match,
    Message,
    Rooms,
    to_wire,
    what_is_wrong,
)
from ..protocol.queue_messages import Accept, Enqueue, Found, Party, PartyState, Progress, Reasons, Rematch, Why
from ..protocol.room_messages import Listed, Unwatch, Watch
from .asks import FIRST_ASK, Asks, MakeMessage
from .contact import Contact
from .memberships import Memberships
from .outbox import ClientOutbox

__all__ = ["Requests"]

_ASKED_BY: dict[type[Message], type[Message]] = {
    Rooms: ListRooms,
    Endpoints: ListEndpoints,
    Reasons: Why,
    PartyState: Party,
}
"""Which request each answer is for."""


class Requests:
    """The requests of one client.

    Args:
        broker: whom they are for.
        asks: where they stand until they are answered.
        memberships: where those lead that a seat is assigned for.
        out: where to write.
    """

    def __init__(self, broker: Contact, asks: Asks, memberships: Memberships, out: ClientOutbox) -> None:
        self._broker = broker
        self._asks = asks
        self._memberships = memberships
        self._out = out
        self._to_cancel: list[int] = []
        """What was given up while nobody heard it."""

    # What the application wants.

    def ask(self, make: MakeMessage) -> int:
        """Ask the broker something; ``answered`` tells the outcome under this number.

        Args:
            make: makes the message; called again after a reconnect, with the
                same number and the session's new reference (``home.ref``).
        """
        ask = self._asks.number()
        self._asks.put(self._broker, ask, make)
        return ask

    def check(self, make: MakeMessage, limits: Limits) -> None:
        """Raise UsageError if the broker would not take this. Said all the same, its refusal could name no request; and
        what is too large ends the connection, and then each one on which it is said again."""
        message = make(FIRST_ASK)
        wrong = what_is_wrong(message)
        if wrong is not None:
            raise UsageError(wrong)
        pack_payload(to_wire(message), limits.control, limits.nesting + 1, limits)

    def forget(self, ask: int) -> None:
        """The answer is not wanted any more. A match is cancelled."""
        make = self._asks.pop(ask)
        if self._memberships.stop_entering(ask):
            return
        if make is not None and isinstance(make(ask), Match | Enqueue | Rematch):
            self._say_cancel(ask)
        elif make is not None and isinstance(make(ask), Watch) and self._broker.online:
            self._broker.say(Unwatch(self._ref, ask))

    def repeat(self, ask: int) -> None:
        """Ask once more, on the same connection: what came does not go on from what came before."""
        make = self._asks.get(ask)
        if make is not None and self._broker.online:
            self._broker.say(make(ask))

    def cancel(self, ask: int) -> None:
        """Give a ticket up; ``answered`` tells that it is. Said again on connections to come until then."""
        if not self._memberships.is_entering(ask):
            self._asks.cancel(ask)
            if self._broker.online:
                self._broker.say(Cancel(self._ref, ask))

    def accept(self, ask: int, match: int, *, yes: bool) -> None:
        """Say whether we play the match that was found for a ticket. Lost with the connection, it is asked again."""
        if self._broker.online:
            self._broker.say(Accept(self._ref, ask, match, yes))

    # What the core tells.

    def say_cancelled(self) -> None:
        """The session is open again: say what was given up meanwhile."""
        for ask in self._to_cancel:
            self._broker.say(Cancel(self._ref, ask))
        self._to_cancel.clear()

    def take(self, message: Message) -> None:
        """An answer, or how it stands with something that was asked. Raises BadMessage where it does not fit."""
        if isinstance(message, PartyState) and not message.ask:
            self._out.party_changed(message.party)
        elif isinstance(message, Rooms | Endpoints | Reasons | PartyState):
            self._asks.check(message.ask, _ASKED_BY[type(message)])
            if self._asks.pop(message.ask) is not None:
                self._out.answered(message.ask, message)
            elif isinstance(message, PartyState):
                self._out.party_changed(message.party)  # whoever asked has given up; it was done all the same
        elif isinstance(message, Progress | Found):
            self._asks.check(message.ask, Enqueue)
            self._out.told(message.ask, message)
        elif isinstance(message, Listed):
            self._asks.check(message.ask, Watch)
            self._out.told(message.ask, message)
        # TICKET is a sign of life.

    # Inside.

    @property
    def _ref(self) -> int:
        return self._memberships.home.ref

    def _say_cancel(self, ask: int) -> None:
        if self._broker.online:
            self._broker.say(Cancel(self._ref, ask))
        else:
            self._to_cancel.append(ask)
