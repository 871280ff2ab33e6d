"""The server that ``srs bench`` starts: ``srs serve`` in a process of its own, which ends when the bench does.

Run as a program, this is ``srs`` with one argument in front: a descriptor at
whose end the process ends itself. Standard input won't do, it is the server's console.
"""

import asyncio
import os
import re
import signal
import sys
import threading
from collections import deque
from pathlib import Path

from .bench_meter import tree
from .children import ChildFailed

__all__ = ["BenchServer", "main"]

_SOURCE = str(Path(__file__).absolute().parents[2])
_LISTENING = re.compile(r"listening on (tcp://[^\s;]+)")
_START = 20.0
_STOP = 8.0
_REMEMBERED = 20


class BenchServer:
    """A server that runs. ``start`` it, and ``stop`` it whatever happens."""

    def __init__(self, target: str, process: asyncio.subprocess.Process, leash: int) -> None:
        self.target = target
        self.process = process
        self._leash = leash
        self.address = ""
        self.said: deque[str] = deque(maxlen=_REMEMBERED)
        """The last lines that it printed or logged."""
        self._listening = asyncio.Event()
        assert process.stdout is not None
        self._reading = asyncio.ensure_future(self._read(process.stdout))

    @classmethod
    async def start(cls, target: str, workers: int | None) -> "BenchServer":
        """Start it and wait until it listens.

        Args:
            target: as ``srs serve`` takes it.
            workers: how many worker processes it is to have; None for its own way.

        Raises:
            ChildFailed: it ended, or did not listen in time.
        """
        held, leash = os.pipe()
        try:
            process = await cls._spawn(held, target, workers)
        except BaseException:
            os.close(leash)
            raise
        finally:
            os.close(held)
        server = cls(target, process, leash)
        try:
            await server._until_it_listens()
        except BaseException:
            await server.stop()
            raise
        return server

    @staticmethod
    async def _spawn(held: int, target: str, workers: int | None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            __name__,
            str(held),
            "serve",
            target,
            "--port",
            "0",
            *(("--workers", str(workers)) if workers is not None else ()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": _paths(), "PYTHONUNBUFFERED": "1"},
            pass_fds=(held,),
            start_new_session=True,  # Ctrl-C reaches us alone
        )

    async def stop(self) -> None:
        """End it: asked first, killed with all that it started if it takes longer than 8 s."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), _STOP)
            except TimeoutError:
                for pid in reversed(tree(self.process.pid)):
                    _kill(pid)
                await self.process.wait()
        await self._reading
        assert self.process.stdin is not None
        self.process.stdin.close()
        os.close(self._leash)

    async def _until_it_listens(self) -> None:
        listening = asyncio.ensure_future(self._listening.wait())
        await asyncio.wait((listening, self._reading), timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if not self.address:
            why = "ended" if self._reading.done() else f"did not listen within {_START:.0f} s"
            raise ChildFailed(f"the server {self.target} {why}: {self.said[-1] if self.said else 'it said nothing'}")

    async def _read(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while data := await output.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[-65536:]
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                if found := _LISTENING.search(text):
                    self.address = found[1]
                    self._listening.set()
                elif text:
                    self.said.append(text)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return  # it has ended by itself


def _paths() -> str:
    already = os.environ.get("PYTHONPATH")
    return f"{_SOURCE}{os.pathsep}{already}" if already else _SOURCE


def main() -> None:
    """Be the server: run what the arguments behind the first one say, until the descriptor in the first one ends."""
    from .app import run  # noqa: PLC0415  # which imports the bench, and so this module

    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), name="leash", daemon=True).start()
    sys.exit(run(sys.argv[2:]))


def _end_with(descriptor: int) -> None:
    os.read(descriptor, 1)  # nobody writes: this returns when the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
