"""``srs rooms``: all rooms of a server for who has its key, and for others those that it lists."""

import asyncio
import json
from pathlib import Path
from typing import Any

import rich_click as click

from ..client import connect
from ..protocol.errors import ConfigError
from .address import address_argument, timeout_option
from .admin import AdminClient, ask_broker, broker_pass
from .options import json_option, key_file_option, server_key_option
from .screen import hex_of_bytes, printable, table

__all__ = ["rooms"]


@click.command()
@address_argument
@click.option("--type", "room_type", metavar="TYPE", help="Only rooms of this type.")
@json_option
@key_file_option
@server_key_option
@timeout_option
def rooms(
    address: str,
    room_type: str | None,
    as_json: bool,
    key_file: Path | None,
    server_key: bytes | None,
    timeout: float,
) -> None:
    """List the rooms of a server.

    ADDRESS is host:port; without it, 127.0.0.1:1234. With the cluster key the
    list is whole and names the worker of each room; without, it is the one that
    clients get.
    """
    try:
        key = broker_pass(address, key_file, server_key)
    except ConfigError as error:
        if key_file is not None:
            raise
        found = asyncio.run(_listed(address, room_type, timeout))
        click.echo(f"as a client sees them: {error}", err=True)
    else:
        found = ask_broker(address, key, timeout, lambda client: _all(client, room_type))
    if as_json:
        click.echo(json.dumps(found, indent=2, default=hex_of_bytes))
    elif found:
        click.echo("\n".join(table(_rows(found), right=frozenset({2}), gap=2)))
    else:
        click.echo(f"no rooms at {address}" + (f" of type {room_type}" if room_type else ""))


async def _listed(address: str, room_type: str | None, timeout: float) -> list[dict[str, Any]]:
    async with connect(address, connect_timeout=timeout) as client:
        return await client.rooms(room_type, timeout=timeout)


async def _all(client: AdminClient, room_type: str | None) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}  # by id: rooms come and go between two pages
    seen = 0
    while True:
        page = await client.command("rooms", type=room_type, after=seen)
        found.update((room["room"], room) for room in page["rooms"])
        seen += len(page["rooms"])
        if not page["rooms"] or seen >= page["all"]:
            return list(found.values())


def _rows(found: list[dict[str, Any]]) -> list[list[str]]:
    head = ["ROOM", "TYPE", "MEMBERS", "LOCKED", "WORKER", "METADATA"]
    rows = [head] + [
        [
            printable(room.get("room", "?"), 64),
            printable(room.get("type", "?"), 64),
            f"{room.get('clients', '?')}/{room.get('max_clients', '?')}",
            "locked" if room.get("locked") else "",
            printable(room.get("worker", ""), 64),
            printable(_pairs(room.get("metadata")), 200),
        ]
        for room in found
    ]
    # Where nothing stands below a headline of these, a narrow terminal has room for the others.
    shown = [column for column in range(len(head)) if column < 4 or any(row[column] for row in rows[1:])]
    return [[row[column] for column in shown] for row in rows]


def _pairs(metadata: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in dict(metadata or {}).items())
