"""What ``srs doctor`` looks at, one function a question. Each answers with a Finding."""

import asyncio
import errno
import importlib.util
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Literal, NamedTuple

import zmq

from ..broker import Server
from ..client import connect
from ..protocol.errors import ServerRoomError
from ..protocol.rulesets import RuleSet
from ..rooms import Room
from ..transport.descriptors import connections_allowed
from .version import VERSION

__all__ = ["Finding", "all_findings"]

_EXTRAS = {"typed": ("msgspec",), "cli": ("click", "rich_click"), "metrics": ("prometheus_client",)}
_MOST_CLIENTS = 50_000
_FEW_CLIENTS = 900
_RESOLUTION = 1e-3


class Finding(NamedTuple):
    """The answer to one question: how it stands, what was found, and what to do if that is not good."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def all_findings(host: str, port: int) -> Iterable[Finding]:
    """Ask everything, one after the other."""
    checks: list[Callable[[], Finding]] = [
        python,
        ours,
        lambda: library("pyzmq", (27,)),
        libzmq,
        lambda: library("msgpack", (1, 2, 1)),
        *(lambda extra=extra: extra_installed(extra) for extra in _EXTRAS),
        curve,
        file_limit,
        clock,
        lambda: port_free(host, port),
        round_trip,
    ]
    for check in checks:
        yield check()


def python() -> Finding:
    """Which Python runs?"""
    return Finding("python", "ok", f"{sys.implementation.name} {sys.version.split()[0]} at {sys.executable}")


def ours() -> Finding:
    """Which version of this package runs, and is it the installed one?"""
    found = f"{VERSION} from {os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}"
    try:
        installed = metadata.version("server-room-system")
    except metadata.PackageNotFoundError:
        return Finding("server-room-system", "ok", f"{found}, not installed: a checkout")
    if installed != VERSION:
        return Finding(
            "server-room-system", "warn", f"{found}, but {installed} is installed", "install it again: two are mixed"
        )
    return Finding("server-room-system", "ok", found)


def library(name: str, least: tuple[int, ...]) -> Finding:
    """Is a library that we need new enough?"""
    wanted = ".".join(map(str, least))
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "fail", "not installed", f"pip install '{name}>={wanted}'")
    if _numbers(found) < least:
        return Finding(name, "fail", found, f"pip install --upgrade '{name}>={wanted}'")
    return Finding(name, "ok", found)


def libzmq() -> Finding:
    """Is libzmq the version that all was tried with?"""
    if zmq.zmq_version_info() < (4, 3, 5):
        return Finding("libzmq", "warn", zmq.zmq_version(), "we know 4.3.5: use the one in pyzmq's wheel")
    return Finding("libzmq", "ok", zmq.zmq_version())


def extra_installed(extra: str) -> Finding:
    """Is what an extra brings there?"""
    missing = [name for name in _EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        advice = f"if you want it: pip install 'server-room-system[{extra}]'"
        return Finding(f"extra [{extra}]", "warn", f"no {', '.join(missing)}", advice)
    return Finding(f"extra [{extra}]", "ok", ", ".join(_EXTRAS[extra]))


def curve() -> Finding:
    """Can connections be encrypted?"""
    if not zmq.has("curve"):
        return Finding(
            "CURVE", "warn", "this libzmq can't encrypt", "use pyzmq's own wheel: pip install --force-reinstall pyzmq"
        )
    return Finding("CURVE", "ok", "available")


def file_limit() -> Finding:
    """For how many clients are there file descriptors?"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = connections_allowed(None, _MOST_CLIENTS)  # as a server does when it starts
    shown = "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard:,}"
    found = f"{shown}: enough for {max(0, enough):,} clients a process"
    if enough < _FEW_CLIENTS:
        status: Literal["warn", "fail"] = "warn" if enough > 0 else "fail"
        return Finding(
            "file descriptors", status, found, "raise the hard limit before you start the server: ulimit -Hn 65536"
        )
    return Finding("file descriptors", "ok", found)


def clock() -> Finding:
    """Does the monotonic clock run forward, finely, and as fast as it should?"""
    resolution = time.get_clock_info("monotonic").resolution
    last = time.monotonic()
    for _ in range(20_000):
        now = time.monotonic()
        if now < last:
            return Finding("clock", "fail", "the monotonic clock ran backwards", "mend the machine's clock source")
        last = now
    wall, monotonic = time.perf_counter(), time.monotonic()
    time.sleep(0.05)
    difference = abs((time.perf_counter() - wall) - (time.monotonic() - monotonic))
    if difference > 0.01:
        return Finding(
            "clock", "fail", f"two clocks differ by {difference:.3f} s after 0.05 s", "mend the clock source"
        )
    found = f"monotonic, in steps of {resolution * 1e9:,.0f} ns"
    if resolution > _RESOLUTION:
        return Finding("clock", "warn", found, "ticks and timeouts will be coarse here")
    return Finding("clock", "ok", found)


def port_free(host: str, port: int) -> Finding:
    """Could a server listen there?"""
    name = f"port {port}"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except socket.gaierror:
            return Finding(name, "fail", f"{host} is no address", "give one of this machine's, or 127.0.0.1")
        except OSError as error:
            return _not_free(name, host, port, error)
    return Finding(name, "ok", f"free on {host}")


def _not_free(name: str, host: str, port: int, error: OSError) -> Finding:
    if error.errno == errno.EACCES:
        return Finding(name, "fail", "this user may not listen there", "take a port from 1024 on")
    if error.errno == errno.EADDRNOTAVAIL:
        return Finding(name, "fail", f"{host} is no address of this machine", "give one that is, or 127.0.0.1")
    if error.errno != errno.EADDRINUSE:
        return Finding(name, "fail", f"{error.strerror or error}", "choose another port")
    try:
        asyncio.run(_reach(f"tcp://{host}:{port}"))
    except (ServerRoomError, zmq.ZMQError):
        return Finding(name, "fail", "in use by another program", "stop that one, or choose another port")
    return Finding(
        name, "warn", "in use: a Server Room System server answers there", "stop it to start another one there"
    )


async def _reach(address: str) -> None:
    async with connect(address, connect_timeout=1.0):
        pass


def round_trip() -> Finding:
    """Do a server and a client on this machine reach each other?"""
    name = "round trip"
    try:
        took = asyncio.run(asyncio.wait_for(_talk(), 10))
    except (ServerRoomError, OSError, TimeoutError, zmq.ZMQError) as error:
        return Finding(
            name, "fail", f"{error or 'no answer'}", "mend what else fails here; a firewall may be in the way"
        )
    return Finding(name, "ok", f"{took * 1e3:.2f} ms through a room on 127.0.0.1")


class _Echo(Room):
    def handle_response(self, protocol: str, data: object, sender: object, client_data: object) -> None:
        self.broadcast("echo", data)


async def _talk() -> float:
    async with Server(rooms={"echo": _Echo}).listen("127.0.0.1", 0) as host, connect(host.address) as client:
        room = await client.match(RuleSet(1, room="echo"), timeout=5)
        took: list[float] = []
        for number in range(20):
            start = time.perf_counter()
            await room.send("say", number)
            while (await room.receive(timeout=5)).data != number:
                pass
            took.append(time.perf_counter() - start)
    return sorted(took)[len(took) // 2]


def _numbers(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: next((at for at, char in enumerate(part) if not char.isdigit()), len(part))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
