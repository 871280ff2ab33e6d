"""Policies that between them declare everything that can be declared, small enough to try all sets of tickets."""

from server_room_system.broker.queues import MatchQueue, Ticket, Window

SLOW = Window(100, 10, 500)


class Duel(MatchQueue):
    window = SLOW


class Maps(MatchQueue):
    hard = ("mode", "map")
    window = SLOW


class Four(MatchQueue):
    most = 4
    window = SLOW


class Teams(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012
    window = SLOW
    hard = ("map",)


class Uneven(MatchQueue):
    teams = {"hunters": 3, "prey": 1}  # noqa: RUF012


class Roles(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012
    roles = {"healer": 1}  # noqa: RUF012
    window = SLOW


class Regions(MatchQueue):
    most = 3
    latency = Window(0.05, 0.01, 0.2)
    regions = ("eu", "us")


class Everything(MatchQueue):
    teams = {"red": 2, "blue": 1}  # noqa: RUF012
    window = SLOW
    hard = ("map",)
    latency = Window(0.05, 0.01, 0.2)

    def fits(self, one: Ticket, other: Ticket) -> bool:
        return (one.number + other.number) % 5 != 0


class Smaller(MatchQueue):
    least = 2
    most = 4
    multiple = 2
    max_wait = 20.0
    then = "smaller"
    window = SLOW


class AtOnce(MatchQueue):
    least = 2
    most = 3
    max_wait = 0.0
    then = "smaller"


class Bots(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012
    max_wait = 20.0
    least = 2
    then = "bots"
    window = SLOW


class Wider(MatchQueue):
    most = 3
    max_wait = 20.0
    then = "wider"
    window = SLOW


class Refusing(MatchQueue):
    most = 3
    max_wait = 20.0
    window = SLOW


class RoomsFirst(MatchQueue):
    teams = {"red": 2, "blue": 2}  # noqa: RUF012
    roles = {"healer": 1}  # noqa: RUF012
    window = SLOW
    prefer_backfill = True
    hard = ("map",)


POLICIES: tuple[type[MatchQueue], ...] = (
    Duel, Maps, Four, Teams, Uneven, Roles, Regions, Everything, Smaller, AtOnce, Bots, Wider, Refusing, RoomsFirst,
)  # fmt: skip
