"""What broker and worker say to each other about rooms: orders one way, reports the other.

Plain values. Where broker and worker share a process they are handed over as
they are; between processes they travel as items of ORDERS and REPORTS.
"""

from enum import IntEnum
from typing import Annotated, Any, NamedTuple

from ..protocol.errors import BadMessage, RuleSetError
from ..protocol.fields import (
    ARRAY,
    Ask,
    Code16,
    Flag,
    Map,
    Number,
    RoomId,
    Seconds,
    Secret,
    Sentence,
    SessionId,
    Shapes,
    TypeName,
)
from ..protocol.names import ClientData
from ..protocol.rulesets import RuleSet
from ..transport.locks import KEY_SIZE

__all__ = [
    "CloseRoom",
    "Drain",
    "Draining",
    "Failed",
    "Inspect",
    "Inspected",
    "Kick",
    "OpenRoom",
    "Order",
    "Refused",
    "ReleaseSeats",
    "ReserveSeats",
    "Reserved",
    "RoomEnded",
    "RoomReport",
    "RoomUpdated",
    "SeatWish",
    "Seated",
    "Seeking",
    "Settled",
    "Unseated",
    "order_from_wire",
    "order_to_wire",
    "report_from_wire",
    "report_to_wire",
]


class SeatWish(NamedTuple):
    """A seat that the broker wants for a session. Those of an order for several are all to play."""

    session: str
    client: ClientData
    options: dict[str, Any]
    key: bytes | None = None
    """The public key of its client, 32 bytes: only who proves to have it may take the seat. None: it has none."""
    place: tuple[str, str] | None = None
    """The team and the role that its queue gave it. None: no queue sent it."""
    access: dict[str, Any] = {}  # noqa: RUF012  # nobody writes to it
    """``password``, if it shows one; ``spectate``, if it wants to look on."""

    @property
    def spectates(self) -> bool:
        """Whether it only wants to look on."""
        return self.access.get("spectate") is True


# Orders.


class OpenRoom(NamedTuple):
    """Make a room and hold these seats. Answer: Reserved or Refused."""

    ask: Ask
    room: RoomId
    ruleset: Annotated[RuleSet, ARRAY]
    options: Map
    matched: Flag
    seats: Annotated[list[SeatWish], ARRAY]
    match: Map = {}  # noqa: RUF012  # nobody writes to it
    """What the queue says of the match: ``Room.match``. Empty: no queue made it."""
    access: Map = {}  # noqa: RUF012  # nobody writes to it
    """``password``, ``private`` and ``unlisted``, as its creator wants them."""


class ReserveSeats(NamedTuple):
    """Hold these seats in a room that is there. Answer: Reserved or Refused."""

    ask: Ask
    room: RoomId
    seats: Annotated[list[SeatWish], ARRAY]
    picked: Flag = False
    """The broker has chosen the room: not, if it is only for those who know it."""


class ReleaseSeats(NamedTuple):
    """A session gives up its seats in these rooms."""

    session: SessionId
    rooms: Annotated[list[str], ARRAY]
    joined: Flag = True
    """Those that it has joined as well. Not, where it only does not want what was held for it: that it has joined
    meanwhile may not be known yet."""


class CloseRoom(NamedTuple):
    """End a room; its members are told code and text."""

    room: RoomId
    code: Code16
    text: Sentence


class Kick(NamedTuple):
    """Remove the members with this client number from a room."""

    room: RoomId
    client: Number
    text: Sentence


class Inspect(NamedTuple):
    """Say how a room is. Answer: Inspected or Failed."""

    ask: Ask
    room: RoomId


class Drain(NamedTuple):
    """Take no new rooms; let those that are there end within so many seconds, close the rest with code; then stop."""

    within: Seconds
    code: Code16


Order = OpenRoom | ReserveSeats | ReleaseSeats | CloseRoom | Kick | Inspect | Drain


# Reports.


class Reserved(NamedTuple):
    """One reservation for each wish, in order; each is good for ``timeout`` seconds."""

    ask: Ask
    room: RoomId
    reservations: Annotated[list[bytes], ARRAY]
    timeout: Seconds


class Refused(NamedTuple):
    """No seat was taken, no room was made."""

    ask: Ask
    code: Code16
    text: Sentence


class RoomUpdated(NamedTuple):
    """What the directory knows of a room has changed."""

    room: RoomId
    type: TypeName
    clients: Number
    free: Number
    max_clients: Number
    locked: Flag
    metadata: Map
    ruleset: Secret = bytes(16)
    """The digest of its ruleset."""
    access: Map = {}  # noqa: RUF012  # nobody writes to it
    """``password``, ``private`` and ``unlisted``, where they are true; ``spectators`` and ``max_spectators``, where
    there may be any."""


class Seated(NamedTuple):
    """This session has joined the room."""

    room: RoomId
    session: SessionId
    client: Annotated[ClientData, ARRAY]


class Unseated(NamedTuple):
    """This session is no member of the room any more."""

    room: RoomId
    session: SessionId


class RoomEnded(NamedTuple):
    """The room is no more."""

    room: RoomId


class Inspected(NamedTuple):
    """How a room is."""

    ask: Ask
    data: Map


class Failed(NamedTuple):
    """What was asked can't be told."""

    ask: Ask
    code: Code16
    text: Sentence


class Seeking(NamedTuple):
    """This room seeks members from a queue, in place of what it sought before; no vacancies: it seeks none."""

    room: RoomId
    queue: TypeName
    vacancies: Map
    """For each team a map: how many of each role."""
    about: Map
    """``rating``, ``criteria`` and ``region`` of those who are in."""


class Draining(NamedTuple):
    """This worker takes no new rooms any more."""


class Settled(NamedTuple):
    """After a registration that kept its rooms: all of them are reported now."""


RoomReport = (
    Reserved | Refused | RoomUpdated | Seated | Unseated | RoomEnded | Inspected | Failed | Draining | Settled | Seeking
)


# Between processes.


class OrderKind(IntEnum):
    """First element of an item of ORDERS."""

    OPEN = 1
    RESERVE = 2
    RELEASE = 3
    CLOSE = 4
    KICK = 5
    INSPECT = 6
    DRAIN = 7


class ReportKind(IntEnum):
    """First element of an item of REPORTS."""

    RESERVED = 1
    REFUSED = 2
    UPDATED = 3
    SEATED = 4
    UNSEATED = 5
    ENDED = 6
    INSPECTED = 7
    FAILED = 8
    DRAINING = 9
    SETTLED = 10
    SEEKING = 11


ORDER_SHAPES: dict[OrderKind, type[Order]] = {
    OrderKind.OPEN: OpenRoom, OrderKind.RESERVE: ReserveSeats, OrderKind.RELEASE: ReleaseSeats,
    OrderKind.CLOSE: CloseRoom, OrderKind.KICK: Kick, OrderKind.INSPECT: Inspect, OrderKind.DRAIN: Drain,
}  # fmt: skip
REPORT_SHAPES: dict[ReportKind, type[RoomReport]] = {
    ReportKind.RESERVED: Reserved, ReportKind.REFUSED: Refused, ReportKind.UPDATED: RoomUpdated,
    ReportKind.SEATED: Seated, ReportKind.UNSEATED: Unseated, ReportKind.ENDED: RoomEnded,
    ReportKind.INSPECTED: Inspected, ReportKind.FAILED: Failed, ReportKind.DRAINING: Draining,
    ReportKind.SETTLED: Settled, ReportKind.SEEKING: Seeking,
}  # fmt: skip

_orders: Shapes[Order] = Shapes(ORDER_SHAPES)
_reports: Shapes[RoomReport] = Shapes(REPORT_SHAPES)
order_fields_of = _orders.fields_of
report_fields_of = _reports.fields_of


def order_to_wire(order: Order) -> tuple[Any, ...]:
    """An item of ORDERS."""
    if isinstance(order, OpenRoom):
        kind, ask, room, ruleset, *rest = _orders.to_wire(order)
        return (kind, ask, room, ruleset.to_wire(), *rest)
    return _orders.to_wire(order)


def order_from_wire(item: object) -> Order:
    """Read an item of ORDERS. Raises BadMessage or UnknownKind for anything else."""
    order = _orders.parse(item)
    if isinstance(order, OpenRoom):
        try:
            ruleset = RuleSet.from_wire(list(order.ruleset))  # type: ignore[call-overload]  # an array until here
        except RuleSetError as error:
            raise BadMessage(str(error)) from error
        return order._replace(ruleset=ruleset, seats=[_seat_wish(seat) for seat in order.seats])
    if isinstance(order, ReserveSeats):
        return order._replace(seats=[_seat_wish(seat) for seat in order.seats])
    if isinstance(order, ReleaseSeats) and not all(type(room) is str for room in order.rooms):
        raise BadMessage("a room's id is a string")
    return order


def report_to_wire(report: RoomReport) -> tuple[Any, ...]:
    """An item of REPORTS."""
    return _reports.to_wire(report)


def report_from_wire(item: object) -> RoomReport:
    """Read an item of REPORTS. Raises BadMessage or UnknownKind for anything else."""
    report = _reports.parse(item)
    if isinstance(report, Seated):
        return report._replace(client=_client(report.client))
    if isinstance(report, Reserved) and not all(type(one) is bytes and len(one) == 16 for one in report.reservations):
        raise BadMessage("a reservation has 16 bytes")
    return report


def _seat_wish(seat: object) -> SeatWish:
    if type(seat) is not list or len(seat) != 6 or type(seat[0]) is not str or type(seat[2]) is not dict:
        raise BadMessage("a seat's wish is [session, client, options, key, place, access]")
    key, place = seat[3], seat[4]
    if key is not None and (type(key) is not bytes or len(key) != KEY_SIZE):
        raise BadMessage("a client's key has 32 bytes")
    if place is not None and (type(place) is not list or [type(one) for one in place] != [str, str]):
        raise BadMessage("a place is [team, role]")
    if type(seat[5]) is not dict:
        raise BadMessage("how a seat is asked for is a map")
    return SeatWish(seat[0], _client(seat[1]), seat[2], key, tuple(place) if place is not None else None, seat[5])


def _client(value: object) -> ClientData:
    if not isinstance(value, list) or len(value) != 3 or type(value[0]) is not int or type(value[1]) is not str:
        raise BadMessage("a client is [number, address, auth]")
    return ClientData(*value)
