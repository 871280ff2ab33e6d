"""``srs password``: the names and passwords that a server lets in."""

import sys
from pathlib import Path

import rich_click as click

from ..broker.passwords import set_password

__all__ = ["password"]


@click.command()
@click.argument("user", metavar="USER")
@click.option(
    "--file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default="users",
    show_default=True,
    help="The server's file of users. It is made if it is not there.",
)
def password(user: str, file: Path) -> None:
    """Set a user's password, for srs serve --plain FILE and for PasswordFile(FILE).

    It is asked for at the terminal, or read from standard input. The file holds
    a slow hash of it. A server that runs takes notice by itself. To shut
    somebody out again, remove the line.
    """
    if sys.stdin.isatty():
        given: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    known = set_password(file, user, given)
    click.echo(f"{user} has a new password in {file}" if known else f"{user} is in {file} now")
