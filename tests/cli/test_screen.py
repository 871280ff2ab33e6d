"""What is printed of what others sent."""

import io

import pytest

from server_room_system.cli.screen import Palette, printable, table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("héllo 世界", "héllo 世界"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("two\nlines\t", "two\\nlines\\t"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ({"x": 1}, "{'x': 1}"),
        (None, "None"),
        (b"\x00", "b'\\x00'"),
    ],
)
def test_control_characters_are_shown_and_never_sent_to_the_terminal(value: object, shown: str) -> None:
    assert printable(value) == shown
    assert printable(value).isprintable()


def test_long_texts_are_cut() -> None:
    assert printable("x" * 5000, 10) == "xxxxxxxxxx… (5000 characters)"


def test_a_table_is_aligned_and_has_no_blanks_at_the_ends() -> None:
    assert table([["A", "N"], ["abc", "1"], ["d", "20"]], right=frozenset({1})) == ["A      N", "abc    1", "d     20"]


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Palette(_Terminal())("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert Palette(_Terminal())("x") == "x"
    assert Palette(io.StringIO())("x", "red") == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert Palette(_Terminal())("x", "red") == "x"
