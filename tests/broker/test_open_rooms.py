"""The index of open rooms beside a model without any index: who looks for a room is sent where the plain rules say."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server_room_system.broker import directory as module
from server_room_system.broker.directory import Directory
from server_room_system.protocol import Filter
from server_room_system.rooms.control import RoomUpdated

from .fakes import FakeOutbox, a_worker

_ROOMS = [f"r{number}" for number in range(5)]
_TYPES = ["duel", "chat"]
_RULESETS = [bytes(16), bytes([1] * 16)]
_FILTERS: list[dict[str, Any]] = [
    {},
    {"level": 1},
    {"level": [0, 2]},
    {"level": {"min": 1}},
    {"map": {"prefix": "du"}, "level": {"max": 1}},
]
_LOOKING_BESIDES: list[set[str]] = [set(), {"r0"}, {"r1", "r2"}, set(_ROOMS)]

_metadata = st.fixed_dictionaries(
    {}, optional={"level": st.sampled_from([0, 1, 2, "1", None]), "map": st.sampled_from(["dust", "mill", 7])}
)
_access = st.sampled_from([{}, {}, {"private": True}, {"password": True}, {"unlisted": True}, {"spectators": 2}])


def fits(where: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """The rules of filters, as far as these need them, word by word."""
    for name, wanted in where.items():
        if name not in metadata:
            return False
        value = metadata[name]
        if isinstance(wanted, list):
            good = value in wanted
        elif not isinstance(wanted, dict):
            good = value == wanted
        elif "prefix" in wanted:
            good = isinstance(value, str) and value.startswith(wanted["prefix"])
        else:
            good = isinstance(value, int) and wanted.get("min", -99) <= value <= wanted.get("max", 99)
        if not good:
            return False
    return True


class OpenRooms(RuleBasedStateMachine):
    """Rooms open and close in every way that there is, while seats of them are asked for."""

    def __init__(self) -> None:
        super().__init__()
        out = FakeOutbox()
        self.directory = Directory()
        self.workers = [a_worker("one", out), a_worker("two", out)]
        self.rooms: dict[str, tuple[RoomUpdated, Any]] = {}
        self.asked: list[str] = []
        """Rooms that were asked for a seat and have not answered, once for each seat."""
        self.opened: list[str] = []
        """Those that are open, in the order in which they opened."""

    def is_open(self, room: str) -> bool:
        if room not in self.rooms:
            return False
        report = self.rooms[room][0]
        kept_out = report.locked or "private" in report.access or "password" in report.access
        return not kept_out and report.free - self.asked.count(room) > 0

    def look_again(self) -> None:
        """What follows from whatever has happened."""
        self.opened = [room for room in self.opened if self.is_open(room)]
        self.opened += [room for room in _ROOMS if self.is_open(room) and room not in self.opened]

    def first(self, where: dict[str, Any], besides: set[str], **of: Any) -> str | None:
        """The room that the rules name."""
        for room in self.opened:
            report = self.rooms[room][0]
            wanted = all(getattr(report, name) == value for name, value in of.items())
            if wanted and room not in besides and fits(where, report.metadata):
                return room
        return None

    @rule(
        room=st.sampled_from(_ROOMS),
        type_name=st.sampled_from([*_TYPES[:1] * 3, *_TYPES[1:]]),
        ruleset=st.sampled_from([*_RULESETS[:1] * 3, *_RULESETS[1:]]),
        free=st.integers(0, 2),
        locked=st.sampled_from([False, False, False, True]),
        access=_access,
        metadata=_metadata,
        of=st.sampled_from([0, 0, 0, 1]),
    )
    def is_reported(
        self,
        room: str,
        type_name: str,
        ruleset: bytes,
        free: int,
        locked: bool,
        access: dict[str, Any],
        metadata: dict[str, Any],
        of: int,
    ) -> None:
        worker = self.workers[of]
        report = RoomUpdated(room, type_name, 2 - free, free, 2, locked, metadata, ruleset, access)
        before = self.rooms.get(room)
        taken = self.directory.update(report, worker)
        assert taken == (before is None or before[1] is worker)
        if not taken:
            return
        self.rooms[room] = report, worker
        if before is not None and (before[0].type, before[0].ruleset) != (type_name, ruleset):
            self.opened = [one for one in self.opened if one != room]  # another room by the same name
        self.look_again()

    @rule(room=st.sampled_from(_ROOMS), of=st.sampled_from([0, 0, 1]))
    def ends(self, room: str, of: int) -> None:
        removed = self.directory.remove(room, self.workers[of])
        if room in self.rooms and self.rooms[room][1] is self.workers[of]:
            assert removed is not None
            assert removed.report == self.rooms.pop(room)[0]
        else:
            assert removed is None
        self.look_again()

    @precondition(lambda self: self.opened)
    @rule(data=st.data(), where=st.sampled_from(_FILTERS), type_name=st.sampled_from(_TYPES))
    def is_asked_for_a_seat(self, data: st.DataObject, where: dict[str, Any], type_name: str) -> None:
        room = self.directory.pick_by_type(type_name, Filter(where), set())
        room = room or data.draw(st.sampled_from(self.opened))
        self.directory.ask_seat(room)
        self.asked.append(room)
        self.look_again()

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), held=st.booleans())
    def answers(self, data: st.DataObject, held: bool) -> None:
        """What a room has answered: if the seat is held, it has said before that there is one less."""
        room = data.draw(st.sampled_from(self.asked))
        if held and room in self.rooms:
            report, worker = self.rooms[room]
            if report.free:
                report = report._replace(free=report.free - 1)
                self.rooms[room] = report, worker
                assert self.directory.update(report, worker)
                self.look_again()
        self.asked.remove(room)
        self.directory.answered(room)
        self.look_again()

    @invariant()
    def everybody_is_sent_where_the_rules_say(self) -> None:
        for where in _FILTERS:
            wanted = Filter(where)
            for besides in _LOOKING_BESIDES:
                for type_name in _TYPES:
                    picked = self.directory.pick_by_type(type_name, wanted, besides)
                    assert picked == self.first(where, besides, type=type_name)
                for ruleset in _RULESETS:
                    picked = self.directory.pick_by_ruleset(ruleset, wanted, besides)
                    assert picked == self.first(where, besides, ruleset=ruleset)

    @invariant()
    def lists_show_what_the_rules_say(self) -> None:
        for type_name in (*_TYPES, None):
            for where in _FILTERS:
                shown = {entry["room"] for entry in self.directory.list(type_name, Filter(where))}
                assert shown == {
                    room
                    for room, (report, _) in self.rooms.items()
                    if not {"private", "unlisted"} & set(report.access)
                    and report.type in (type_name or report.type)
                    and fits(where, report.metadata)
                }

    def teardown(self) -> None:
        for room in list(self.rooms):
            for worker in self.workers:
                self.directory.remove(room, worker)
        for room in self.asked:
            self.directory.answered(room)
        left = [name for name, kept in vars(self.directory).items() if isinstance(kept, dict) and kept]
        assert not left, "something is kept of rooms that are gone"


TestOpenRooms = OpenRooms.TestCase
TestOpenRooms.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_only_so_many_open_rooms_are_looked_at_for_one_request() -> None:
    directory, worker = Directory(), a_worker("one", FakeOutbox())
    most = module._MOST_LOOKED_AT
    for number in range(most + 1):
        directory.update(RoomUpdated(f"r{number}", "duel", 0, 2, 2, False, {"level": number}), worker)
    assert directory.pick_by_type("duel", Filter({"level": most - 1}), ()) == f"r{most - 1}"
    assert directory.pick_by_type("duel", Filter({"level": most}), ()) is None
    directory.remove("r0", worker)
    assert directory.pick_by_type("duel", Filter({"level": most}), ()) == f"r{most}"


@pytest.mark.parametrize(
    ("locked", "access"), [(True, {}), (False, {"private": True}), (False, {"password": True})], ids=str
)
def test_nobody_is_sent_to_a_room_that_is_not_open(locked: bool, access: dict[str, Any]) -> None:
    directory, worker = Directory(), a_worker("one", FakeOutbox())
    directory.update(RoomUpdated("r1", "duel", 1, 1, 2, locked, {}, bytes(16), access), worker)
    assert directory.pick_by_type("duel", Filter({}), ()) is None
    assert directory.pick_by_ruleset(bytes(16), Filter({}), ()) is None
    directory.update(RoomUpdated("r1", "duel", 1, 1, 2, False, {}, bytes(16), {}), worker)
    assert directory.pick_by_type("duel", Filter({}), ()) == "r1"
