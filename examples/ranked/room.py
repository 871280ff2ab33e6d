"""Two against two: the game, and what it does to the players' skills."""

import random
from typing import Any

from server_room_system import Code, Member, Room, Skill, Skills

__all__ = ["SKILLS", "Arena", "skill_of"]

TO_WIN = 10

_skills = Skills()
SKILLS: dict[str, Skill] = {}
"""By name. A real server keeps them in a database, which its workers can reach as well."""


def skill_of(name: str) -> Skill:
    """What is known of a player."""
    return SKILLS.get(name, _skills.beginner)


class Arena(Room):
    """Ten times a second somebody scores for the team. The first team with ten points wins."""

    max_clients = 4
    tick_rate = 10.0
    reconnect_grace = 2.0

    def on_create(self, options: dict[str, Any]) -> None:
        self.points = {"red": 0, "blue": 0}
        self.playing = False
        self.over = False

    def ready(self) -> None:
        self.playing = True
        self.broadcast("begin", {team: self.names(team) for team in self.points})

    def on_tick(self, dt: float) -> None:
        if not self.playing or self.over:
            return
        scorer = random.choice(self.clients)
        self.points[scorer.team] += 1
        self.broadcast("score", self.points)
        if self.points[scorer.team] >= TO_WIN:
            self.end(scorer.team)

    def on_leave(self, client: Member, reason: Code) -> None:
        """Somebody has quit: who waits and fits may take the place."""
        if self.over or not self.clients:
            return
        self.broadcast("notice", f"{client.auth} has quit")
        missing = {team: 2 - len(self.names(team)) for team in self.points}
        ratings = [skill_of(member.auth).mean for member in self.clients]
        self.backfill("ranked", missing, rating=sum(ratings) / len(ratings))

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        if self.playing:
            self.broadcast("notice", f"{client.auth} has come into team {client.team}")

    def end(self, winner: str) -> None:
        """The game is over: skills change, and all are told theirs."""
        self.over = True
        self.stop_backfill()
        teams = [self.names(team) for team in self.points]
        if all(teams):
            places = [1 if team == winner else 2 for team in self.points]
            after = _skills.after([[skill_of(name) for name in team] for team in teams], places)
            for team, skills in zip(teams, after, strict=True):
                SKILLS.update(zip(team, skills, strict=True))
        for member in self.clients:
            member.send("over", {"won": member.team == winner, "skill": round(skill_of(member.auth).mean)})
        self.close("the game is over")

    def names(self, team: str) -> list[str]:
        """Who plays in a team."""
        return [member.auth for member in self.clients if member.team == team]
