"""``srs inspect``: how one room is."""

import json
from pathlib import Path
from typing import Any

import rich_click as click

from .address import address_option, timeout_option
from .admin import ask_broker, broker_pass
from .options import json_option, key_file_option, server_key_option
from .screen import hex_of_bytes, printable, table

__all__ = ["inspect", "lines_of_room"]


@click.command()
@click.argument("room")
@address_option
@json_option
@key_file_option
@server_key_option
@timeout_option
def inspect(
    room: str, address: str, as_json: bool, key_file: Path | None, server_key: bytes | None, timeout: float
) -> None:
    """Show how a room is, and who is in it.

    ROOM is its id, or the first four or more characters of it. 'srs rooms'
    lists them.
    """
    key = broker_pass(address, key_file, server_key)
    told = ask_broker(address, key, timeout, lambda client: client.command("inspect", room=room))
    if as_json:
        click.echo(json.dumps(told, indent=2, default=hex_of_bytes))
    else:
        click.echo("\n".join(lines_of_room(told)))


def _state(member: dict[str, Any]) -> str:
    return f"{member['state']}, lagging" if member["lagging"] else str(member["state"])


def lines_of_room(told: dict[str, Any]) -> list[str]:
    """What people read of a room; ``told`` is what its worker said of it."""
    members = len(told["members"]) + told["more_members"]
    metadata = ", ".join(f"{name}={value!r}" for name, value in told["metadata"].items())
    facts = [
        ("type", told["type"]),
        ("worker", told["worker"]),
        ("state", told["state"] + (", locked" if told["locked"] else "")),
        ("seats", f"{members:,} taken, {told['reserved']} reserved, of {told['max_clients']}"),
        ("metadata", metadata or "none"),
        ("fan-out", told["fanout"]),
        ("messages", f"{told['offset']:,} broadcast, {told['history_bytes']:,} bytes of history"),
        ("behind", f"{told['behind']} members that read too slowly; policy: {told['slow_members']}"),
        ("waiting", f"{told['events_waiting']} events behind the hook that runs"),
    ]
    lines = [f"room {printable(told['room'], 64)}"]
    lines += [f"  {name:9} {printable(fact, 200)}" for name, fact in facts]
    if told["members"]:
        rows = [["CLIENT", "ADDRESS", "STATE", "MESSAGES"]]
        rows += [[str(one["client"]), one["address"], _state(one), f"{one['uplink']:,}"] for one in told["members"]]
        lines += ["", *table(rows, right=frozenset({0, 3}))]
    if told["more_members"]:
        lines.append(f"and {told['more_members']:,} more")
    return lines
