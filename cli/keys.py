"""``srs keys``: make keys, show them, and say whose may connect."""

from pathlib import Path

import rich_click as click

from ..protocol.errors import ConfigError
from ..transport.key_files import add_authorised, make_key_files, read_public_key
from ..transport.locks import key_from_text, key_to_text

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Make keys, show them, and say whose may connect.

    A server with a key encrypts everything, and its clients know that it is no
    other. A server with authorised keys lets in only those.
    """


@keys.command()
@click.argument("name", metavar="NAME", required=False)
@click.option("--server", is_flag=True, help="Make the key of a server: server.key, if no NAME is given.")
@click.option(
    "--folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    help="Where to put the files; here by default.",
)
def make(name: str | None, server: bool, folder: Path) -> None:
    """Make a pair of keys: NAME.key to keep, and NAME.pub to hand out."""
    if name is None and not server:
        raise click.UsageError("give the name of who is to have the key, or --server.")
    name = name or "server"
    own, shared, public = make_key_files(folder, name)
    click.echo(f"{own}   the secret key: keep it to yourself")
    click.echo(f"{shared}   the public key: hand it out")
    click.echo("")
    if server:
        click.echo(f"Run the server with:          srs serve app:server --keys {own}")
        click.echo(f"Clients need its public key:  '{public}'")
    else:
        click.echo(f"Connect with:                 connect(address, server_key=..., key_file={str(own)!r})")
        click.echo(f"On the server's machine:      srs keys authorise {shared} --file authorised")


@keys.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Print the public key of a .key or .pub file: 40 characters, for server_key and for 'srs keys authorise'."""
    click.echo(key_to_text(read_public_key(file)))


@keys.command(context_settings={"ignore_unknown_options": True})
@click.argument("key", metavar="KEY")
@click.option(
    "--file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default="authorised",
    show_default=True,
    help="The server's file of authorised keys. It is made if it is not there.",
)
@click.option("--comment", metavar="TEXT", default="", help="Whose key it is. By default the name of the .pub file.")
def authorise(key: str, file: Path, comment: str) -> None:
    """Let a client in: add its key to a server's authorised keys.

    KEY is a .pub file, or the key itself, in single quotes. A server that runs
    takes notice by itself. To shut somebody out again, remove the line; a
    connection that stands goes on until it ends.
    """
    if Path(key).exists():
        public, comment = read_public_key(Path(key)), comment or Path(key).stem
    else:
        try:
            public = key_from_text(key)
        except ConfigError:
            raise ConfigError(
                "KEY is the path of a .pub file, or a key of 40 characters in single quotes, as 'srs keys show' "
                "prints it: this is neither."
            ) from None
    added = add_authorised(file, public, comment)
    click.echo(f"{key_to_text(public)} is authorised in {file}" + ("" if added else " already"))
