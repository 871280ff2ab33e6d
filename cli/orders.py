"""``srs kick``, ``srs close`` and ``srs drain``: what an administrator has done."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from .address import address_option, timeout_option
from .admin import AdminClient, ask_broker, broker_pass
from .exits import CommandError
from .options import json_option, key_file_option, server_key_option
from .screen import RewrittenLine

__all__ = ["close", "drain", "kick"]

_LOOK_EVERY = 0.5
_LEAVES_WITHIN = 15.0
"""Seconds that a worker's process has to end, once its rooms have had their time."""
_LONGEST_DRAIN = 86_400.0

_text_option = click.option("--text", metavar="TEXT", default="", help="Why; those concerned read it.")


@click.command()
@click.argument("room")
@click.argument("client", type=click.IntRange(0))
@_text_option
@address_option
@json_option
@key_file_option
@server_key_option
@timeout_option
def kick(
    room: str,
    client: int,
    text: str,
    address: str,
    as_json: bool,
    key_file: Path | None,
    server_key: bytes | None,
    timeout: float,
) -> None:
    """Remove a client from a room.

    ROOM is its id, or the first four or more characters of it; CLIENT is the
    client's number there: see 'srs inspect ROOM'.
    """
    key = broker_pass(address, key_file, server_key)
    told = ask_broker(address, key, timeout, lambda admin: admin.command("kick", room=room, client=client, text=text))
    _tell(told, as_json, f"client {client} is removed from room {told['room']}")


@click.command()
@click.argument("room")
@_text_option
@address_option
@json_option
@key_file_option
@server_key_option
@timeout_option
def close(
    room: str,
    text: str,
    address: str,
    as_json: bool,
    key_file: Path | None,
    server_key: bytes | None,
    timeout: float,
) -> None:
    """Close a room.

    ROOM is its id, or the first four or more characters of it. Its members are
    told, and its hooks have five seconds to end.
    """
    key = broker_pass(address, key_file, server_key)
    told = ask_broker(address, key, timeout, lambda admin: admin.command("close", room=room, text=text))
    _tell(told, as_json, f"room {told['room']} is closing")


@click.command()
@click.argument("worker")
@click.option(
    "--within",
    metavar="SECONDS",
    type=click.FloatRange(0.1, _LONGEST_DRAIN),
    default=30.0,
    show_default=True,
    help="How long its rooms have to end; what is left is closed then.",
)
@click.option("--wait", is_flag=True, help="Wait until it is gone, and show how many rooms are left.")
@address_option
@json_option
@key_file_option
@server_key_option
@timeout_option
def drain(
    worker: str,
    within: float,
    wait: bool,
    address: str,
    as_json: bool,
    key_file: Path | None,
    server_key: bytes | None,
    timeout: float,
) -> None:
    """Take a worker out of service.

    WORKER is its name: see 'srs top'. It gets no new rooms, its members are
    told, and when its rooms have ended its process ends. A worker that the
    broker started itself is started anew.
    """
    key = broker_pass(address, key_file, server_key)
    line = RewrittenLine(sys.stderr, quiet=as_json)
    told = ask_broker(address, key, timeout, lambda admin: _drain(admin, worker, within, wait, line))
    end = "gone" if wait else f"draining: it has {within:g} s to end its rooms, of which there are {told['rooms']}"
    _tell(told, as_json, f"worker {worker} is {end}")


async def _drain(admin: AdminClient, worker: str, within: float, wait: bool, line: RewrittenLine) -> dict[str, Any]:
    told: dict[str, Any] = await admin.command("drain", worker=worker, within=within)
    if not wait:
        return told
    loop = asyncio.get_running_loop()
    begin = loop.time()
    deadline = begin + within + _LEAVES_WITHIN
    try:
        while (left := _rooms_left(await admin.command("workers"), told)) is not None:
            if loop.time() >= deadline:
                raise CommandError(
                    f"worker {worker} is still there {deadline - begin:.0f} s after it was to drain, with {left} "
                    "rooms.\nIts own log says why; 'srs inspect ROOM' shows what a room is waiting for."
                )
            line.show(f"worker {worker} is draining, rooms left: {left}")
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        line.clear()
    return {**told, "gone": True, "seconds": round(loop.time() - begin, 1)}


def _rooms_left(listed: dict[str, Any], told: dict[str, Any]) -> int | None:
    """How many rooms the worker still has; None when it is gone, though another may have its name by now."""
    wanted = told["worker"], told["generation"]
    return next((one["rooms"] for one in listed["workers"] if (one["name"], one["generation"]) == wanted), None)


def _tell(told: dict[str, Any], as_json: bool, sentence: str) -> None:
    click.echo(json.dumps(told, indent=2) if as_json else sentence)
