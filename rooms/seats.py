"""Seats: who may be in a room, and who is.

    reserved ──join──▶ joined ──drop──▶ dropped ──reconnect──▶ joined
        │                 │                 │
      expire            leave             leave
        ▼                 ▼                 ▼
     expired             left              left

A seat is reserved for one session until a deadline, under a secret that is used
once. Joined, dropped and reserved seats together never exceed the capacity.
A dropped member keeps the seat for the room's grace period and comes back with
its member token. Every return makes a new token; the one that was shown stays
good until the client has confirmed that the new one arrived, because the answer
that carried it may be lost with the connection.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from ..protocol.errors import ReservationRefused, RoomFull, RoomLocked
from ..protocol.ids import Entropy, new_token
from ..protocol.lifecycle import Table, step
from ..protocol.names import ClientData

__all__ = ["SEAT", "Seat", "SeatEvent", "SeatState", "Seats"]


class SeatState(Enum):
    """Where a seat is in its life."""

    RESERVED = "reserved"
    JOINED = "joined"
    DROPPED = "dropped"
    LEFT = "left"
    EXPIRED = "expired"


class SeatEvent(Enum):
    """What happens to a seat."""

    JOIN = "join"
    DROP = "drop"
    RECONNECT = "reconnect"
    LEAVE = "leave"
    EXPIRE = "expire"


SEAT: Table[SeatState, SeatEvent] = {
    SeatState.RESERVED: {SeatEvent.JOIN: SeatState.JOINED, SeatEvent.EXPIRE: SeatState.EXPIRED},
    SeatState.JOINED: {SeatEvent.DROP: SeatState.DROPPED, SeatEvent.LEAVE: SeatState.LEFT},
    SeatState.DROPPED: {SeatEvent.RECONNECT: SeatState.JOINED, SeatEvent.LEAVE: SeatState.LEFT},
    SeatState.LEFT: {},
    SeatState.EXPIRED: {},
}


class Seat:
    """One place in a room. ``key`` is unique in the room's life."""

    __slots__ = (
        "_previous_token",
        "client",
        "confirmed",
        "deadline",
        "key",
        "options",
        "owner",
        "place",
        "reservation",
        "session",
        "state",
        "token",
    )

    def __init__(
        self,
        key: int,
        session: str,
        client: ClientData,
        options: dict[str, Any],
        reservation: bytes,
        deadline: float,
        owner: bytes | None,
        place: tuple[str, str] | None = None,
    ) -> None:
        self.key = key
        self.place = place
        """The team and the role that a queue gave to whom it is for."""
        self.owner = owner
        """The public key that whoever takes it must have proved to have; None: nobody has one."""
        self.session = session
        self.client = client
        self.options = options
        self.reservation = reservation
        self.deadline: float | None = deadline
        self.state = SeatState.RESERVED
        self.token = b""
        self.confirmed = False
        self._previous_token: bytes | None = None

    def step(self, event: SeatEvent) -> None:
        self.state = step(SEAT, self.state, event)

    def tokens(self) -> list[bytes]:
        """The tokens that are good."""
        return [token for token in (self.token, self._previous_token) if token]

    def rotate(self, entropy: Entropy, shown: bytes | None) -> None:
        # Keep the token that the client surely has, the one that it has just shown: the new one may never arrive.
        self._previous_token = shown
        self.token = new_token(entropy)
        self.confirmed = False

    def confirm(self) -> None:
        self.confirmed = True
        self._previous_token = None


class Seats:
    """The seats of one room. The only authority on who is in it.

    Args:
        capacity: how many seats there are.
        entropy: where secrets come from.
    """

    __slots__ = (
        "_by_reservation",
        "_by_token",
        "_entropy",
        "_next_key",
        "_of",
        "_taken",
        "capacity",
        "locked",
        "reserved",
    )

    def __init__(self, capacity: int, entropy: Entropy) -> None:
        self.capacity = capacity
        self.locked = False
        self.reserved = 0
        """Seats that are held for somebody who has not joined yet."""
        self._entropy = entropy
        self._next_key = 1
        self._taken: dict[int, Seat] = {}
        self._of: dict[str, tuple[Seat, ...]] = {}
        """By session."""
        self._by_reservation: dict[bytes, Seat] = {}
        self._by_token: dict[bytes, Seat] = {}

    def __len__(self) -> int:
        """Seats that are reserved, joined or dropped."""
        return len(self._taken)

    @property
    def free(self) -> int:
        """Seats that are neither reserved nor taken."""
        return self.capacity - len(self._taken)

    def reserve(
        self,
        session: str,
        client: ClientData,
        options: dict[str, Any],
        deadline: float,
        owner: bytes | None = None,
        place: tuple[str, str] | None = None,
    ) -> Seat:
        """Hold a seat for a session until ``deadline``, for whoever has the key ``owner``.

        A lock is for those who come by themselves: whom a queue sends has a place.

        Raises:
            RoomFull: there is none.
            RoomLocked: the room takes no new members.
        """
        if self.locked and place is None:
            raise RoomLocked
        if not self.free:
            raise RoomFull
        seat = Seat(self._next_key, session, client, options, new_token(self._entropy), deadline, owner, place)
        self._next_key += 1
        self._taken[seat.key] = seat
        self._of[session] = (*self.of(session), seat)
        self._by_reservation[seat.reservation] = seat
        self.reserved += 1
        return seat

    def claim(self, reservation: bytes, sessions: frozenset[str] | None, owner: bytes | None = None) -> Seat:
        """The seat of a reservation, joined now.

        A member whose connection broke before it could confirm that it had
        joined is still ``dropped`` and claims its seat once more; the caller
        tells the two apart by the state before.

        Args:
            reservation: the secret.
            sessions: the sessions of the connection that it came on, or None
                where connections carry no session.
            owner: the key that was proved on that connection, if any.

        Raises:
            ReservationRefused: unknown, used, expired, another session's, or another key's.
        """
        seat = self._by_reservation.get(reservation)
        if seat is None or seat.owner != owner or (sessions is not None and seat.session not in sessions):
            raise ReservationRefused
        if seat.state is SeatState.RESERVED:
            seat.step(SeatEvent.JOIN)
            self.reserved -= 1
        elif seat.state is SeatState.DROPPED and not seat.confirmed:
            seat.step(SeatEvent.RECONNECT)
        else:
            raise ReservationRefused
        seat.deadline = None
        self._new_token(seat, None)
        return seat

    def reclaim(self, token: bytes, owner: bytes | None = None) -> Seat:
        """The seat of a member token, for somebody who comes back; the token is replaced.

        The seat may still be joined: its old connection is not known to be lost yet.

        Raises:
            ReservationRefused: no seat has this token and is ``owner``'s, whose key was proved on the connection.
        """
        seat = self._by_token.get(token)
        if seat is None or seat.owner != owner:
            raise ReservationRefused
        if seat.state is SeatState.DROPPED:
            seat.step(SeatEvent.RECONNECT)
        seat.deadline = None
        self._new_token(seat, token)
        return seat

    def confirm(self, seat: Seat) -> None:
        """The client has its token: the reservation and the token before it are void."""
        if seat.confirmed:
            return
        self._drop_secrets(seat)
        seat.confirm()
        self._by_token[seat.token] = seat

    def drop(self, seat: Seat, deadline: float) -> None:
        """The connection is lost; the seat is kept until ``deadline``."""
        seat.step(SeatEvent.DROP)
        seat.deadline = deadline

    def leave(self, seat: Seat) -> None:
        """The seat is free again."""
        seat.step(SeatEvent.LEAVE)
        self._release(seat)

    def expire(self, seat: Seat) -> None:
        """A reservation ran out."""
        seat.step(SeatEvent.EXPIRE)
        self.reserved -= 1
        self._release(seat)

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._taken.values()))

    def get(self, key: int) -> Seat | None:
        """The seat with this key, if it is reserved, joined or dropped."""
        return self._taken.get(key)

    def of(self, session: str) -> tuple[Seat, ...]:
        """The seats that a session has."""
        return self._of.get(session, ())

    def _release(self, seat: Seat) -> None:
        del self._taken[seat.key]
        others = tuple(other for other in self._of.pop(seat.session) if other is not seat)
        if others:
            self._of[seat.session] = others
        self._drop_secrets(seat)
        seat.deadline = None

    def _drop_secrets(self, seat: Seat) -> None:
        self._by_reservation.pop(seat.reservation, None)
        for token in seat.tokens():
            self._by_token.pop(token, None)

    def _new_token(self, seat: Seat, shown: bytes | None) -> None:
        for token in seat.tokens():
            self._by_token.pop(token, None)
        seat.rotate(self._entropy, shown)
        for token in seat.tokens():
            self._by_token[token] = seat
