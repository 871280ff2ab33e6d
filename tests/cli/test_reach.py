"""``srs doctor --broker``: what is said of a worker's endpoint."""

import errno

import pytest

from server_room_system.cli.reach import judge
from server_room_system.protocol.cluster import Probed

PROBED = Probed("w1", b"p" * 32)
LOCAL, PRIVATE, PUBLIC = "tcp://127.0.0.1:1234", "tcp://192.168.1.5:1234", "tcp://8.8.8.8:1234"


@pytest.mark.parametrize(
    ("broker", "endpoint", "status"),
    [
        (LOCAL, "tcp://127.0.0.1:4000", "ok"),
        (LOCAL, "tcp://192.168.1.5:4000", "ok"),
        ("tcp://localhost:1234", "tcp://127.0.0.1:4000", "ok"),
        ("tcp://[::1]:1234", "tcp://[::1]:4000", "ok"),
        (PRIVATE, "tcp://192.168.1.6:4000", "ok"),
        (PUBLIC, "tcp://8.8.4.4:4000", "ok"),
        (PUBLIC, "tcp://10.0.0.1:4000", "warn"),
        (PRIVATE, "tcp://127.0.0.1:4000", "fail"),
        (PUBLIC, "tcp://[::1]:4000", "fail"),
        ("tcp://game.example:1234", "tcp://127.0.0.1:4000", "fail"),
    ],
)
def test_an_answer_is_good_unless_others_would_not_get_it(broker: str, endpoint: str, status: str) -> None:
    finding = judge(broker, endpoint, None, PROBED, 0.0012)
    assert finding.status == status
    assert (status == "fail") == ("worker w1 answers, in 1.2 ms" not in finding.found)
    assert bool(finding.advice) == (status != "ok")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "nobody listens"),
        (TimeoutError(), "nothing comes back"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_why_there_is_no_connection(error: OSError, says: str) -> None:
    finding = judge(PUBLIC, "tcp://8.8.4.4:4000", error, None, 1.0)
    assert (finding.name, finding.status) == ("8.8.4.4:4000", "fail")
    assert says in finding.found
    assert "--public" in finding.advice


def test_who_listens_and_is_no_worker() -> None:
    finding = judge(PUBLIC, "tcp://8.8.4.4:4000", None, None, 2.0)
    assert finding.status == "fail"
    assert "no worker answers" in finding.found
