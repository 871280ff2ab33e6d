"""``srs why``: what people read of a ticket."""

from server_room_system.cli.why import lines_of_ticket


def test_what_keeps_others_away_is_a_table() -> None:
    obstacles = [{"candidate": 40, "rule": "rating", "text": "300 apart, the window is 120", "seconds": 18.0},
                 {"candidate": "r7", "rule": "places", "text": "no place for 2", "seconds": None}]  # fmt: skip
    lines = lines_of_ticket(
        {"ticket": 41, "queue": "ranked", "state": "waiting", "summary": "1 of 2 players", "considered": 2,
         "obstacles": obstacles}
    )  # fmt: skip
    assert lines[0] == "ticket 41 in queue ranked: waiting"
    assert "1 of 2 players" in lines[1]
    assert lines[-2].split() == ["40", "rating", "300", "apart,", "the", "window", "is", "120", "18", "s"]
    assert lines[-1].split() == ["r7", "places", "no", "place", "for", "2"]


def test_a_ticket_that_is_alone_says_so_in_three_lines() -> None:
    told = {"ticket": 1, "queue": "q\x1b", "state": "waiting", "summary": "1 of 2 players", "considered": 0,
            "obstacles": []}  # fmt: skip
    lines = lines_of_ticket(told)
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
