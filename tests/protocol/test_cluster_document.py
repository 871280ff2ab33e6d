"""docs/cluster.md says what broker, workers and administrators do: orders, reports, proofs, lives, limits."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from server_room_system.broker import administration, cluster, probe, registrar, seating
from server_room_system.broker.placement import Load
from server_room_system.broker.workers import WORKER
from server_room_system.protocol import pack, prove
from server_room_system.rooms import registration, worker_host
from server_room_system.rooms.control import (
    ORDER_SHAPES,
    REPORT_SHAPES,
    OrderKind,
    ReportKind,
    order_fields_of,
    order_from_wire,
    order_to_wire,
    report_fields_of,
    report_from_wire,
    report_to_wire,
)
from server_room_system.rooms.registration import REGISTRATION, WorkerDescription

from .conversations import CLUSTER
from .documents import bare, tables

DOCUMENT = CLUSTER.document
KEY = bytes(range(32))

ITEMS = [
    pytest.param("Orders", "Order", OrderKind, ORDER_SHAPES, order_fields_of, id="orders"),
    pytest.param("Reports", "Report", ReportKind, REPORT_SHAPES, report_fields_of, id="reports"),
]


@pytest.mark.parametrize(("title", "word", "kinds", "shapes", "fields_of"), ITEMS)
def test_every_order_and_report_is_listed_with_its_fields(
    title: str, word: str, kinds: Any, shapes: Mapping[Any, Any], fields_of: Callable[[Any], dict[str, str]]
) -> None:
    listed = [(int(row["kind"]), row[word.lower()]) for row in DOCUMENT.table(title, "kind", word.lower())]
    assert listed == [(int(kind), kind.name) for kind in kinds]
    headings = re.findall(rf"^### {word}: ([A-Z]+) \((\d+)\)$", DOCUMENT.section(title), re.MULTILINE)
    assert headings == [(kind.name, str(int(kind))) for kind in kinds]
    for kind, shape in shapes.items():
        rows = [row for rows in tables(DOCUMENT.section(f"{word}: {kind.name} ({int(kind)})")) for row in rows]
        assert [(bare(row["field"]), row["type"]) for row in rows] == list(fields_of(shape).items()), kind.name


def test_the_examples_show_each_order_and_report_once() -> None:
    for title, kinds, read, write in (
        ("ORDERS, one of each", OrderKind, order_from_wire, order_to_wire),
        ("REPORTS, one of each", ReportKind, report_from_wire, report_to_wire),
    ):
        items = DOCUMENT.examples[title][0][2]
        assert {kinds(item[0]) for item in items} == set(kinds)
        assert len(items) == len(kinds)
        for item in items:
            assert pack(write(read(item))) == pack(item)  # type: ignore[arg-type]  # what was read is written


def test_the_proofs_of_the_examples_are_made_of_the_documented_parts() -> None:
    said = {title: CLUSTER.parse(value) for title, (value, _) in DOCUMENT.examples.items()}
    nonces = {
        "REGISTER": said["REGISTER"].nonce,
        "CHALLENGE": said["CHALLENGE, for a worker"].nonce,
        "PROBE": said["PROBE"].nonce,
        "ENQUIRE": said["ENQUIRE"].nonce,
    }
    assert said["CHALLENGE, for an administrator"].nonce == nonces["CHALLENGE"]

    def part(written: str) -> bytes:
        if written.startswith("nonce of "):
            nonce: bytes = nonces[written.removeprefix("nonce of ")]
            return nonce
        if written.startswith("the text "):
            return bare(written.removeprefix("the text ")).encode()
        text: str = {"name": said["REGISTER"].name, "endpoint": said["PROVE"].endpoint}[written]
        return text.encode()

    rows = DOCUMENT.table("The challenge", "proof in", "role", "parts")
    assert len(rows) == 5
    for row in rows:
        title = row["proof in"]
        proof = said[title].proof
        assert proof == prove(KEY, row["role"], *map(part, row["parts"].split(", "))), title
        assert title.startswith("CHALLENGE") or f"### {title} (" in DOCUMENT.text


@pytest.mark.parametrize(("name", "code"), [("registration", REGISTRATION), ("worker", WORKER)])
def test_life_cycles_are_the_tables_of_the_code(name: str, code: Any) -> None:
    rows = DOCUMENT.table(f"Life cycle: {name}", "state", "event", "next state")
    documented = [(row["state"], row["event"], row["next state"]) for row in rows]
    assert sorted(documented) == sorted(
        (state.value, event.value, follows.value) for state, events in code.items() for event, follows in events.items()
    )


def test_the_maps_have_the_keys_of_the_code() -> None:
    described, load = (
        [bare(row["key"]) for row in rows] for rows in tables(DOCUMENT.section("Maps")) if "key" in rows[0]
    )
    assert described == list(WorkerDescription._fields)
    assert set(Load.__slots__) <= set(load)
    (prove_example,) = (value for title, (value, _) in DOCUMENT.examples.items() if title == "PROVE")
    assert list(prove_example[4]) == described
    assert set(DOCUMENT.examples["RENEW"][0][3]) == set(load)


def test_the_numbers_are_those_of_the_code() -> None:
    listed = {row["what"]: row["at most"] for row in DOCUMENT.table("Limits", "what", "at most")}
    assert listed["a frame of a worker"] == f"{cluster._LARGEST_REPORTS} bytes"
    assert listed["a frame of the broker to a worker"] == f"{worker_host._LARGEST_ORDERS} bytes"
    assert listed["elements of one array, pairs of one map from a worker"] == str(cluster._MOST_ITEMS)
    assert listed["orders in one frame"] == str(registrar._MOST_ITEMS)
    assert listed["reports in one frame"] == str(worker_host._ITEMS)
    assert listed["workers"] == str(registrar._MOST_WORKERS)
    assert listed["probes at once"].startswith(f"{cluster._MOST_PROBES};")
    assert listed["connections at the workers' address"] == str(cluster._MOST_CONNECTIONS)
    assert listed["time from a connection's first word until it is a worker's"] == f"{cluster._PROVING_TIME:.0f} s"
    assert (seating._LONGEST_WAIT, seating._LONGEST_ANSWER, seating._MOST_TRIES) == (8.0, 30.0, 4)
    text = DOCUMENT.text
    assert DOCUMENT.examples["REGISTERED"][0][2] == registrar.LEASE
    assert f"waits {registrar._RETURN_TIME} s for it" in text
    assert f"jumped by more than {registrar._STALLED} s" in text
    assert (registration._RENEW_EVERY, registration._MARGIN) == (1.0, 0.5)
    assert f"no answer for {registration._PROVING_TIME:.0f} s" in text
    assert f"at most {administration._PAGE} of them" in text
    assert (administration._ANSWER_TIME, probe.PROBE_TIME) == (3.0, 2.0)
    assert f"{administration._SHORTEST_BEGINNING} characters at least" in text
