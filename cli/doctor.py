"""``srs doctor``: is this machine fit to run a server?"""

import json
import sys

import rich_click as click

from .checks import Finding, all_findings
from .exits import Exit
from .screen import Palette

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where a server would listen.")
@click.option(
    "--port", metavar="PORT", type=click.IntRange(1, 65535), default=1234, show_default=True, help="Is this port free?"
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object.")
@click.pass_context
def doctor(ctx: click.Context, host: str, port: int, as_json: bool) -> None:
    """Check that this machine can run a server.

    Versions, encryption, file descriptors, the clock, the port, and a round trip
    through a room. Each line is ok, warn or fail, and what to do. Exits with 1
    if something fails.
    """
    findings: list[Finding] = []
    for finding in all_findings(host, port):
        findings.append(finding)
        if not as_json:
            click.echo(_line(finding))
    failed = [finding.name for finding in findings if finding.status == "fail"]
    if as_json:
        click.echo(json.dumps({"ok": not failed, "checks": [finding._asdict() for finding in findings]}, indent=2))
    elif failed:
        click.echo(f"\nNot fit: {', '.join(failed)}.")
    else:
        click.echo("\nFit to run a server.")
    if failed:
        ctx.exit(int(Exit.FAILED))


def _line(finding: Finding) -> str:
    status = Palette(sys.stdout)(f"{finding.status:4}", "bold", _COLOURS[finding.status])
    line = f"{status}  {finding.name:18}  {finding.found}"
    return f"{line}\n{'':26}{finding.advice}" if finding.advice else line
