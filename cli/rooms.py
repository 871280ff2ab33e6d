"""``srs rooms``: what a server lists."""

import asyncio
import json
from typing import Any

import rich_click as click

from ..client import connect
from .address import address_argument, timeout_option
from .screen import printable, table

__all__ = ["rooms"]


@click.command()
@address_argument
@click.option("--type", "room_type", metavar="TYPE", help="Only rooms of this type.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of objects.")
@timeout_option
def rooms(address: str, room_type: str | None, as_json: bool, timeout: float) -> None:
    """List the rooms of a server.

    ADDRESS is host:port; without it, 127.0.0.1:1234.
    """
    found = asyncio.run(_fetch(address, room_type, timeout))
    if as_json:
        click.echo(json.dumps(found, indent=2, default=_bytes_as_hex))
    elif found:
        click.echo("\n".join(table(_rows(found), right=frozenset({2}))))
    else:
        click.echo(f"no rooms at {address}" + (f" of type {room_type}" if room_type else ""))


async def _fetch(address: str, room_type: str | None, timeout: float) -> list[dict[str, Any]]:
    async with connect(address, connect_timeout=timeout) as client:
        return await client.rooms(room_type, timeout=timeout)


def _rows(found: list[dict[str, Any]]) -> list[list[str]]:
    rows = [["ROOM", "TYPE", "MEMBERS", "LOCKED", "METADATA"]]
    for room in found:
        metadata = ", ".join(f"{name}={value!r}" for name, value in dict(room.get("metadata") or {}).items())
        rows.append(
            [
                printable(room.get("room", "?"), 64),
                printable(room.get("type", "?"), 64),
                f"{room.get('clients', '?')}/{room.get('max_clients', '?')}",
                "locked" if room.get("locked") else "",
                printable(metadata, 200),
            ]
        )
    return rows


def _bytes_as_hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
