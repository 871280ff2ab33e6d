"""Addresses as people type them, and how long to wait for who is there."""

import rich_click as click

__all__ = ["DEFAULT_ADDRESS", "address_argument", "address_option", "parse_address", "timeout_option"]

DEFAULT_ADDRESS = "tcp://127.0.0.1:1234"


def parse_address(text: str, ctx: click.Context | None = None, *, default_port: str = "1234") -> str:
    """``tcp://host:port`` from that, ``host:port``, ``host``, ``:port`` or ``port``.

    Without a default port, ``host`` alone is refused.

    Raises:
        UsageError: it is none of these.
    """
    text = text.strip()
    scheme, separator, rest = text.rpartition("://")
    if separator and scheme != "tcp":
        raise click.UsageError(f"{text!r}: only tcp:// is spoken here. Write host:port, like 127.0.0.1:1234.", ctx)
    host, port = _parts(rest, default_port)
    if not host or any(char.isspace() or char in "/\\@?#*;" for char in host):
        raise click.UsageError(f"{text!r} is no address. Write host:port, like 127.0.0.1:1234.", ctx)
    if not port:
        raise click.UsageError(f"{text!r} names no port: write host:port, like {host}:1235.", ctx)
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise click.UsageError(f"{text!r}: {port!r} is no port, which is a number from 1 to 65535.", ctx)
    return f"tcp://{host}:{int(port)}"


def _parts(rest: str, default_port: str) -> tuple[str, str]:
    default_host = "127.0.0.1"
    if rest.isdecimal():
        return default_host, rest
    if rest.endswith("]") or ":" not in rest:
        return rest, default_port
    host, _, port = rest.rpartition(":")
    return host or default_host, port


def _parse(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return parse_address(value, ctx)


address_argument = click.argument("address", default=DEFAULT_ADDRESS, callback=_parse)
"""``[ADDRESS]`` of the commands that talk to a server."""

address_option = click.option(
    "--address",
    metavar="ADDRESS",
    default=DEFAULT_ADDRESS.removeprefix("tcp://"),
    show_default=True,
    callback=_parse,
    help="The broker's host:port.",
)
"""``--address`` of the commands that name something else first."""

timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 600),
    default=5.0,
    show_default=True,
    help="How long to wait for the server.",
)
"""``--timeout`` of the same commands."""
