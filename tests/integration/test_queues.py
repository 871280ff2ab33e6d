"""Queues over real sockets: into a match and its room, accepted or not, alone, with a party, or where one plays."""

import asyncio
from typing import Any

import pytest

from server_room_system import (
    AsyncClient,
    MatchCancelled,
    MatchExpired,
    MatchFound,
    MatchQueue,
    NotLeader,
    PartyNotFound,
    QueueTicket,
    Room,
    Server,
    TicketRefused,
    UnknownQueue,
    Window,
)

from .system import LOCAL, PATIENCE, clients, hear, on_a_loop, until

RATINGS: dict[int, float] = {}


class Duel(MatchQueue):
    room = "arena"
    hard = ("mode",)


class Rated(MatchQueue):
    room = "arena"
    window = Window(start=100.0, per_second=0.0, most=100.0)

    async def on_ticket(self, ticket: Any) -> None:
        await asyncio.sleep(0)
        for entrant in ticket.entrants:
            entrant.rating = RATINGS.get(entrant.client, 1500.0)


class Careful(MatchQueue):
    room = "arena"
    accept = 5.0


class Hasty(Careful):
    accept = 0.2


class Teams(MatchQueue):
    room = "arena"
    teams = {"red": 2, "blue": 2}  # noqa: RUF012  # nobody writes to it


class Arena(Room):
    """Tells each who it is for its queue."""

    min_clients = 1

    def on_join(self, client: Any, options: dict[str, Any]) -> None:
        client.send("you", {"team": client.team, "match": self.match, "criteria": self.ruleset.criteria})

    def handle_response(self, protocol: str, data: Any, sender: Any, client_data: Any) -> None:
        if protocol == "seek":
            self.backfill("duel", 1, criteria={"mode": "ctf"})


def a_server() -> Server:
    return Server(
        rooms={"arena": Arena},
        queues={"duel": Duel, "rated": Rated, "careful": Careful, "hasty": Hasty, "teams": Teams},
    )


async def entered(queue: str, *members: AsyncClient, **wishes: Any) -> list[QueueTicket]:
    return [await member.enqueue(queue, timeout=PATIENCE, **wishes) for member in members]


@on_a_loop
async def test_two_who_want_the_same_come_into_one_room_that_knows_of_the_match() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (ann, bob, cid):
        odd = await cid.enqueue("duel", {"mode": "race"})
        tickets = [await one.enqueue("duel", {"mode": ["ctf", "koth"]}) for one in (ann, bob)]
        rooms = [await ticket.room(PATIENCE) for ticket in tickets]
        assert rooms[0].id == rooms[1].id
        you = await hear(rooms[0], "you")
        assert you["criteria"]["mode"] in ("ctf", "koth")
        assert you["match"]["queue"] == "duel"
        assert sorted(you["match"]["teams"][""]) == sorted([ann.id, bob.id])
        assert not odd.ended
        await odd.cancel()
        with pytest.raises(MatchCancelled):
            await odd.room(PATIENCE)


@on_a_loop
async def test_the_servers_ratings_keep_apart_and_the_ticket_says_why() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (ann, bob, cid):
        RATINGS.update({ann.id: 1000.0, bob.id: 2000.0, cid.id: 1050.0})
        first, second = await entered("rated", ann, bob)
        progress = await anext(first)
        assert progress.state == "waiting"  # type: ignore[union-attr]  # no match was found
        why = await second.why()
        assert [(one["rule"], one["candidate"]) for one in why["obstacles"]] == [("rating", first.number)]
        (third,) = await entered("rated", cid)
        assert (await first.room(PATIENCE)).id == (await third.room(PATIENCE)).id
        assert not second.ended


@on_a_loop
async def test_who_declines_loses_the_ticket_and_the_other_waits_on() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (ann, bob, cid):
        first, second = await entered("careful", ann, bob)
        found = await _found(first)
        assert found.players == 2
        await first.accept()
        await _found(second)
        await second.decline()
        with pytest.raises(MatchCancelled):
            await second.room(PATIENCE)
        assert not first.ended
        (third,) = await entered("careful", cid)
        rooms = await asyncio.gather(first.room(PATIENCE), third.room(PATIENCE))
        assert rooms[0].id == rooms[1].id


@on_a_loop
async def test_who_says_nothing_in_time_loses_the_ticket() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 2) as (ann, bob):
        first, second = await entered("hasty", ann, bob)
        await _found(first)
        await first.accept()
        with pytest.raises(MatchCancelled):
            await second.room(PATIENCE, accept=False)
        assert not first.ended


@on_a_loop
async def test_a_party_plays_in_one_team() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 4) as (ann, bob, cid, dan):
        party = await ann.party()
        with pytest.raises(PartyNotFound):
            await bob.join_party("nonsense")
        mate = await bob.join_party(party.code)
        with pytest.raises(NotLeader):
            await mate.kick(ann.id)
        with pytest.raises(TicketRefused):
            await (await bob.enqueue("teams")).room(PATIENCE)
        singles = await entered("teams", cid, dan)
        leading = await ann.enqueue("teams", timeout=PATIENCE)
        following = await mate.enqueue(timeout=PATIENCE)
        rooms = [await ticket.room(PATIENCE) for ticket in (leading, following, *singles)]
        assert len({room.id for room in rooms}) == 1
        teams = [(await hear(room, "you"))["team"] for room in rooms]
        assert teams[0] == teams[1] != teams[2] == teams[3]


@on_a_loop
async def test_whoever_goes_takes_the_party_out_of_the_queue() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 2) as (ann, bob):
        party = await ann.party()
        mate = await bob.join_party(party.code)
        leading = await ann.enqueue("teams", timeout=PATIENCE)
        await mate.enqueue(timeout=PATIENCE)
        await bob.close()
        with pytest.raises(MatchCancelled):
            await leading.room(PATIENCE)
        await until(lambda: [one.client for one in party.members] == [ann.id])


@on_a_loop
async def test_a_room_that_plays_gets_the_member_that_it_seeks() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 3) as (ann, bob, cid):
        tickets = [await one.enqueue("duel", {"mode": "ctf"}) for one in (ann, bob)]
        playing, other = [await ticket.room(PATIENCE) for ticket in tickets]
        await other.leave()
        await playing.send("seek", None, ack=True)
        third = await cid.enqueue("duel", {"mode": "ctf"})
        assert (await third.room(PATIENCE)).id == playing.id


@on_a_loop
async def test_a_rematch_keeps_them_together() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 2) as (ann, bob):
        rooms = [await ticket.room(PATIENCE) for ticket in await entered("duel", ann, bob)]
        await rooms[1].leave()
        again = await asyncio.gather(ann.rematch(rooms[0].id), bob.rematch(rooms[0].id))
        assert again[0].id == again[1].id != rooms[0].id


@on_a_loop
async def test_what_a_queue_does_not_know_is_refused() -> None:
    async with a_server().listen(LOCAL, 0) as host, clients(host, 1) as (ann,):
        for queue, criteria, error in (
            ("nonsense", {}, UnknownQueue),
            ("duel", {"colour": "red"}, TicketRefused),
            ("duel", {"mode": float("nan")}, TicketRefused),
        ):
            with pytest.raises(error):
                await (await ann.enqueue(queue, criteria)).room(PATIENCE)
        with pytest.raises(MatchExpired):
            await (await ann.enqueue("duel", timeout=0.1)).room(PATIENCE)


async def _found(ticket: QueueTicket) -> MatchFound:
    async for event in ticket:
        if isinstance(event, MatchFound):
            return event
    raise AssertionError("no match was found")
