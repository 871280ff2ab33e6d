"""``srs new``: a small project that runs as it is."""

from pathlib import Path

import rich_click as click

from .exits import CommandError, Exit
from .project import FILES, NAME

__all__ = ["new"]

_MAY_BE_THERE = {".git", ".gitignore", ".venv"}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Write a small project into DIR.

    A server with a room, a client, a test and a README, which run as they are.
    DIR is made if it is not there, and must be empty if it is.
    """
    try:
        _write(folder)
    except OSError as error:
        raise CommandError(f"{folder} can't be written: {error.strerror or error}.") from error
    click.echo(f"wrote {', '.join(FILES)} to {folder}\n")
    if folder.resolve() != Path.cwd():
        click.echo(f"  cd {_quoted(folder)}")
    click.echo("  python server.py        in one terminal")
    click.echo("  python client.py ann    in another")
    click.echo("  python client.py ben    in a third")


def _write(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is a file: give the name of a folder.", Exit.USAGE)
    if folder.is_dir():
        there = sorted(path.name for path in folder.iterdir() if path.name not in _MAY_BE_THERE)
        if there:
            shown = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
            raise CommandError(f"{folder} is not empty ({shown}): give a new folder, or empty it.", Exit.USAGE)
    folder.mkdir(parents=True, exist_ok=True)
    title = folder.resolve().name or "project"
    for name, text in FILES.items():
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(text.replace(NAME, title))


def _quoted(folder: Path) -> str:
    text = str(folder)
    return f"'{text}'" if " " in text else text
