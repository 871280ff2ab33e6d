"""``srs inspect``: what people read of a room."""

from typing import Any

from server_room_system.cli.inspect import lines_of_room

TOLD: dict[str, Any] = {
    "worker": "w1", "room": "ab" * 16, "type": "duel", "state": "open", "locked": True, "max_clients": 4,
    "reserved": 1, "metadata": {"map": "old \x1b[31mtown"}, "offset": 1204, "history_bytes": 15_000,
    "events_waiting": 0, "behind": 1, "slow_members": "latest", "fanout": "unicast", "more_members": 0,
    "members": [{"client": 7, "address": "10.0.0.1", "state": "joined", "uplink": 12, "lagging": False}],
}  # fmt: skip


def test_all_that_is_known_is_shown_and_what_others_wrote_is_harmless() -> None:
    lines = lines_of_room(TOLD)
    assert lines[0] == f"room {'ab' * 16}"
    assert "  worker    w1" in lines
    assert "  state     open, locked" in lines
    assert "  seats     1 taken, 1 reserved, of 4" in lines
    assert "  messages  1,204 broadcast, 15,000 bytes of history" in lines
    assert "  metadata  map='old \\x1b[31mtown'" in lines
    assert lines[-2:] == ["CLIENT   ADDRESS    STATE    MESSAGES", "     7   10.0.0.1   joined         12"]


def test_who_lags_is_named_and_what_becomes_of_it() -> None:
    lines = lines_of_room({**TOLD, "members": [{**TOLD["members"][0], "lagging": True}]})
    assert "  behind    1 members that read too slowly; policy: latest" in lines
    assert lines[-1] == "     7   10.0.0.1   joined, lagging         12"


def test_members_that_are_not_listed_are_counted() -> None:
    lines = lines_of_room({**TOLD, "more_members": 1500})
    assert "  seats     1,501 taken, 1 reserved, of 4" in lines
    assert lines[-1] == "and 1,500 more"


def test_an_empty_room_has_no_table() -> None:
    assert not any("CLIENT" in line for line in lines_of_room({**TOLD, "members": [], "locked": False}))
