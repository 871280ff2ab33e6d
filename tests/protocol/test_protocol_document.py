"""docs/protocol.md says what the code does: nothing is missing there, and nothing there is missing here."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from server_room_system.broker.matchmaking import TICKET
from server_room_system.broker.sessions import SESSION
from server_room_system.protocol import (
    VERSION,
    BadMessage,
    Code,
    Deliver,
    DirectLog,
    FinalClose,
    HistoryLimits,
    Item,
    Kind,
    Limits,
    Message,
    RemoteError,
    RequestError,
    RuleSet,
    RuleSetError,
    StreamReader,
    TemporaryClose,
    UnknownKind,
    bundle,
    download_decoder,
    encode,
    error_for,
    pack,
    parse,
    upload_decoder,
)
from server_room_system.protocol.messages import SHAPES, fields_of
from server_room_system.protocol.streams import DIRECT_LIMITS, Position
from server_room_system.rooms.seats import SEAT

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

Row = dict[str, str]


def section(title: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}$", TEXT, re.MULTILINE)
    assert found, f"the document has no section {title!r}"
    rest = TEXT[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def tables(text: str) -> Iterator[list[Row]]:
    """The tables of a piece of markdown: a dict for each row, with the heads as keys."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        heads, rule, *rows = lines
        assert all(set(cell) == {"-"} for cell in rule), block
        assert all(len(row) == len(heads) for row in rows), block
        yield [dict(zip(heads, row, strict=True)) for row in rows]


def table(title: str, *heads: str) -> list[Row]:
    """The one table of a section whose columns begin with these heads."""
    (found,) = (rows for rows in tables(section(title)) if tuple(rows[0])[: len(heads)] == heads)
    return found


def bare(cell: str) -> str:
    return cell.strip("`")


# --- messages ----------------------------------------------------------------------------------------------------


def test_version() -> None:
    assert re.findall(r"^Version \*\*(\d+)\*\*\.$", TEXT, re.MULTILINE) == [str(VERSION)]
    assert [row["version"] for row in table("Change log", "version")] == [str(n) for n in range(1, VERSION + 1)]


def test_every_kind_is_listed_in_the_order_of_numbers() -> None:
    listed = [(int(row["kind"]), row["message"]) for row in table("Messages", "kind", "message")]
    assert listed == [(int(kind), kind.name) for kind in sorted(Kind)]


def test_every_message_has_a_section_with_exactly_its_fields() -> None:
    sections = re.findall(r"^### ([A-Z_]+) \((\d+)\)$", section("Messages"), re.MULTILINE)
    assert sections == [(kind.name, str(int(kind))) for kind in sorted(Kind)]
    for kind, shape in SHAPES.items():
        rows = table(f"{kind.name} ({int(kind)})", "field", "type", "meaning")
        documented = [(bare(row["field"]), row["type"]) for row in rows]
        assert documented == list(fields_of(shape).items()), kind.name


def directions(said: str) -> set[str]:
    """Who speaks, of "client" and "server": brokers and workers are servers."""
    said = re.sub(r"broker|worker", "server", said)
    if "both ways" in said or "client ↔ server" in said:
        return {"client", "server"}
    return set(re.findall(r"(client|server)(?: or server)? →", said))


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_directions_are_those_of_the_docstrings(kind: Kind) -> None:
    (row,) = (row for row in table("Messages", "kind", "message") if row["message"] == kind.name)
    spoken = directions(row["from → to"])
    assert spoken
    assert spoken == directions(SHAPES[kind].__doc__ or "")


def test_what_the_answers_name_exists() -> None:
    names = {*Kind.__members__, *Item.__members__}
    for row in table("Messages", "kind", "message"):
        for name in re.findall(r"\b[A-Z][A-Z_]{2,}\b", row["answer"]):
            assert name in names, row
        for code in re.findall(r"\b\d{4}\b", row["answer"]):
            Code(int(code))


def test_every_type_of_a_field_is_explained() -> None:
    explained = " ".join(row["type"] for row in table("Messages", "type", "what it may hold"))
    for shape in SHAPES.values():
        for label in fields_of(shape).values():
            general = re.sub(r"at most \d+", "at most n", label.removesuffix(", or nil"))
            assert general in explained or general.startswith("array of uint16"), label


def test_every_item_is_listed() -> None:
    rows = table("Items of a bundle", "kind", "item")
    assert [(int(row["kind"]), row["item"]) for row in rows] == [(int(item), item.name) for item in Item]


@pytest.mark.parametrize("item", list(Item), ids=lambda item: item.name)
def test_what_an_item_takes_is_what_the_reader_counts(item: Item) -> None:
    (row,) = (row for row in table("Items of a bundle", "kind", "item") if row["item"] == item.name)
    fields = re.findall(r"`(\w+)`", row["fields behind the kind"])
    reader = StreamReader(Position(1, 0, 0))
    list(reader.read(0, [[int(item), *([1] * len(fields))]]))
    took = {"the next offset": (1, 0), "the next direct number": (0, 1)}[row["takes"]]
    assert reader.position[1:] == took
    assert (fields[:1] == ["number"]) == (took == (0, 1))


# --- codes -------------------------------------------------------------------------------------------------------


def test_every_code_is_listed_with_its_class_and_meaning() -> None:
    listed = [
        (int(row["code"]), row["name"], row["class"], row["meaning"])
        for row in table("Errors and codes", "code", "name", "class", "meaning")
    ]
    errors = [error_for(code) for code in sorted(Code)]
    assert listed == [(int(e.code), Code(e.code).name, type(e).__name__, e.meaning) for e in errors]


def test_the_ranges_of_codes_are_the_bases() -> None:
    bases: dict[str, type[RemoteError]] = {base.__name__: base for base in (RequestError, TemporaryClose, FinalClose)}
    rows = table("Errors and codes", "codes", "class")
    assert [row["class"] for row in rows] == list(bases)
    for row in rows:
        first, last = map(int, row["codes"].split("-"))
        for code in {first, last, *(int(known) for known in Code if first <= known <= last)}:
            assert isinstance(error_for(code), bases[row["class"]])
    assert type(error_for(4000)) is type(error_for(0)) is FinalClose


def test_codes_in_the_text_exist() -> None:
    prose = re.sub(r"```.*?```|^\|[^\n]*$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"\b(?:ERROR|GOODBYE|LEFT|FAILURE|[Cc]ode|with|gets|refused with)\s(\d{4})\b", prose)
    assert len(named) > 15
    for code in named:
        assert int(code) in set(Code) or int(code) % 1000 == 0


# --- limits, histories, rulesets ---------------------------------------------------------------------------------


def test_every_limit_is_listed_with_its_default() -> None:
    listed = {bare(row["name"]): row["default"] for row in table("Limits", "name", "default")}
    assert listed == {name: repr(value) for name, value in asdict(Limits()).items()}


def test_the_histories_are_the_defaults() -> None:
    listed = [
        HistoryLimits(int(row["messages"]), int(row["bytes"]), float(row["seconds"]))
        for row in table("Streams: what a client receives", "what", "messages")
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
    rows = {bare(row["part"]): row["what it may be"] for row in table("Rulesets, rooms and other maps", "part")}
    fewest, most = map(int, re.findall(r"\d+", rows["clients"]))
    assert [accepts(clients=n) for n in (fewest - 1, fewest, most, most + 1)] == [False, True, True, False]
    shortest, longest = map(int, re.findall(r"\d+", rows["room"]))
    assert [accepts(room="x" * n) for n in (shortest - 1, shortest, longest, longest + 1)] == [False, True, True, False]
    entries, characters = map(int, re.findall(r"\d+", rows["criteria"]))
    assert [accepts(criteria={f"k{i}": i for i in range(n)}) for n in (entries, entries + 1)] == [True, False]
    assert [accepts(criteria={"k" * n: 1}) for n in (characters, characters + 1)] == [True, False]
    for name in re.findall(r"`(\w+)`", rows["criteria"]):
        assert not accepts(criteria={name: 1})
    (size,) = map(int, re.findall(r"at most (\d+) bytes", section("Rulesets, rooms and other maps")))
    over = size - len(pack([2, None, {"k": ""}])) - 2
    assert [accepts(criteria={"k": "x" * n}) for n in (over, over + 1)] == [True, False]


# --- life cycles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"), [("session", SESSION), ("ticket", TICKET), ("seat", SEAT)], ids=["session", "ticket", "seat"]
)
def test_life_cycles_are_the_tables_of_the_code(name: str, code: Any) -> None:
    rows = table(f"Life cycle: {name}", "state", "event", "next state")
    documented = [(row["state"], row["event"], row["next state"]) for row in rows]
    assert sorted(documented) == sorted(
        (state.value, event.value, follows.value) for state, events in code.items() for event, follows in events.items()
    )
    assert {state for before, _, after in documented for state in (before, after)} == {state.value for state in code}


# --- bytes -------------------------------------------------------------------------------------------------------


def read_value(written: str) -> Any:
    """Read the notation of the examples: JSON with h'…' for bin."""
    as_json = re.sub(r"h'([0-9a-f]*)'", r'{"$bin": "\1"}', written)
    return json.loads(as_json, object_hook=lambda found: bytes.fromhex(found["$bin"]) if "$bin" in found else found)


EXAMPLES = {
    title: (read_value(value), bytes.fromhex(frame))
    for title, value, frame in re.findall(
        r"^### Example: ([^\n]*)\n\n```text\n(.*?)```\n\n```hex\n(.*?)```$", TEXT, re.MULTILINE | re.DOTALL
    )
}
SEVERAL = "SEND, two messages with the numbers 2 and 3"

download = download_decoder(Limits())
upload = upload_decoder(Limits())


def test_every_kind_and_every_item_has_an_example() -> None:
    assert len(EXAMPLES) == len(re.findall("^### Example", TEXT, re.MULTILINE))
    kinds = {Kind(value[0]) for value, _ in EXAMPLES.values()}
    assert kinds == set(Kind)
    for title, (value, _) in EXAMPLES.items():
        assert title.split(",")[0] == Kind(value[0]).name
    items = {Item(item[0]) for value, _ in EXAMPLES.values() if value[0] == Kind.DELIVER for item in value[4]}
    assert items == set(Item)


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_bytes_of_an_example_are_its_value(title: str) -> None:
    value, frame = EXAMPLES[title]
    speakers = directions(next(row["from → to"] for row in table("Messages", "kind") if int(row["kind"]) == value[0]))
    for decode in (download, *([upload] if "client" in speakers else [])):
        decoded = decode(frame)
        assert decoded == value
        assert repr(decoded) == repr(value), "1, 1.0 and true are different"


@pytest.mark.parametrize("title", [title for title in EXAMPLES if title != SEVERAL])
def test_an_example_is_what_the_code_says(title: str) -> None:
    value, frame = EXAMPLES[title]
    message: Message = parse(download(frame))
    assert [value[0], *message] == value
    if isinstance(message, Deliver):
        epoch, ref, offset, items = message
        assert bundle(epoch, ref, offset, [pack(item) for item in items]) == frame
    else:
        assert encode(message) == frame


def test_several_messages_in_one_send_are_pairs() -> None:
    value, frame = EXAMPLES[SEVERAL]
    assert pack(value) == frame
    assert (len(value) - 3) % 2 == 0
    for index in range(3, len(value), 2):
        parse([*value[:3], *value[index : index + 2]])


def test_the_items_of_the_examples_have_the_documented_fields() -> None:
    fields = {
        int(row["kind"]): re.findall(r"`(\w+)`", row["fields behind the kind"])
        for row in table("Items of a bundle", "kind", "item")
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
        for rows in tables(section("Rulesets, rooms and other maps"))
        if "key" in rows[0]
    }
    assert frozenset(EXAMPLES["ROOMS"][0][3][0]) in keys
    assert frozenset(EXAMPLES["JOINED"][0][10]) in keys
    welcome = EXAMPLES["WELCOME"][0]
    assert welcome[12] == Limits().to_wire()
    assert RuleSet.from_wire(EXAMPLES["MATCH"][0][3]).to_wire() == EXAMPLES["MATCH"][0][3]


@pytest.mark.parametrize("row", table("Errors and codes", "frame", "code"), ids=lambda row: row["why"])
def test_frames_that_are_refused(row: Row) -> None:
    with pytest.raises((BadMessage, UnknownKind)) as caught:
        parse(upload(bytes.fromhex(bare(row["frame"]))))
    assert caught.value.code == int(row["code"])


# --- the document itself -----------------------------------------------------------------------------------------


def test_links_within_the_document_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
    contents = re.findall(r"^- \[(.*?)\]\(#", TEXT, re.MULTILINE)
    assert contents == re.findall(r"^## (.*)$", TEXT, re.MULTILINE)


def test_limits_that_the_text_names_exist() -> None:
    for name in re.findall(r"the limit `(\w+)`", TEXT):
        assert name in asdict(Limits())
