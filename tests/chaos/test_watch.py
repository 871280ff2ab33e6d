"""Pipes of parties: nothing that was written is lost, and nothing is judged before its cause."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .events import Event
from .trace import Trace
from .watch import REPORT, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes that stay open by themselves are Linux's")

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.chaos.trace import Trace
trace = Trace(Path(sys.argv[1]), "worker", "w1").await_reader()
trace.write(10, "room", 2, 100, 60.0, 0)
trace.note(18, "room")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path)
    yield made
    made.close()


def test_what_was_written_outlives_its_writer_and_what_was_noted_does_not(watch: Watch, tmp_path: Path) -> None:
    root = str(Path(__file__).absolute().parents[2])
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path, root]) as killed:
        while killed.poll() is None:
            watch.look()
            time.sleep(0.005)
    watch.look()
    assert watch.oracle.counts == {"rooms": 1, "rooms lost": 1}
    assert watch.oracle.rooms == {}


def test_records_are_taken_in_an_order_in_which_none_comes_before_its_cause(watch: Watch, tmp_path: Path) -> None:
    client, worker = Trace(tmp_path, "client", "b0"), Trace(tmp_path, "worker", "w1")
    watch.look()
    # What happened: the worker's part lies between the client's question and what it saw. The pipes don't say so.
    client.write(Event.ASK, 11, 1, 0)
    worker.write(Event.OPEN, "room", 2, 100, 60.0, 0)
    worker.write(Event.JOIN, "room", 11, 1, 0)
    worker.write(Event.SAY, "room", 0, 0, [])
    client.write(Event.ENTER, 11, "room")
    client.write(Event.READ, 11, "room", 7, 0, 1, 0, True)
    client.write(Event.SEND, 11, 1)
    worker.write(Event.APPLY, "room", 11, 1, "room")
    client.write(Event.ACKED, 11, 1)
    watch.look()
    assert watch.oracle.told == []
    assert watch.oracle.counts["deliveries"] == watch.oracle.counts["acknowledged"] == 1
    client.close()
    worker.close()
    watch.look()
    watch.report()
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["open"] == {"rooms": 0, "visits": 0, "parties": 0}


def test_who_comes_while_pipes_are_read_is_found_before_those_who_follow_from_it(watch: Watch, tmp_path: Path) -> None:
    worker = Trace(tmp_path, "worker", "w1")
    worker.write(Event.OPEN, "room", 2, 100, 60.0, 0)
    watch.look()
    read = watch._read
    clients: list[Trace] = []

    def read_and_come(**kinds: object) -> None:
        read(**kinds)  # type: ignore[arg-type]  # as it was called
        if not clients:  # the first reading of clients is over
            clients.append(Trace(tmp_path, "client", "b0"))
            clients[0].write(Event.ASK, 11, 1, 0)
            worker.write(Event.JOIN, "room", 11, 1, 0)

    watch._read = read_and_come  # type: ignore[method-assign]
    watch.look()
    assert watch.oracle.told == []
    assert watch.oracle.counts["joins"] == 1
    for trace in (worker, *clients):
        trace.close()
