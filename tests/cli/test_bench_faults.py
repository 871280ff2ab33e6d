"""``srs bench`` finds what is planted in a server: a pause, a lost message, a doubled one, a stranger's."""

import json
from pathlib import Path
from typing import Any

import pytest

from .programs import srs

SERVER = """\
import asyncio
import time

from server_room_system import Room, RuleSet, Server, on_message
from server_room_system.lab import Bot

ROOMS = []


class Passing(Room):
    message_rate = None

    def on_create(self, options):
        self.count = 0
        ROOMS.append(self)

    def ready(self):
        pass

    @on_message("say")
    def say(self, client, data):
        self.count += 1
        self.fault(client, data)

    def fault(self, client, data):
        self.broadcast("said", data)


class Stalling(Passing):
    def ready(self):
        self.every(1.0, lambda: time.sleep(0.05))


class Losing(Passing):
    def fault(self, client, data):
        if self.count != 20:
            self.broadcast("said", data)


class LosingForOne(Passing):
    def fault(self, client, data):
        self.broadcast("said", data, except_=self.clients[0] if self.count == 20 else None)


class Doubling(Passing):
    def fault(self, client, data):
        self.broadcast("said", data)
        if self.count == 20:
            self.broadcast("said", data)


class Crossing(Passing):
    def fault(self, client, data):
        self.broadcast("said", data)
        if self.count == 20:
            next(room for room in ROOMS if room is not self).broadcast("said", data)


class Excepting(Passing):
    def fault(self, client, data):
        self.broadcast("said", data, except_=client)


ROOM_TYPES = {each.__name__: each for each in (Passing, Stalling, Losing, LosingForOne, Doubling, Crossing, Excepting)}
server = Server(rooms=ROOM_TYPES)


class Bots(Bot):
    bots = group = 4
    rate = 40.0
    room = ""

    async def join(self, client):
        return await client.match(RuleSet(2 if self.room == "Crossing" else 4, room=self.room), timeout=20)

    async def act(self, room, stamp):
        await room.send("say", {"stamp": stamp})


class Hesitating(Bots):
    room = "Passing"
    acts = 0

    async def act(self, room, stamp):
        self.acts += 1
        if self.acts == 20:
            await asyncio.sleep(0.5)
        await super().act(room, stamp)


class InStalling(Bots):
    room = "Stalling"


class InLosing(Bots):
    room = "Losing"


class InLosingForOne(Bots):
    room = "LosingForOne"


class InDoubling(Bots):
    room = "Doubling"


class InCrossing(Bots):
    room = "Crossing"


class InExcepting(Bots):
    room = "Excepting"
    heard_by = "others"
"""


def run(folder: Path, scenario: str, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code of a short run, and what it told."""
    (folder / "planted.py").write_text(SERVER, encoding="utf-8")
    done = srs(
        "bench", f"planted.py:{scenario}", "--warm-up", "0.2", "--json", *options, cwd=folder, timeout=55
    )  # fmt: skip
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, told


def test_a_pause_of_50_ms_once_a_second_shows_in_the_percentiles(tmp_path: Path) -> None:
    code, told = run(tmp_path, "InStalling", "--seconds", "4")
    assert (code, told["problems"]) == (0, [])
    # A twentieth of all messages is due during a pause, evenly spread over it: a hundredth
    # waits for at least four fifths of it. That the machine adds to it can't hurt.
    assert told["delivery"]["p99"] >= 0.035
    assert told["delivery"]["p999"] >= 0.045


def test_what_an_act_before_held_up_is_measured_from_when_it_was_due(tmp_path: Path) -> None:
    code, told = run(tmp_path, "Hesitating", "--seconds", "1.5")
    assert (code, told["problems"]) == (0, [])
    assert told["held"] > 0
    assert told["delivery"]["p90"] >= 0.1, "a third of all acts were due during half a second of waiting"


def test_a_budget_fails_for_the_pause(tmp_path: Path) -> None:
    code, told = run(tmp_path, "InStalling", "--seconds", "2", "--budget", "p99=20ms,loss=0")
    assert code == 1
    assert [(each["metric"], each["holds"]) for each in told["budget"]] == [("p99", False), ("loss", True)]


@pytest.mark.parametrize(
    ("scenario", "faults"),
    [
        ("InLosing", {"lost": 4}),
        ("InLosingForOne", {"lost": 1, "skipped": 1}),
        ("InDoubling", {"doubled": 4}),
        ("InCrossing", {"crossed": 4}),
        ("InExcepting", {}),
    ],
)
def test_one_planted_fault_is_found_and_nothing_else(scenario: str, faults: dict[str, int], tmp_path: Path) -> None:
    code, told = run(tmp_path, scenario, "--seconds", "1")
    assert {name: count for name, count in told["faults"].items() if count} == faults
    assert told["checked"] > 0
    assert code == (1 if faults else 0)
