"""Addresses as people type them."""

import pytest
import rich_click as click

from server_room_system.cli.address import parse_address


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tcp://10.0.0.1:99", "tcp://10.0.0.1:99"),
        ("10.0.0.1:99", "tcp://10.0.0.1:99"),
        ("example.org", "tcp://example.org:1234"),
        (":99", "tcp://127.0.0.1:99"),
        ("99", "tcp://127.0.0.1:99"),
        (" 99 ", "tcp://127.0.0.1:99"),
        ("[::1]:99", "tcp://[::1]:99"),
        ("[::1]", "tcp://[::1]:1234"),
        ("localhost:0080", "tcp://localhost:80"),
    ],
)
def test_what_is_meant(typed: str, meant: str) -> None:
    assert parse_address(typed) == meant


@pytest.mark.parametrize(
    "typed",
    ["", "0", "65536", "a:b", "a:", "a:-1", "a:99999", "http://a", "ipc://x", "tcp://", "a b", "a/b:1", "*:1", "a:٣"],
)
def test_what_is_no_address_is_said_so(typed: str) -> None:
    with pytest.raises(click.UsageError) as error:
        parse_address(typed)
    assert "\n" not in error.value.format_message()


@pytest.mark.parametrize("typed", ["10.0.0.1", "tcp://10.0.0.1", "[::1]"])
def test_where_no_port_is_usual_one_has_to_be_named(typed: str) -> None:
    with pytest.raises(click.UsageError, match="names no port"):
        parse_address(typed, default_port="")
    assert parse_address(f"{typed}:4001", default_port="").endswith(":4001")
