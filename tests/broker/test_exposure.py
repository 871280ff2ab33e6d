"""Which addresses may be opened as they are."""

from pathlib import Path
from typing import Any

import pytest

from server_room_system import ConfigError, RunOptions, Server
from server_room_system.broker.exposure import check_clients_port, check_worker, check_workers_port, is_public
from server_room_system.broker.options import host_options
from server_room_system.broker.work import run_worker
from server_room_system.rooms.worker_host import WorkerOptions


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("localhost", False),
        ("::1", False),
        ("[::1]", False),
        ("0.0.0.0", True),
        ("::", True),
        ("[::]", True),
        ("10.0.0.1", True),
        ("192.0.2.1", True),
        ("fe80::1%eth0", True),
        ("game.example", True),
        ("*", True),
        ("", True),
    ],
)
def test_what_is_public(host: str, public: bool) -> None:
    assert is_public(host) == public


NOTHING = {"asks": False, "keys": False, "authorised": False, "plain": False, "insecure": False}


def opens(host: str, **given: bool) -> bool:
    try:
        check_clients_port(host, **{**NOTHING, **given})
    except ConfigError:
        return False
    return True


def test_a_refusal_says_in_two_lines_what_is_wrong_and_what_to_do() -> None:
    for given in (NOTHING, {**NOTHING, "plain": True}):
        with pytest.raises(ConfigError, match="--insecure") as caught:
            check_clients_port("0.0.0.0", **given)
        assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ({}, False),
        ({"keys": True}, False),  # whoever has the public key, and that is public
        ({"keys": True, "authorised": True}, True),
        ({"asks": True}, True),
        ({"asks": True, "keys": True}, True),
        ({"plain": True}, False),
        ({"plain": True, "asks": True}, False),
        ({"plain": True, "insecure": True}, True),
        ({"insecure": True}, True),
    ],
    ids=lambda value: "+".join(value) or "nothing" if isinstance(value, dict) else str(value),
)
def test_what_a_public_address_needs(given: dict[str, bool], may: bool) -> None:
    assert opens("0.0.0.0", **given) == may
    assert opens("127.0.0.1", **given), "on the loopback anything goes"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("given", [{"authorised": True}, {"keys": True, "plain": True}], ids=["no key", "both"])
def test_what_makes_no_sense_together(host: str, given: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match="--keys"):
        check_clients_port(host, **{**NOTHING, "insecure": True, **given})


def test_what_the_address_for_workers_needs() -> None:
    check_workers_port("127.0.0.1", keys=False, insecure=False)
    check_workers_port("10.0.0.1", keys=True, insecure=False)
    check_workers_port("10.0.0.1", keys=False, insecure=True)
    with pytest.raises(ConfigError, match="not encrypted"):
        check_workers_port("10.0.0.1", keys=False, insecure=False)


def test_what_a_workers_own_address_needs() -> None:
    check_worker("127.0.0.1", asks=False, keys=False, insecure=False)
    check_worker("10.0.0.1", asks=True, keys=False, insecure=False)
    check_worker("10.0.0.1", asks=False, keys=True, insecure=False)
    check_worker("10.0.0.1", asks=False, keys=False, insecure=True)
    with pytest.raises(ConfigError, match="on_auth"):
        check_worker("10.0.0.1", asks=False, keys=False, insecure=False)


# And that the ways to start ask.


class Asking(Server):
    def on_auth(self, credentials: Any, peer: Any) -> Any:
        return None


@pytest.mark.asyncio
async def test_listen_refuses_a_public_address() -> None:
    with pytest.raises(ConfigError, match="nobody asks who comes"):
        async with Server().listen("0.0.0.0"):
            pass
    for host in (Server().listen("0.0.0.0", insecure=True), Asking().listen("0.0.0.0")):
        async with host:
            assert host.address.startswith("tcp://0.0.0.0:")


def test_run_refuses_a_public_address_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Server().run("0.0.0.0", 0)
    assert str(ended.value).startswith("error: 0.0.0.0 can be reached from other machines")
    assert "insecure=True" in str(ended.value)
    assert capsys.readouterr().out == ""


def test_run_refuses_a_public_address_for_workers() -> None:
    with pytest.raises(SystemExit, match="not encrypted"):
        Asking().run("127.0.0.1", 0, options=RunOptions(workers=0, worker_address=("0.0.0.0", 0)))


def test_a_worker_refuses_a_public_address() -> None:
    with pytest.raises(ConfigError, match="nobody asks who comes"):
        run_worker(Server(), WorkerOptions("tcp://127.0.0.1:1", "w", host="0.0.0.0"), bytes(32))


def test_the_files_are_read_at_the_start(tmp_path: Path) -> None:
    nowhere = tmp_path / "nothing"
    for options in (RunOptions(keys=nowhere), RunOptions(authorised=nowhere), RunOptions(plain=nowhere)):
        with pytest.raises(ConfigError, match="can't be read"):
            host_options(Server(), 0, options)
        with pytest.raises(SystemExit, match="can't be read"):
            Server().run("127.0.0.1", 0, options=options)
    with pytest.raises(ConfigError, match="can't be read"):
        Server().listen(keys=nowhere)
