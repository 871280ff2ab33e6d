"""Finding the scenario that a command line names."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

from ..broker import Server
from ..protocol.errors import ConfigError
from .bot import Bot
from .scenarios import SCENARIOS

__all__ = ["find_scenario", "server_beside"]


def find_scenario(text: str) -> type[Bot]:
    """The bots that a scenario is made of.

    Args:
        text: the name of a built-in scenario, or ``path/to/file.py``, with ``:Class`` where it holds several.

    Raises:
        ConfigError: there is no such thing, or the file can't be imported.
    """
    if text in SCENARIOS:
        return SCENARIOS[text]
    path, name = _split(text)
    module = _import(path)
    found = {
        each: value
        for each, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Bot) and value.__module__ == module.__name__
    }
    if name and name not in found:
        raise ConfigError(f"{path} has no Bot named {name!r}. It has {', '.join(found) or 'none'}.")
    if not name and len(found) != 1:
        choices = " or ".join(f"{path}:{each}" for each in found)
        raise ConfigError(
            f"{path} has {len(found)} kinds of Bot. Say which: {choices}"
            if found
            else f"{path} has no Bot. Write a subclass of server_room_system.lab.Bot in it."
        )
    return found[name or next(iter(found))]


def server_beside(text: str) -> str | None:
    """The server to load with a scenario, as ``srs serve`` takes it; None if there is none in its file."""
    if text in SCENARIOS:
        return f"{__name__.rpartition('.')[0]}.server:server"
    path, _ = _split(text)
    name = next((name for name, value in vars(_import(path)).items() if isinstance(value, Server)), None)
    return f"{path}:{name}" if name else None


def _split(text: str) -> tuple[str, str]:
    path, _, name = text.partition(":")
    if not path.endswith(".py"):
        raise ConfigError(
            f"there is no scenario {text!r}. Take {', '.join(SCENARIOS)}, or write a file.py of your own."
        )
    return path, name


def _import(path: str) -> ModuleType:
    file = Path(path).absolute()
    if not file.is_file():
        raise ConfigError(f"{path} is no file, seen from {Path.cwd()}.")
    if not file.stem.isidentifier():
        raise ConfigError(f"{path} can't be imported: a Python file's name is letters, digits and _.")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))  # as "python path/to/file.py" does
    try:
        module = importlib.import_module(file.stem)
    except Exception as error:
        raise ConfigError(f"{path} can't be imported: {type(error).__name__}: {error}") from error
    if Path(module.__file__ or "").resolve() != file.resolve():
        raise ConfigError(f"{path} has the name of another module, {module.__file__}: rename the file.")
    return module
