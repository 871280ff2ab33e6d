"""What both documents of the protocol owe: every kind, every field, every type, bytes that are what the code makes."""

import re
from enum import IntEnum

import pytest

from server_room_system.protocol import Code, Deliver, Item, Limits, bundle, download_decoder, pack, upload_decoder

from .conversations import CLIENTS, CLUSTER, Conversation, each_conversation, each_kind
from .documents import bare

SEVERAL = "SEND, two messages with the numbers 2 and 3"

each_example = pytest.mark.parametrize(
    ("talk", "title"),
    [pytest.param(talk, title, id=title) for talk in (CLIENTS, CLUSTER) for title in talk.document.examples],
)

download = download_decoder(Limits())
upload = upload_decoder(Limits())


@each_conversation
def test_version(talk: Conversation) -> None:
    versions = re.findall(r"^Version \*\*(\d+)\*\*\.$", talk.document.text, re.MULTILINE)
    assert versions == [str(talk.version)]
    log = talk.document.table("Change log", "version")
    assert [row["version"] for row in log] == [str(number) for number in range(1, talk.version + 1)]


@each_conversation
def test_every_kind_is_listed_in_the_order_of_numbers(talk: Conversation) -> None:
    listed = [(int(row["kind"]), row["message"]) for row in talk.document.table("Messages", "kind", "message")]
    assert listed == [(int(kind), kind.name) for kind in sorted(talk.kinds)]


@each_conversation
def test_every_message_has_a_section(talk: Conversation) -> None:
    sections = re.findall(r"^### ([A-Z_]+) \((\d+)\)$", talk.document.section("Messages"), re.MULTILINE)
    assert sections == [(kind.name, str(int(kind))) for kind in sorted(talk.kinds)]


@each_kind
def test_a_message_has_exactly_its_fields(talk: Conversation, kind: IntEnum) -> None:
    rows = talk.document.table(f"{kind.name} ({int(kind)})", "field", "type", "meaning")
    documented = [(bare(row["field"]), row["type"]) for row in rows]
    assert documented == list(talk.fields_of(talk.shapes[kind]).items())


@each_kind
def test_directions_are_those_of_the_docstrings(talk: Conversation, kind: IntEnum) -> None:
    (row,) = (row for row in talk.document.table("Messages", "kind", "message") if row["message"] == kind.name)
    speakers = talk.speakers(row["from → to"])
    assert speakers
    assert speakers == talk.speakers(talk.shapes[kind].__doc__ or "")


@each_conversation
def test_what_the_answers_name_exists(talk: Conversation) -> None:
    names = {*CLIENTS.kinds.__members__, *talk.kinds.__members__, *Item.__members__}
    for row in talk.document.table("Messages", "kind", "message"):
        for name in re.findall(r"\b[A-Z][A-Z_]{2,}\b", row["answer"]):
            assert name in names, row
        for code in re.findall(r"\b\d{4}\b", row["answer"]):
            Code(int(code))


@each_conversation
def test_every_type_of_a_field_is_explained(talk: Conversation) -> None:
    explained = " ".join(row["type"] for row in talk.document.table("Messages", "type", "what it may hold"))
    for shape in talk.shapes.values():
        for label in talk.fields_of(shape).values():
            general = re.sub(r"at most \d+", "at most n", label.removesuffix(", or nil"))
            assert general in explained or general.startswith("array of uint16, 1 to"), label


@each_conversation
def test_every_kind_has_an_example(talk: Conversation) -> None:
    examples = talk.document.examples
    assert len(examples) == len(re.findall("^### Example", talk.document.text, re.MULTILINE))
    assert {talk.kinds(value[0]) for value, _ in examples.values()} == set(talk.kinds)
    for title, (value, _) in examples.items():
        assert title.split(",")[0] == talk.kinds(value[0]).name


@each_example
def test_the_bytes_of_an_example_are_its_value(talk: Conversation, title: str) -> None:
    value, frame = talk.document.examples[title]
    rows = talk.document.table("Messages", "kind")
    speakers = talk.speakers(next(row["from → to"] for row in rows if int(row["kind"]) == value[0]))
    for decode in (download, *([upload] if "client" in speakers else [])):
        decoded = decode(frame)
        assert decoded == value
        assert repr(decoded) == repr(value), "1, 1.0 and true are different"


@each_example
def test_an_example_is_what_the_code_says(talk: Conversation, title: str) -> None:
    value, frame = talk.document.examples[title]
    if title == SEVERAL:
        assert pack(value) == frame
        assert (len(value) - 3) % 2 == 0
        for index in range(3, len(value), 2):
            talk.parse([*value[:3], *value[index : index + 2]])
        return
    message = talk.parse(download(frame))
    assert [value[0], *message] == value
    if isinstance(message, Deliver):
        epoch, ref, offset, items = message
        assert bundle(epoch, ref, offset, [pack(item) for item in items]) == frame
    else:
        assert talk.encode(message) == frame


@each_conversation
def test_links_within_the_document_lead_somewhere(talk: Conversation) -> None:
    text = talk.document.text
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    contents = re.findall(r"^- \[(.*?)\]\(#", text, re.MULTILINE)
    assert contents == re.findall(r"^## (.*)$", text, re.MULTILINE)


@each_conversation
def test_codes_in_the_text_exist(talk: Conversation) -> None:
    words = r"ERROR|GOODBYE|LEFT|FAILURE|ROOM_LOST|DENIED|[Cc]ode|with|gets|refused with"
    named = re.findall(rf"\b(?:{words})\s(\d{{4}})\b", talk.document.prose)
    assert len(named) > 10
    for code in named:
        assert int(code) in set(Code) or int(code) % 1000 == 0
