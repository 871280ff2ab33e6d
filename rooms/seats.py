"""Seats: who may be in a room, and who is.

    reserved ──join──▶ joined ──drop──▶ dropped ──reconnect──▶ joined
        │                 │                 │
      expire            leave             leave
        ▼                 ▼                 ▼
     expired             left              left

A seat is reserved for one session until a deadline, under a secret that is used
once. Joined, dropped and reserved seats together, and those that clients are
invited to, never exceed the capacity. Who only looks on has a seat of a second
kind, of which there are so many as well.
A dropped member keeps the seat for the room's grace period and comes back with
its member token. Every return makes a new token; the one that was shown stays
good until the client has confirmed that the new one arrived, because the answer
that carried it may be lost with the connection.
"""

from collections.abc import Iterable, Iterator
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
        "spectator",
        "state",
        "token",
        "waits",
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
        *,
        spectator: bool = False,
    ) -> None:
        self.key = key
        self.spectator = spectator
        """Whether whom it is for only looks on."""
        self.waits = 0
        """How often it was kept for longer since its deadline was set, because this process was late."""
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
        gallery: how many there are besides for those who only look on.
    """

    __slots__ = (
        "_by_reservation",
        "_by_token",
        "_entropy",
        "_invited",
        "_next_key",
        "_of",
        "_taken",
        "capacity",
        "gallery",
        "locked",
        "reserved",
        "spectators",
    )

    def __init__(self, capacity: int, entropy: Entropy, gallery: int = 0) -> None:
        self.capacity = capacity
        self.gallery = gallery
        self.locked = False
        self.reserved = 0
        """Seats of players that are held for somebody who has not joined yet."""
        self.spectators = 0
        """Seats of spectators that are reserved, joined or dropped."""
        self._invited: dict[int, None] = {}
        """The numbers of the clients that a seat is kept for, in the order of inviting."""
        self._entropy = entropy
        self._next_key = 1
        self._taken: dict[int, Seat] = {}
        self._of: dict[str, tuple[Seat, ...]] = {}
        """By session."""
        self._by_reservation: dict[bytes, Seat] = {}
        self._by_token: dict[bytes, Seat] = {}

    def __len__(self) -> int:
        """Seats of players that are reserved, joined or dropped, or that somebody is invited to."""
        return len(self._taken) - self.spectators + len(self._invited)

    @property
    def free(self) -> int:
        """Seats of players that are free for anybody."""
        return self.capacity - len(self)

    def have_room(self, clients: Iterable[int]) -> bool:
        """Whether there are seats to play for all of these, by their numbers. Nobody looks on together with others."""
        return sum(client not in self._invited for client in clients) <= self.free

    # Invitations.

    @property
    def invited(self) -> list[int]:
        """The numbers of the clients that a seat is kept for."""
        return list(self._invited)

    def is_invited(self, client: int) -> bool:
        """Whether a seat is kept for this client."""
        return client in self._invited

    def invite(self, client: int) -> None:
        """Keep a seat for a client, whatever else it would need to come in. Raises RoomFull."""
        if client not in self._invited:
            if not self.free:
                raise RoomFull
            self.reserved += 1
        self._invited[client] = None

    def uninvite(self, client: int) -> bool:
        """Keep that seat no more. False: none was kept."""
        if client not in self._invited:
            return False
        del self._invited[client]
        self.reserved -= 1
        return True

    # Seats of sessions.

    def reserve(
        self,
        session: str,
        client: ClientData,
        options: dict[str, Any],
        deadline: float,
        owner: bytes | None = None,
        place: tuple[str, str] | None = None,
        *,
        spectator: bool = False,
    ) -> Seat:
        """Hold a seat for a session until ``deadline``, for whoever has the key ``owner``.

        A lock is for those who come by themselves to play: whom a queue sends has a
        place, and who is invited has a seat.

        Raises:
            RoomFull: there is none.
            RoomLocked: the room takes no new members.
        """
        if spectator:
            if self.spectators >= self.gallery:
                raise RoomFull("no seat to look on from is free" if self.gallery else "nobody looks on in this room")
            self.spectators += 1
        elif client.ID in self._invited:
            self.uninvite(client.ID)
            self.reserved += 1
        else:
            if self.locked and place is None:
                raise RoomLocked
            if not self.free:
                raise RoomFull
            self.reserved += 1
        key, secret = self._next_key, new_token(self._entropy)
        seat = Seat(key, session, client, options, secret, deadline, owner, place, spectator=spectator)
        self._next_key += 1
        self._taken[seat.key] = seat
        self._of[session] = (*self.of(session), seat)
        self._by_reservation[seat.reservation] = seat
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
            self.reserved -= not seat.spectator
        elif seat.state is SeatState.DROPPED and not seat.confirmed:
            seat.step(SeatEvent.RECONNECT)
        else:
            raise ReservationRefused
        seat.deadline = None
        self._new_token(seat, None)
        return seat

    def is_unknown(self, seat: Seat) -> bool:
        """Whether whom a seat is for has dropped, and never confirmed that it had got it."""
        return seat.state is SeatState.DROPPED and seat.reservation in self._by_reservation

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
        seat.deadline, seat.waits = deadline, 0

    def leave(self, seat: Seat) -> None:
        """The seat is free again."""
        seat.step(SeatEvent.LEAVE)
        self._release(seat)

    def expire(self, seat: Seat) -> None:
        """A reservation ran out."""
        seat.step(SeatEvent.EXPIRE)
        self.reserved -= not seat.spectator
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
        self.spectators -= seat.spectator
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
