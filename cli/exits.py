"""What the exit codes of ``srs`` mean, and which error ends with which."""

from enum import IntEnum

import rich_click as click

from ..protocol.errors import (
    AddressInUse,
    BrokerUnreachable,
    ClientClosedError,
    NotInRoomError,
    RemoteError,
    ServerRoomError,
    TimedOut,
    UsageError,
)

__all__ = ["MEANINGS", "CommandError", "Exit", "exit_for", "sentence_for"]


class Exit(IntEnum):
    """How a command ended, for scripts."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOBODY = 3
    IN_USE = 4
    REFUSED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "it failed, or a check did not pass",
    Exit.USAGE: "the command line or what it names is wrong",
    Exit.NOBODY: "nobody answered at the address",
    Exit.IN_USE: "the address is in use",
    Exit.REFUSED: "the server said no, or hung up",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}

_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (BrokerUnreachable, Exit.NOBODY),
    (TimedOut, Exit.NOBODY),
    (AddressInUse, Exit.IN_USE),
    (RemoteError, Exit.REFUSED),
    (NotInRoomError, Exit.REFUSED),
    (ClientClosedError, Exit.REFUSED),
    (UsageError, Exit.USAGE),
)


class CommandError(click.ClickException):
    """A command can't go on: ``message`` says what, why and what to do, in one or two lines."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def exit_for(error: BaseException) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, CommandError):
        return int(error.code)
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return int(Exit.INTERRUPTED)
    return int(next((code for kind, code in _EXITS if isinstance(error, kind)), Exit.FAILED))


def sentence_for(error: BaseException) -> str:
    """What a person reads of an error: one or two lines, without the word error."""
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "srs"
        return f"{_full_stop(_plain(error.format_message()))} See '{where} --help'."
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted"
    if isinstance(error, ServerRoomError):
        return str(error)
    shown = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{shown.splitlines()[0]:.300}\nThis was not foreseen: 'srs --debug ...' shows where it happened."


def _plain(text: str) -> str:
    """Without click's names of types: a person has typed no range."""
    return text.replace("a valid integer range", "a whole number").replace("a valid float range", "a number")


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
