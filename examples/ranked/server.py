"""Ranked games of two against two: the server.

    python -m examples.ranked.server              # in one terminal; type close to stop it
    python -m examples.ranked.bots                # in another: twelve players, some of them in parties

Who is found has ten seconds to accept. Teams are of like strength, parties stay
together, and when somebody quits, the next who waits and fits takes the place.
"""

import argparse
from typing import Any

from server_room_system import AuthRefused, MatchQueue, Peer, Server, Window

from .room import SKILLS, Arena, skill_of

__all__ = ["Ranked", "server"]


class Ranked(MatchQueue):
    """Two teams of two, as equal as may be."""

    room = "arena"
    teams = {"red": 2, "blue": 2}  # noqa: RUF012  # nobody writes to it
    window = Window(start=200.0, per_second=100.0, most=2000.0)
    accept = 10.0
    prefer_backfill = True

    def on_ticket(self, ticket: Any) -> None:
        """What the server knows of the players; what a client says of its rating is not asked."""
        for entrant in ticket.entrants:
            entrant.rating = skill_of(entrant.session.data.AUTH).mean


class RankedServer(Server):
    """Players show their names. A real server would check a token here."""

    def on_auth(self, credentials: Any, peer: Peer) -> str:
        if not isinstance(credentials, str) or not 1 <= len(credentials) <= 20:
            raise AuthRefused("show a name of 1 to 20 characters")
        return credentials


server = RankedServer(rooms={"arena": Arena}, queues={"ranked": Ranked})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.ranked.server")
    parser.add_argument("--port", type=int, default=1234, help="0 takes a free one (default: 1234)")
    server.run("127.0.0.1", parser.parse_args().port)
    for name, skill in sorted(SKILLS.items(), key=lambda one: -one[1].mean):
        print(f"{name:20} {skill.mean:6.0f} +- {skill.spread:.0f}")
