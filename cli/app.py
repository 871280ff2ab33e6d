"""The commands put together, and what happens to their errors."""

import logging
import os
import sys
import traceback
from difflib import get_close_matches

import rich_click as click

from .bench import bench
from .chat import chat
from .demo import demo
from .doctor import doctor
from .exits import MEANINGS, Exit, exit_for, sentence_for
from .inspect import inspect
from .keys import keys
from .new import new
from .orders import close, drain, kick
from .password import password
from .rooms import rooms
from .screen import Palette
from .serve import serve
from .simulate import simulate
from .top import top
from .version import VERSION
from .why import why
from .worker import worker

__all__ = ["run", "srs"]

_CODES = "\n\n".join(["Exit codes:", *(f"{int(code):<5}{meaning}" for code, meaning in MEANINGS.items())])
_STYLE = click.RichHelpConfiguration(
    theme="default-slim",
    max_width=100,
    text_paragraph_linebreaks="\n\n",
    padding_helptext_first_line=(0, 0, 1, 0),
    options_table_help_sections=["help", "deprecated", "default", "required"],
)


class _Commands(click.RichGroup):
    """In the order of use, and with a suggestion for what is misspelt."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            close = get_close_matches(name, list(self.commands), 1)
            raise click.UsageError(
                f"there is no command {name!r}." + (f" Did you mean {close[0]}?" if close else ""), ctx
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    epilog=_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.rich_config(help_config=_STYLE)
@click.option("--debug", is_flag=True, help="Log everything, and show tracebacks of errors.")
@click.version_option(VERSION, message="server-room-system %(version)s")
@click.pass_context
def srs(ctx: click.Context, debug: bool) -> None:
    """Rooms, matchmaking and broadcast over ZeroMQ.

    New here? See it at work with srs demo, then write a server of your own with srs new.
    """
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    ctx.obj = debug


for _command in (
    demo, new, serve, worker, chat, top, rooms, inspect, why, kick, close, drain, keys, password, bench, simulate,
    doctor,
):  # fmt: skip
    srs.add_command(_command)


def run(args: list[str] | None = None) -> int:
    """Run a command line; its exit code. Errors are told in a line or two on stderr."""
    arguments = sys.argv[1:] if args is None else args
    if "--debug" in arguments:  # wherever it stands
        arguments = ["--debug", *(word for word in arguments if word != "--debug")]
    try:
        code = srs.main(arguments, prog_name="srs", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads us has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the last resort
        if "--debug" in arguments:
            traceback.print_exception(error)
        if exit_for(error) == Exit.INTERRUPTED:
            print("interrupted", file=sys.stderr)
            return int(Exit.INTERRUPTED)
        painted = Palette(sys.stderr)("error:", "bold", "red")
        print(f"{painted} {sentence_for(error)}", file=sys.stderr)
        return exit_for(error)
    return code if isinstance(code, int) else 0
