"""Finding the Server that ``module:attr`` names, and the name under which another process finds it.

Nothing is run but the module itself.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ..protocol.errors import ConfigError
from ..protocol.limits import AddressLimits, Limits
from .broker import BrokerLimits
from .server import Server

__all__ = ["load_server", "target_of"]


def load_server(target: str) -> Server:
    """The server that a command line names.

    Args:
        target: ``module:attr`` or ``path/to/file.py:attr``, looked for from the
            working directory; without ``:attr``, the module's one Server.

    Raises:
        ConfigError: there is no such thing, it is no Server, or its module can't be loaded.
    """
    where, attribute = _split(target)
    if not where or not all(part.isidentifier() for part in attribute.split(".") if attribute):
        raise ConfigError(f"{target!r} names no server: write module:attr, like app:server, or app.py:server.")
    module = _import(where)
    found = _look_up(module, where, attribute) if attribute else _only_server(module, where)
    return _instance(found, f"{where}:{attribute}" if attribute else where)


def _split(target: str) -> tuple[str, str]:
    path, colon, attribute = target.rpartition(":")
    if colon and path.endswith(".py"):  # a folder's name may hold colons
        return path, attribute
    where, _, attribute = (target, "", "") if target.endswith(".py") else target.partition(":")
    return where, attribute


def _import(where: str) -> ModuleType:
    file: Path | None = None
    if where.endswith(".py") or "/" in where:
        file = Path(where).resolve()
        name = _name_of_file(where)
    elif all(part.isidentifier() for part in where.split(".")):
        name = where
        _look_first_in(Path.cwd())
    else:
        raise ConfigError(f"{where!r} is no module's name: write module:attr, or path/to/file.py:attr.")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(where, error) from error
        raise ConfigError(f"there is no module {name!r} in {Path.cwd()} or where Python looks.{_hint(name)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may even call sys.exit()
        raise _broken(where, error) from error
    if file is not None and file != Path(module.__file__ or "").resolve():
        raise ConfigError(f"{where} has the name of another module, {module.__file__ or name}: rename the file.")
    return module


def _name_of_file(where: str) -> str:
    path = Path(where)
    if not path.is_file():
        there = "is no file" if path.exists() else "does not exist"
        raise ConfigError(f"{where} {there}, seen from {Path.cwd()}.")
    path = path.absolute()
    if not (path.suffix == ".py" and path.stem.isidentifier()):
        raise ConfigError(
            f"{where} can't be imported: a Python file's name is letters, digits and _, and ends with .py."
        )
    if _imports_relatively(path):  # so it is part of a package, which has to be found
        inside = path.with_suffix("").relative_to(Path.cwd()).parts if path.is_relative_to(Path.cwd()) else ()
        if len(inside) < 2 or not all(part.isidentifier() for part in inside):
            raise ConfigError(
                f"{where} has imports with dots: start from the folder above its package, not {Path.cwd()}."
            )
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
            raise ConfigError(f"{where} has no {attribute!r}.{hint}")
        found = getattr(found, part)
    return found


def _only_server(module: ModuleType, where: str) -> Any:
    servers = {id(value): name for name, value in vars(module).items() if isinstance(value, Server)}
    if len(servers) == 1:
        return getattr(module, next(iter(servers.values())))
    names = list(servers.values()) or _names_of(module)
    if not names:
        raise ConfigError(f"{where} has no Server. Make one in it: server = Server(rooms={{...}})")
    why = f"{len(servers)} servers" if servers else "no Server that is made already"
    choices = " or ".join(f"{where}:{name}" for name in names)
    raise ConfigError(f"{where} has {why}. Say which to run: {choices}")


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
        raise ConfigError(f"{where} is {kind}, not a Server. Give a Server, or a subclass of it.")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ConfigError(
            f"{where} can't be made without arguments ({error}). Give a Server that is made already."
        ) from error
    try:
        return found()
    except Exception as error:
        raise _broken(where, error) from error


def _broken(where: str, error: BaseException) -> ConfigError:
    last = _last_place(error)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SystemExit):
        said = "it ended the program. Run the server only under: if __name__ == '__main__'"
    return ConfigError(f"{where} can't be loaded: {said.splitlines()[0]:.300}{last}")


_OURS = __name__.partition(".")[0] + "."


def _last_place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return ""  # its text names file and line
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        ours = str(traceback.tb_frame.f_globals.get("__name__")).startswith(_OURS)  # their line is wrong, not ours
        if not name.startswith("<") and not ours and name != importlib.__file__:
            place = f" ({name}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place


def _hint(name: str) -> str:
    modules = sorted(path.stem for path in Path.cwd().glob("*.py"))
    close = get_close_matches(name, modules, 1)
    return f" Did you mean {close[0]}?" if close else ""


# The way back: from a server that runs here to the name for another process.

_GUARD = "if __name__ == '__main__'"


def target_of(server: Server) -> str:
    """The target under which another process loads this very server.

    It is ``module:attr``, or the absolute path of the script that was started
    and ``:attr``. An instance of a class that needs no arguments goes by the
    class. What is done to the server after its module is loaded, another
    process does not know.

    Raises:
        ConfigError: another process can't load it; says what to do.
    """
    why = "it is no variable of a module"
    for module, name in _variables(server):
        bound = _Bound.by(module)
        if bound.when_loaded(name):
            return _named(module, name)
        guarded = f"under {_GUARD}, which only the program that is started runs"
        why = f"{name} is made {guarded if name in bound.guarded else 'after its module is loaded'}"
    kind = type(server)
    home = sys.modules.get(kind.__module__)
    if home is not None and _stands_for(kind, server) and _Bound.by(home).when_loaded(kind.__qualname__):
        return _named(home, kind.__qualname__)
    raise ConfigError(
        f"worker processes can't load this server: {why}. "
        f"Write server = Server(...) at the top level of the module, above {_GUARD}, and run it below."
    )


def _variables(server: Server) -> Iterator[tuple[ModuleType, str]]:
    """The started program's first: its path says most."""
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    for module in sorted(modules, key=lambda module: module.__name__ != "__main__"):
        for name, value in list(vars(module).items()):
            if value is server and name.isidentifier():
                yield module, name


def _stands_for(kind: type[Server], server: Server) -> bool:
    """Whether ``kind()`` makes such a server again: what it was made with is not known any more."""
    if kind.__module__ == Server.__module__:
        return False
    try:
        again = kind()
    except Exception:  # noqa: BLE001  # whatever the user's class raises, it can't be made so
        return False
    return _alike(again, server) and _alike(again.match_maker, server.match_maker)


_PLAIN = (str, bytes, int, float, list, tuple, dict, set, frozenset, type, Limits, BrokerLimits, AddressLimits)


def _alike(one: object, other: object) -> bool:
    """Same attributes, as far as values can be compared; what begins with _ belongs to a running one."""
    mine, its = vars(one), vars(other)
    return (
        type(one) is type(other)
        and mine.keys() == its.keys()
        and all(
            type(value) is type(its[name]) and (value == its[name] or not isinstance(value, _PLAIN))
            for name, value in mine.items()
            if not name.startswith("_")
        )
    )


def _named(module: ModuleType, name: str) -> str:
    if module.__name__ != "__main__":
        return f"{module.__name__}:{name}"
    if module.__spec__ is not None:  # python -m package.module
        return f"{module.__spec__.name}:{name}"
    file = getattr(module, "__file__", None)
    if file is None:
        raise ConfigError("worker processes can't load a server that was typed in: write it into a file.")
    path = Path(file).absolute()
    if path.stem == "__main__":
        raise ConfigError(f"worker processes can't load {path}: start it by its package's name, with python -m.")
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ConfigError(
            f"worker processes can't load {path}: a Python file's name is letters, digits and _, and ends with .py."
        )
    other = getattr(sys.modules.get(path.stem, module), "__file__", None)
    if other is None or Path(other).resolve() != path.resolve():
        raise ConfigError(f"{path} has the name of another module, {other or path.stem}: rename the file.")
    return f"{path}:{name}"


class _Bound:
    """Which names a module binds at its top level, and which where only a started program gets."""

    def __init__(self, tree: ast.Module | None) -> None:
        self.plain: set[str] = set()
        self.guarded: set[str] = set()
        self._unknown = tree is None
        if tree is not None:
            self._read(tree.body, self.plain)

    @classmethod
    def by(cls, module: ModuleType) -> "_Bound":
        """Without a source to look at, what the module has is taken to be there each time."""
        try:
            return cls(ast.parse(Path(module.__file__ or "").read_bytes()))
        except (AttributeError, OSError, SyntaxError, ValueError):
            return cls(None)

    def when_loaded(self, name: str) -> bool:
        """Whether loading the module, in whatever process, makes this name and means the same by it."""
        if not all(part.isidentifier() for part in name.split(".")):
            return False  # a class inside a function
        return self._unknown or (name.partition(".")[0] in self.plain and name not in self.guarded)

    def _read(self, body: list[ast.stmt], into: set[str]) -> None:
        for statement in body:
            if isinstance(statement, ast.If) and (started := _asks_if_started(statement.test)) is not None:
                self._read(statement.body, self.guarded if started else into)
                self._read(statement.orelse, into if started else self.guarded)
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                into.add(statement.name)
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                into |= {alias.asname or alias.name for alias in statement.names}
            else:
                self._read_parts(statement, into)

    def _read_parts(self, node: ast.AST, into: set[str]) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            into.add(node.id)
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.stmt):
                self._read([part], into)
            elif not isinstance(part, ast.Lambda):
                self._read_parts(part, into)


def _asks_if_started(test: ast.expr) -> bool | None:
    """True for ``__name__ == "__main__"``, False for its opposite, None for any other question."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1):
        return None
    sides = {ast.unparse(test.left), ast.unparse(test.comparators[0])}
    if sides != {"__name__", "'__main__'"}:
        return None
    return isinstance(test.ops[0], ast.Eq) if isinstance(test.ops[0], (ast.Eq, ast.NotEq)) else None
