"""``srs why``: what a ticket of a queue waits for."""

import json
from pathlib import Path
from typing import Any

import rich_click as click

from .address import address_option, timeout_option
from .admin import ask_broker, broker_pass
from .options import json_option, key_file_option, server_key_option
from .screen import printable, table

__all__ = ["lines_of_ticket", "why"]


@click.command()
@click.argument("ticket", type=click.IntRange(min=1))
@address_option
@json_option
@key_file_option
@server_key_option
@timeout_option
def why(
    ticket: int, address: str, as_json: bool, key_file: Path | None, server_key: bytes | None, timeout: float
) -> None:
    """Show why a ticket still waits in its queue.

    TICKET is its number: clients see it as 'ticket.number', and 'srs top' how many wait.
    """
    key = broker_pass(address, key_file, server_key)
    told = ask_broker(address, key, timeout, lambda client: client.command("why", ticket=ticket))
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(lines_of_ticket(told)))


def lines_of_ticket(told: dict[str, Any]) -> list[str]:
    """What people read of a ticket; ``told`` is what the broker said of it."""
    lines = [
        f"ticket {told['ticket']} in queue {printable(told['queue'], 64)}: {told['state']}",
        f"  {printable(told['summary'], 200)}",
        f"  {told['considered']:,} others considered" + (", the nearest first:" if told["obstacles"] else ""),
    ]
    if told["obstacles"]:
        rows = [["CANDIDATE", "RULE", "WHY NOT", "GIVES WAY IN"]]
        rows += [
            [
                str(one["candidate"]),
                one["rule"],
                one["text"],
                "" if one["seconds"] is None else f"{one['seconds']:.0f} s",
            ]
            for one in told["obstacles"]
        ]
        lines += ["", *table(rows, right=frozenset({0, 3}))]
    return lines
