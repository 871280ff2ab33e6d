"""Finding the Server that ``module:attr`` names. Nothing is run but the module itself."""

import ast
import importlib
import inspect
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ..broker import Server
from .exits import CommandError, Exit

__all__ = ["load_server"]


def load_server(target: str) -> Server:
    """The server that a command line names.

    Args:
        target: ``module:attr`` or ``path/to/file.py:attr``, looked for from the
            working directory; without ``:attr``, the module's one Server.

    Raises:
        CommandError: there is no such thing, or it is no Server.
    """
    where, _, attribute = target.partition(":") if ".py" not in target else _split_path(target)
    if not where or not all(part.isidentifier() for part in attribute.split(".") if attribute):
        raise _usage(f"{target!r} names no server: write module:attr, like app:server, or app.py:server.")
    module = _import(where)
    found = _look_up(module, where, attribute) if attribute else _only_server(module, where)
    return _instance(found, f"{where}:{attribute}" if attribute else where)


def _split_path(target: str) -> tuple[str, str, str]:
    path, colon, attribute = target.rpartition(":")
    return (path, colon, attribute) if path.endswith(".py") else (target, "", "")


def _import(where: str) -> ModuleType:
    file: Path | None = None
    if where.endswith(".py") or "/" in where:
        file = Path(where).resolve()
        name = _name_of_file(where)
    elif all(part.isidentifier() for part in where.split(".")):
        name = where
        _look_first_in(Path.cwd())
    else:
        raise _usage(f"{where!r} is no module's name: write module:attr, or path/to/file.py:attr.")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(where, error) from error
        raise _usage(f"there is no module {name!r} in {Path.cwd()} or where Python looks.{_hint(name)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may even call sys.exit()
        raise _broken(where, error) from error
    if file is not None and file != Path(module.__file__ or "").resolve():
        raise _usage(f"{where} has the name of another module, {module.__file__ or name}: rename the file.")
    return module


def _name_of_file(where: str) -> str:
    path = Path(where)
    if not path.is_file():
        there = "is no file" if path.exists() else "does not exist"
        raise _usage(f"{where} {there}, seen from {Path.cwd()}.")
    path = path.absolute()
    if not (path.suffix == ".py" and path.stem.isidentifier()):
        raise _usage(f"{where} can't be imported: a Python file's name is letters, digits and _, and ends with .py.")
    if _imports_relatively(path):  # so it is part of a package, which has to be found
        inside = path.with_suffix("").relative_to(Path.cwd()).parts if path.is_relative_to(Path.cwd()) else ()
        if len(inside) < 2 or not all(part.isidentifier() for part in inside):
            raise _usage(f"{where} has imports with dots: run srs from the folder above its package, not {Path.cwd()}.")
        _look_first_in(Path.cwd())
        return ".".join(inside)
    _look_first_in(path.parent)  # as "python path/to/file.py" does
    return path.stem


def _imports_relatively(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False  # importing it will say more
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _look_first_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _look_up(module: ModuleType, where: str, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = _names_of(module)
            close = get_close_matches(attribute, names, 1)
            hint = f" Did you mean {close[0]}?" if close else f" It has {', '.join(names)}." if names else ""
            raise _usage(f"{where} has no {attribute!r}.{hint}")
        found = getattr(found, part)
    return found


def _only_server(module: ModuleType, where: str) -> Any:
    servers = {id(value): name for name, value in vars(module).items() if isinstance(value, Server)}
    if len(servers) == 1:
        return getattr(module, next(iter(servers.values())))
    names = list(servers.values()) or _names_of(module)
    if not names:
        raise _usage(f"{where} has no Server. Make one in it: server = Server(rooms={{...}})")
    why = f"{len(servers)} servers" if servers else "no Server that is made already"
    choices = " or ".join(f"{where}:{name}" for name in names)
    raise _usage(f"{where} has {why}. Say which to run: {choices}")


def _names_of(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, Server)
        or (inspect.isclass(value) and issubclass(value, Server) and value.__module__ == module.__name__)
    ]


def _instance(found: Any, where: str) -> Server:
    if isinstance(found, Server):
        return found
    if not (inspect.isclass(found) and issubclass(found, Server)):
        kind = f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise _usage(f"{where} is {kind}, not a Server. Give a Server, or a subclass of it.")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise _usage(
            f"{where} can't be made without arguments ({error}). Give a Server that is made already."
        ) from error
    try:
        return found()
    except Exception as error:
        raise _broken(where, error) from error


def _broken(where: str, error: BaseException) -> CommandError:
    last = _last_place(error)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SystemExit):
        said = "it ended the program. Run the server only under: if __name__ == '__main__'"
    return CommandError(f"{where} can't be loaded: {said.splitlines()[0]:.300}{last}")


def _last_place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return ""  # its text names file and line
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith("<") and name not in (__file__, importlib.__file__):
            place = f" ({name}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place


def _hint(name: str) -> str:
    modules = sorted(path.stem for path in Path.cwd().glob("*.py"))
    close = get_close_matches(name, modules, 1)
    return f" Did you mean {close[0]}?" if close else ""


def _usage(message: str) -> CommandError:
    return CommandError(message, Exit.USAGE)
