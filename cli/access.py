"""What commands that are clients show of who they are: keys, a name and a password, credentials."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from ..protocol.errors import ConfigError
from ..transport.key_files import read_public_key
from ..transport.locks import key_from_text, key_to_text

__all__ = ["PASSWORD_VARIABLE", "access_options", "public_key_option"]

PASSWORD_VARIABLE = "SRS_PASSWORD"
_LONGEST = 64 * 1024

F = TypeVar("F", bound=Callable[..., Any])


def public_key_option(name: str, help_text: str) -> Callable[[F], F]:
    """An option for a public key: the command gets its 32 bytes, or None."""
    return click.option(name, metavar="KEY", callback=_public_key, help=f"{help_text} The key, or its .pub file.")


def _public_key(ctx: click.Context, param: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    return read_public_key(Path(value)) if Path(value).is_file() else key_from_text(value)


def access_options(command: F) -> F:
    """Options for a command that is a client; it gets them as ``access``, arguments of ``connect``."""

    @functools.wraps(command)
    def with_access(
        *args: Any, server_key: bytes | None, keys: Path | None, user: str | None, credentials: Path | None, **more: Any
    ) -> Any:
        access = {
            "server_key": key_to_text(server_key) if server_key is not None else None,
            "key_file": keys,
            "user": user,
            "password": _password(user) if user is not None else None,
            "credentials": _credentials(credentials) if credentials is not None else None,
        }
        return command(*args, access=access, **more)

    for option in reversed(
        [
            public_key_option("--server-key", "The server's public key, where it has one."),
            click.option(
                "--keys",
                metavar="FILE",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Our own keys, of srs keys make, where the server lets only certain ones in.",
            ),
            click.option(
                "--user",
                metavar="NAME",
                help=f"Our name, for srs serve --plain; the password is asked for, or stands in {PASSWORD_VARIABLE}.",
            ),
            click.option(
                "--credentials",
                metavar="FILE",
                type=click.Path(path_type=Path, dir_okay=False),
                help="What to show to the server's on_auth: JSON, or else the text that is in the file.",
            ),
        ]
    ):
        with_access = option(with_access)
    return with_access  # type: ignore[return-value]  # with other arguments, as decorators of click are


def _password(user: str) -> str:
    # Not on the command line, which everybody can see.
    held = os.environ.get(PASSWORD_VARIABLE)
    return held if held is not None else click.prompt(f"Password of {user}", hide_input=True)


def _credentials(path: Path) -> Any:
    try:
        text = path.read_bytes()[:_LONGEST].decode().strip()
    except OSError as error:
        raise ConfigError(f"the credentials in {path} can't be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigError(f"the credentials in {path} are no text.") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
