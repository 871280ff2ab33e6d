"""``docs/slow-members.md``: its room does what it says, and its numbers are those of the code."""

import re
from pathlib import Path
from types import ModuleType

from server_room_system import Code, Limits, Received, Room, RuleSet, Server
from server_room_system.protocol.streams import DIRECT_LIMITS, HistoryLimits
from server_room_system.rooms.connection import _MOST_UNSENT
from server_room_system.rooms.fanout import ONE_FRAME
from server_room_system.rooms.patience import _LONGEST_PAUSE
from server_room_system.rooms.room import _POLICIES
from server_room_system.testing import run, system
from server_room_system.transport.sockets import _QUEUED_FRAMES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "slow-members.md").read_text(encoding="utf-8")
((NAME, SOURCE),) = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", DOCUMENT, re.DOTALL)


def the_server() -> Server:
    module = ModuleType(NAME)
    exec(compile(SOURCE, f"{NAME}.py", "exec"), module.__dict__)  # our own
    server = module.__dict__["server"]
    assert isinstance(server, Server)
    return server


async def _race() -> None:
    async with system(the_server()) as s:
        ann, bob = await s.client(), await s.client()
        at_ann = await ann.create(RuleSet(8, room="track"))
        at_bob = await bob.join_by_id(at_ann.id)
        s.unplug(bob)
        for step in range(501):
            await at_ann.send("at", [step, step], ack=step % 50 == 49)
            if step % 50 == 49:
                await at_ann.send("chat", f"step {step}")
                await s.sleep(1.0)
        s.plug(bob)
        heard: list[Received] = []
        while not heard or heard[-1].data.get("place") != [500, 500]:
            heard.append(await at_bob.receive())
        assert [message.data["text"] for message in heard if message.type == "chat"] == [
            f"step {step}" for step in range(49, 500, 50)
        ]
        assert len([message for message in heard if message.type == "at"]) < 10
        assert {message.kind for message in heard} == {"broadcast"}


def test_the_room_spares_who_was_away_what_is_outdated() -> None:
    run(_race, seed=1)


def test_every_policy_is_explained() -> None:
    assert tuple(re.findall(r'^\| `"(\w+)"`', DOCUMENT, re.MULTILINE)) == _POLICIES
    assert Room.slow_members == _POLICIES[0]


def test_the_bounds_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", DOCUMENT, re.MULTILINE))
    numbers = {where: [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", text)] for where, text in rows.items()}
    history, direct = HistoryLimits(), DIRECT_LIMITS
    queue = numbers["the queue of its connection, and in a topic room that of its downlink"]
    assert queue == [_QUEUED_FRAMES, ONE_FRAME // 1024]
    assert numbers["what was said to it alone"] == [direct.count, direct.size // 1024, direct.age]
    assert numbers["answers that do not fit in its queue (ACK, ERROR)"] == [_MOST_UNSENT]
    assert numbers["what the room said to all"] == [history.count, history.size // 1024 // 1024, history.age]
    assert f"{_LONGEST_PAUSE:g} seconds" in DOCUMENT
    assert f"seconds ({Room.most_lag:g})" in DOCUMENT
    assert f"code {Code.TOO_SLOW:d}" in DOCUMENT
    assert hasattr(Limits(), "ping_timeout")
