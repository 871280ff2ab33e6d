"""``srs rooms``: what a server lists."""

import json

import pytest

from server_room_system.cli.exits import Exit

from .programs import SRS, Program, srs


def test_rooms_are_shown_with_what_others_wrote_made_harmless(address: str) -> None:
    with Program([*SRS, "chat", address, "--clients", "1", "--room", "talk"]) as client:
        room = client.expect(r"in room (\w+) \(talk\)")[1]
        done = srs("rooms", address)
        assert done.returncode == 0
        assert done.stderr.startswith("as a client sees them: there is no cluster key: no --key-file, no SRS_KEY, and")
        head, *rows = done.stdout.splitlines()
        assert head.split() == ["ROOM", "TYPE", "MEMBERS", "LOCKED", "METADATA"]
        row = next(row for row in rows if row.startswith(room))
        assert row.split()[:3] == [room, "talk", "1/1"]
        assert "topic='zero \\x1b[31mred'" in row
        assert "\x1b" not in done.stdout
        client.end_input()
        assert client.wait() == 0


def test_json_is_for_programs(address: str) -> None:
    with Program([*SRS, "chat", address, "--clients", "1", "--room", "talk"]) as client:
        room = client.expect(r"in room (\w+)")[1]
        listed = json.loads(srs("rooms", address, "--json").stdout)
        found = next(one for one in listed if one["room"] == room)
        assert found["type"] == "talk"
        assert found["clients"] == 1
        assert found["metadata"] == {"topic": "zero \x1b[31mred"}
        assert json.loads(srs("rooms", address, "--json", "--type", "nope").stdout) == []
        client.end_input()
        assert client.wait() == 0


def test_no_rooms_are_said_so(address: str) -> None:
    done = srs("rooms", address.removeprefix("tcp://"), "--type", "nope")
    assert (done.returncode, done.stdout) == (0, f"no rooms at {address} of type nope\n")


@pytest.mark.parametrize("command", ["rooms", "chat"])
def test_nobody_answers(command: str, unused_tcp_port: int) -> None:
    done = srs(command, str(unused_tcp_port), "--timeout", "0.5")
    assert done.returncode == Exit.NOBODY
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"no broker answered at tcp://127.0.0.1:{unused_tcp_port} within" in done.stderr
