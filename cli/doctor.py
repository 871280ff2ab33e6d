"""``srs doctor``: is this machine fit to run a server, or to be a client of one?"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import rich_click as click

from .access import access_options
from .address import parse_address, timeout_option
from .checks import Finding, all_findings
from .exits import Exit
from .options import json_option
from .reach import broker_findings
from .screen import Palette, printable

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _parse(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else parse_address(value, ctx)


@click.command()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where a server would listen.")
@click.option(
    "--port", metavar="PORT", type=click.IntRange(1, 65535), default=1234, show_default=True, help="Is this port free?"
)
@click.option(
    "--broker",
    metavar="ADDRESS",
    callback=_parse,
    help="Check instead that clients here reach the server at this host:port, and each of its workers.",
)
@access_options
@json_option
@timeout_option
@click.pass_context
def doctor(
    ctx: click.Context,
    host: str,
    port: int,
    broker: str | None,
    access: dict[str, Any],
    as_json: bool,
    timeout: float,
) -> None:
    """Check that this machine can run a server, or reach one.

    Versions, encryption, file descriptors, the clock, the port, and a round trip
    through a room. With --broker: the server's version, the round trip to it, and
    every address that it sends clients to. Each line is ok, warn or fail, and what
    to do. Exits with 1 if something fails.
    """

    def say(finding: Finding) -> Finding:
        if not as_json:
            click.echo(_line(finding))
        return finding

    if broker is None:
        findings = [say(finding) for finding in all_findings(host, port)]
        fit = "Fit to run a server."
    else:
        findings = asyncio.run(_told(broker_findings(broker, timeout, access), say))
        fit = f"Fit to be a client of {broker}."
    failed = [finding.name for finding in findings if finding.status == "fail"]
    if as_json:
        click.echo(json.dumps({"ok": not failed, "checks": [finding._asdict() for finding in findings]}, indent=2))
    else:
        click.echo(f"\nNot fit: {', '.join(failed)}." if failed else f"\n{fit}")
    if failed:
        ctx.exit(int(Exit.FAILED))


async def _told(findings: AsyncIterator[Finding], say: Callable[[Finding], Finding]) -> list[Finding]:
    return [say(finding) async for finding in findings]


def _line(finding: Finding) -> str:
    status = Palette(sys.stdout)(f"{finding.status:4}", "bold", _COLOURS[finding.status])
    line = f"{status}  {finding.name:18}  {printable(finding.found)}"
    return f"{line}\n{'':26}{finding.advice}" if finding.advice else line
