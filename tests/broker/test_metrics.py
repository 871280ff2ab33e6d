"""What a broker tells Prometheus: right values, and no label that a client can choose."""

import subprocess
import sys
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server_room_system import RuleSet
from server_room_system.broker.metrics import FAMILIES, Look, exposition
from server_room_system.broker.placement import Load
from server_room_system.protocol.messages import Cancel, Hello, Match, Welcome
from server_room_system.rooms.control import RoomUpdated

from .fakes import Bench, FakeCaller, Guest, a_worker

Samples = dict[tuple[str, tuple[str, ...]], float]


def told(look: Look) -> Samples:
    """Every sample that the text says, by its name and the values of its labels, in the order of their names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition(look).decode())
        for sample in family.samples
    }


def a_look(bench: Bench) -> Look:
    return Look(
        bench.broker,
        Load(0.25, 0.5, 1000, 7.0),
        12.5,
        frozenset({"duel", "talk"}),
        {"clients": 3, "workers": 2},
        {"clients": 100, "workers": 20},
        {"clients": Counter({"RateLimited": 4}), "workers": Counter()},
    )


@pytest.fixture
def bench() -> Bench:
    return Bench()


def come(bench: Bench) -> Guest:
    caller = FakeCaller(bench.out)
    bench.say(caller, Hello(1, [1], "test", {}))
    (welcome,) = caller.heard()
    assert isinstance(welcome, Welcome)
    return Guest(bench, caller, welcome)


def test_a_broker_with_nobody_tells_every_family_that_has_a_value_always(bench: Bench) -> None:
    samples = told(a_look(bench))
    assert samples["srs_up_seconds", ()] == 12.5
    assert samples["srs_sessions", ()] == 0
    assert samples["srs_broker_lag_seconds", ()] == 0.25
    assert samples["srs_broker_cpu_cores", ()] == 0.5
    assert samples["srs_broker_resident_bytes", ()] == 1000
    assert samples["srs_connections", ("workers",)] == 2
    assert samples["srs_frames_received_total", ("clients",)] == 100
    assert samples["srs_refusals_total", ("RateLimited", "clients")] == 4
    assert {labels for name, labels in samples if name == "srs_rooms"} == {("duel",), ("talk",), ("other",)}
    assert {name for name, _ in samples} == {family.name for family in FAMILIES}


def test_rooms_members_and_seats_by_type_and_what_is_not_registered_together(bench: Bench) -> None:
    for room, kind, clients, free in (
        ("r1", "duel", 1, 1),
        ("r2", "duel", 2, 0),
        ("r3", "Odd", 4, 5),
        ("r4", "Odder", 0, 9),
    ):
        bench.report(RoomUpdated(room, kind, clients, free, 10, False, {}))
    samples = told(a_look(bench))
    assert [samples["srs_rooms", (name,)] for name in ("duel", "talk", "other")] == [2, 0, 2]
    assert [samples["srs_members", (name,)] for name in ("duel", "talk", "other")] == [3, 0, 4]
    assert [samples["srs_seats", (name,)] for name in ("duel", "talk", "other")] == [19, 0, 6]


def test_tickets_by_their_end(bench: Bench) -> None:
    first, second, third, fourth = (come(bench) for _ in range(4))
    for guest, size, timeout in ((first, 2, 9.0), (second, 2, 9.0), (third, 5, 0.5), (fourth, 6, 9.0)):
        guest.ask(Match(guest.ref, 10, RuleSet(size).to_wire(), {}, timeout))
    assert told(a_look(bench))["srs_tickets", ()] == 2
    bench.out.advance(1.0)
    fourth.ask(Cancel(fourth.ref, 10))
    samples = told(a_look(bench))
    ends = [samples["srs_tickets_ended_total", (how,)] for how in ("matched", "cancelled", "expired")]
    assert ends == [2, 1, 1]
    assert (samples["srs_tickets", ()], samples["srs_sessions", ()]) == (0, 4)


def test_workers_by_state_and_each_with_its_load(bench: Bench) -> None:
    one, other = (a_worker(name, bench.out, f"tcp://127.0.0.1:{port}") for name, port in (("w1", 9), ("w2", 8)))
    one.load, other.draining = Load(0.01, 0.75, 5000, 60.0), True
    one.has("r1", 2)
    one.has("r2", 3)
    for record in (one, other):
        bench.broker.workers.add(record)
    samples = told(a_look(bench))
    assert [samples["srs_workers", (state,)] for state in ("serving", "missing", "draining")] == [2, 0, 1]
    names = ("rooms", "seats", "lag_seconds", "cpu_cores", "resident_bytes", "messages_per_second")
    assert [samples[f"srs_worker_{name}", ("w1",)] for name in names] == [2, 5, 0.01, 0.75, 5000, 60.0]


def test_nothing_that_a_client_says_becomes_a_label(bench: Bench) -> None:
    guest = come(bench)
    guest.ask(Match(guest.ref, 10, RuleSet(2, room="chosen by a client").to_wire(), {"chosen": "by a client"}, 9.0))
    bench.report(RoomUpdated("id of a room", "chosen elsewhere", 1, 0, 1, False, {"chosen": 1}))
    text = exposition(a_look(bench)).decode()
    assert "chosen" not in text
    assert "id of a room" not in text
    assert guest.caller.address not in text
    labels = {name for family in FAMILIES for name in family.labels}
    assert labels == {"port", "outcome", "type", "state", "worker", "error"}


def test_counters_are_named_so() -> None:
    for family in FAMILIES:
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.name.startswith("srs_")


def test_without_the_extra_the_server_says_so_at_its_start() -> None:
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from server_room_system import Room, RunOptions, Server\n"
        "Server(rooms={'x': Room}).run('127.0.0.1', 0, options=RunOptions(metrics_port=0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: metrics need prometheus-client: pip install 'server-room-system[metrics]'\n"
    assert done.stdout == ""
