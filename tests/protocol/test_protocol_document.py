"""docs/protocol.md says what the code does: nothing is missing there, and nothing there is missing here."""

import re
from dataclasses import asdict
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from server_room_system.broker.matchmaking import TICKET
from server_room_system.broker.sessions import SESSION
from server_room_system.protocol import (
    BadMessage,
    Code,
    DirectLog,
    FinalClose,
    HistoryLimits,
    Item,
    Kind,
    Limits,
    RemoteError,
    RequestError,
    RuleSet,
    RuleSetError,
    StreamReader,
    TemporaryClose,
    UnknownKind,
    error_for,
    mark_of,
    pack,
    parse,
    upload_decoder,
)
from server_room_system.protocol.streams import DIRECT_LIMITS, Position
from server_room_system.rooms.seats import SEAT

from .conversations import CLIENTS
from .documents import Row, bare, tables

DOCUMENT = CLIENTS.document
EXAMPLES = DOCUMENT.examples

# --- items -------------------------------------------------------------------------------------------------------


def test_every_item_is_listed() -> None:
    rows = DOCUMENT.table("Items of a bundle", "kind", "item")
    assert [(int(row["kind"]), row["item"]) for row in rows] == [(int(item), item.name) for item in Item]


@pytest.mark.parametrize("item", list(Item), ids=lambda item: item.name)
def test_what_an_item_takes_is_what_the_reader_counts(item: Item) -> None:
    (row,) = (row for row in DOCUMENT.table("Items of a bundle", "kind", "item") if row["item"] == item.name)
    fields = re.findall(r"`(\w+)`", row["fields behind the kind"])
    reader = StreamReader(Position(1, 0, 0))
    list(reader.read(0, [[int(item), *([1] * len(fields))]]))
    took = {
        "the next offset": (1, 0),
        "the next offsets, `count` of them": (1, 0),
        "the next direct number": (0, 1),
        "the direct numbers from `number` to `upto`": (0, 1),
        "nothing": (0, 0),
    }[row["takes"]]
    assert reader.position[1:] == took
    assert (fields[:1] == ["number"]) == (took == (0, 1))


# --- codes -------------------------------------------------------------------------------------------------------


def test_every_code_is_listed_with_its_class_and_meaning() -> None:
    listed = [
        (int(row["code"]), row["name"], row["class"], row["meaning"])
        for row in DOCUMENT.table("Errors and codes", "code", "name", "class", "meaning")
    ]
    errors = [error_for(code) for code in sorted(Code)]
    assert listed == [(int(e.code), Code(e.code).name, type(e).__name__, e.meaning) for e in errors]


def test_the_ranges_of_codes_are_the_bases() -> None:
    bases: dict[str, type[RemoteError]] = {base.__name__: base for base in (RequestError, TemporaryClose, FinalClose)}
    rows = DOCUMENT.table("Errors and codes", "codes", "class")
    assert [row["class"] for row in rows] == list(bases)
    for row in rows:
        first, last = map(int, row["codes"].split("-"))
        for code in {first, last, *(int(known) for known in Code if first <= known <= last)}:
            assert isinstance(error_for(code), bases[row["class"]])
    assert type(error_for(4000)) is type(error_for(0)) is FinalClose


# --- limits, histories, rulesets ---------------------------------------------------------------------------------


def test_every_limit_is_listed_with_its_default() -> None:
    listed = {bare(row["name"]): row["default"] for row in DOCUMENT.table("Limits", "name", "default")}
    assert listed == {name: repr(value) for name, value in asdict(Limits()).items()}


def test_the_histories_are_the_defaults() -> None:
    listed = [
        HistoryLimits(int(row["messages"]), int(row["bytes"]), float(row["seconds"]))
        for row in DOCUMENT.table("Streams: what a client receives", "what", "messages")
    ]
    assert listed == [HistoryLimits(), DIRECT_LIMITS]
    log = DirectLog()
    for _ in range(DIRECT_LIMITS.count + 1):
        log.add(b"", 0, 0.0)
    assert log.since(0) is None, "a log has these limits unless it is given others"


def accepts(clients: Any = 2, room: Any = None, criteria: Any = None) -> bool:
    try:
        RuleSet.from_wire([clients, room, criteria or {}])
    except RuleSetError:
        return False
    return True


def test_the_bounds_of_rulesets_are_enforced() -> None:
    rows = {
        bare(row["part"]): row["what it may be"] for row in DOCUMENT.table("Rulesets, rooms and other maps", "part")
    }
    fewest, most = map(int, re.findall(r"\d+", rows["clients"]))
    assert [accepts(clients=n) for n in (fewest - 1, fewest, most, most + 1)] == [False, True, True, False]
    shortest, longest = map(int, re.findall(r"\d+", rows["room"]))
    assert [accepts(room="x" * n) for n in (shortest - 1, shortest, longest, longest + 1)] == [False, True, True, False]
    entries, characters = map(int, re.findall(r"\d+", rows["criteria"]))
    assert [accepts(criteria={f"k{i}": i for i in range(n)}) for n in (entries, entries + 1)] == [True, False]
    assert [accepts(criteria={"k" * n: 1}) for n in (characters, characters + 1)] == [True, False]
    for name in re.findall(r"`(\w+)`", rows["criteria"]):
        assert not accepts(criteria={name: 1})
    (size,) = map(int, re.findall(r"at most (\d+) bytes", DOCUMENT.section("Rulesets, rooms and other maps")))
    over = size - len(pack([2, None, {"k": ""}])) - 2
    assert [accepts(criteria={"k": "x" * n}) for n in (over, over + 1)] == [True, False]


# --- life cycles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"), [("session", SESSION), ("ticket", TICKET), ("seat", SEAT)], ids=["session", "ticket", "seat"]
)
def test_life_cycles_are_the_tables_of_the_code(name: str, code: Any) -> None:
    rows = DOCUMENT.table(f"Life cycle: {name}", "state", "event", "next state")
    documented = [(row["state"], row["event"], row["next state"]) for row in rows]
    assert sorted(documented) == sorted(
        (state.value, event.value, follows.value) for state, events in code.items() for event, follows in events.items()
    )
    assert {state for before, _, after in documented for state in (before, after)} == {state.value for state in code}


# --- bytes -------------------------------------------------------------------------------------------------------


upload = upload_decoder(Limits())


def test_every_item_has_an_example() -> None:
    items = {Item(item[0]) for value, _ in EXAMPLES.values() if value[0] == Kind.DELIVER for item in value[4]}
    assert items == set(Item)


def test_the_items_of_the_examples_have_the_documented_fields() -> None:
    fields = {
        int(row["kind"]): re.findall(r"`(\w+)`", row["fields behind the kind"])
        for row in DOCUMENT.table("Items of a bundle", "kind", "item")
    }
    for value, _ in EXAMPLES.values():
        if value[0] == Kind.DELIVER:
            for item in value[4]:
                assert len(item) == 1 + len(fields[item[0]])
            numbers = [item[1] for item in value[4] if fields[item[0]][:1] == ["number"]]
            assert all(after == before + 1 for before, after in pairwise(numbers))


def test_the_maps_of_the_examples_have_the_documented_keys() -> None:
    keys = {
        frozenset(bare(row["key"]) for row in rows)
        for rows in tables(DOCUMENT.section("Rulesets, rooms and other maps"))
        if "key" in rows[0]
    }
    assert frozenset(EXAMPLES["ROOMS"][0][3][0]) in keys
    assert frozenset(EXAMPLES["JOINED"][0][11]) in keys
    welcome = EXAMPLES["WELCOME"][0]
    assert welcome[12] == Limits().to_wire()
    assert RuleSet.from_wire(EXAMPLES["MATCH"][0][3]).to_wire() == EXAMPLES["MATCH"][0][3]


@pytest.mark.parametrize("row", DOCUMENT.table("Errors and codes", "frame", "code"), ids=lambda row: row["why"])
def test_frames_that_are_refused(row: Row) -> None:
    with pytest.raises((BadMessage, UnknownKind)) as caught:
        parse(upload(bytes.fromhex(bare(row["frame"]))))
    assert caught.value.code == int(row["code"])


# --- the document itself -----------------------------------------------------------------------------------------


def test_limits_that_the_text_names_exist() -> None:
    for name in re.findall(r"the limit `(\w+)`", DOCUMENT.text):
        assert name in asdict(Limits())


def test_the_examples_of_a_downlink_are_for_who_has_its_token() -> None:
    _, token = EXAMPLES["JOINED, with a downlink"][0][10]
    name = int.from_bytes(sha256(token).digest()[:6], "big")
    assert name == mark_of(token)
    assert EXAMPLES["DELIVER, to all on a downlink, with a mark"][0][4][0] == [Item.MARK, name, 3]
    assert EXAMPLES["DELIVER, to one on a downlink"][0][2] == name & 0xFFFFFFFF
    assert EXAMPLES["DELIVER, a beat"][0][4] == []
