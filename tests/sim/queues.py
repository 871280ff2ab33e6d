"""Queues of a run, the room that they lead to, and what has to hold of whoever comes there."""

import asyncio
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar

from server_room_system import Code, MatchQueue, Member, Window
from server_room_system.broker.entries import Entry
from server_room_system.broker.queues import Ticket

from .ledger import Ledger, Visit
from .rooms import Recorder, visit_of

__all__ = ["MODES", "QUEUES", "Arena"]

MODES = ("ctf", "dm")


class _Noted(MatchQueue):
    """Notes who waits together, and how strong everybody is."""

    ledger: ClassVar[Ledger]
    room = "arena"
    window = Window(start=100.0, per_second=30.0, most=1000.0)

    def on_ticket(self, ticket: Ticket) -> Any:
        entry = ticket.owner
        assert isinstance(entry, Entry)
        self.ledger.waits(frozenset(player.options["visit"] for player in entry.players.values()))
        for entrant in ticket.entrants:
            entrant.rating = 1000.0 + (entrant.client * 37) % 200


class Duel(_Noted):
    """Two who want the same; or one, where a game lacks one."""

    hard = ("mode",)
    prefer_backfill = True


class Squads(_Noted):
    """Two against two, or less after a while; all have to accept. Its hook takes its time."""

    teams = MappingProxyType({"red": 2, "blue": 2})
    least = 2
    accept = 4.0
    max_wait = 4.0
    then = "smaller"

    async def on_ticket(self, ticket: Ticket) -> None:
        await asyncio.sleep(Random(ticket.number).choice((0.0, 0.1, 0.7)))
        super().on_ticket(ticket)


QUEUES: dict[str, type[_Noted]] = {"duel": Duel, "squads": Squads}


class Arena(Recorder):
    """Where queues lead to. Checks everybody who comes, and seeks others for those who go."""

    max_clients = 4
    reservation_time = 4.0

    sought: bool = False

    @property
    def mode(self) -> str:
        """What is played here."""
        return str(self.ruleset.criteria.get("mode", MODES[0]))

    def on_join(self, client: Member, options: dict[str, Any]) -> Any:
        super().on_join(client, options)
        visit = visit_of(client)
        if visit.wanted is None:
            return  # it has named this room
        if visit.wanted.ended:
            self.ledger.mistake(f"visit {visit.number} is in {self.id}, and its ticket had ended")
        if visit.wanted.rematch:
            if self.match.get("rematch") != visit.wanted.rematch:
                self.ledger.mistake(f"visit {visit.number} wanted a rematch of {visit.wanted.rematch}: {self.match}")
            self.ledger.counts["rematches"] += 1
            return
        company = self.ledger.takes_place(visit, self.id, client.team)
        if self._is_matched(visit, client, company):
            self.ledger.counts["seated by a queue"] += 1
            self.ledger.counts["seated with a party"] += len(company) > 1
        elif self.sought and len(company) == 1 and visit.wanted.fits("duel", self.mode):
            self.ledger.counts["came where somebody was missing"] += 1
        else:
            self.ledger.mistake(f"visit {visit.number} wanted {visit.wanted} and got {self.match}, {self.mode}")

    def _is_matched(self, visit: Visit, client: Member, company: frozenset[int]) -> bool:
        assert visit.wanted is not None
        queue, teams = self.match.get("queue"), self.match.get("teams", {})
        together = {self.ledger.visits[number].client for number in company}
        return (
            queue in QUEUES
            and visit.wanted.fits(queue, self.mode if queue == "duel" else None)
            and together <= set(teams.get(client.team, ()))
            and _sizes_hold(queue, teams)
        )

    def on_leave(self, client: Member, reason: Code) -> None:
        super().on_leave(client, reason)
        if not self.calm and self.random.random() < 0.4:
            self.sought = True
            self.backfill("duel", 1, criteria={"mode": self.mode})


def _sizes_hold(queue: str, teams: Mapping[str, list[int]]) -> bool:
    sizes = {team: len(set(players)) for team, players in teams.items()}
    return sizes == {"": 2} if queue == "duel" else sizes in ({"red": 2, "blue": 2}, {"red": 1, "blue": 1})
