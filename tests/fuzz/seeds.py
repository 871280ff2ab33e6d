"""Writes the corpus that fuzzers begin with: ``python -m tests.fuzz.seeds``.

From the byte examples of the documents, and from conversations between clients,
servers and workers that are recorded in memory. But for times and loads, what is written is always the same.
"""

import logging
from collections.abc import Callable, Iterable
from random import Random
from typing import Any
from unittest.mock import patch

from server_room_system import AsyncClient, RuleSet, TimedOut
from server_room_system.broker.tokens import TokenMint
from server_room_system.protocol import pack
from server_room_system.rooms.worker_host import WorkerHost, WorkerOptions
from server_room_system.testing import run, system
from server_room_system.transport import Network

from ..protocol.conversations import CLIENTS, CLUSTER
from .parties import a_server
from .targets import CORPUS, TARGETS

__all__ = ["main"]

_MOST_RECORDED = 16
"""Frames of one side that are kept."""

Write = Callable[[str, str, bytes], None]


def main() -> None:
    """Write all of it."""
    logging.getLogger("server_room_system").addHandler(logging.NullHandler())

    def write(target: str, name: str, data: bytes) -> None:
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data[: TARGETS[target].largest])

    _from_documents(write)
    _from_conversations(write)
    _by_hand(write)


def _name(title: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in title.lower())[:60]


def _from_documents(write: Write) -> None:
    for talk, target in ((CLIENTS, "messages"), (CLUSTER, "cluster")):
        for title, (value, frame) in talk.document.examples.items():
            write(target, _name(title), b"\1" + frame)
            write("codec", _name(title), frame)
            for item in value[2] if target == "cluster" and len(value) == 3 and type(value[2]) is list else []:
                write("orders", _name(title), b"\1" + pack(item))
                write("reports", _name(title), b"\1" + pack(item))


class _Tap:
    """A network that notes all frames that its owner sends and gets, in order."""

    def __init__(self, network: Network) -> None:
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def connect(self, address: str, sink: Any, *more: Any, **named: Any) -> Any:
        ear: Any = _Ear(self, sink)
        return _Mouth(self, self._network.connect(address, ear, *more, **named))

    def subscribe(self, address: str, sink: Any, *more: Any, **named: Any) -> Any:
        ear: Any = _Ear(self, sink)
        return self._network.subscribe(address, ear, *more, **named)


class _Ear:
    def __init__(self, tap: _Tap, sink: Any) -> None:
        self._tap = tap
        self._sink = sink

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def receive(self, frame: bytes) -> None:
        self._tap.got.append(frame)
        self._sink.receive(frame)


class _Mouth:
    def __init__(self, tap: _Tap, link: Any) -> None:
        self._tap = tap
        self._link = link

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def send(self, frame: bytes) -> Any:
        self._tap.sent.append(frame)
        return self._link.send(frame)


async def _record() -> tuple[_Tap, _Tap]:
    """A client, and a worker, that do a bit of everything."""
    async with system(a_server(), workers=0) as world:
        of_worker: Any = _Tap(world.network)
        of_client: Any = _Tap(world.network)
        options = WorkerOptions(str(world.host.worker_address), "w1")
        random = Random(1)
        async with WorkerHost(a_server(), options, world.key, of_worker, random.randbytes, random.random) as worker:
            await worker.has_registered()
            client = AsyncClient(world.host.address, network=of_client, jitter=random.random)
            async with client:
                await client.send("message", "hello", ack=True)
                for name in ("plain", "topic"):
                    room = await client.create(RuleSet(2, room=name, mode="ranked"))
                    await room.send("say", {"x": 1}, ack=True)
                    await room.send("tell", [1, 2.5, None, b"x"], ack=True)
                    await room.request("ask", "why")
                    world.network.cut_one()
                    await room.send("say", "again", ack=True)
                    while True:
                        try:
                            await room.receive(0.5)
                        except TimedOut:
                            break
                    await client.rooms()
                    await room.leave()
                await client.match(RuleSet(1, room="plain"), timeout=5.0)
    return of_client, of_worker


def _script(frames: Iterable[bytes], before: bytes, after: bytes = b"") -> bytes:
    return b"".join(before + b"\xff" + len(frame).to_bytes(2, "big") + frame + after for frame in frames)


def _from_conversations(write: Write) -> None:
    with patch("os.getpid", lambda: 1), patch("socket.gethostname", lambda: "host"):
        client, worker = run(_record)
    talks = (("client-says", client.sent), ("client-hears", client.got), ("worker-says", worker.sent),
             ("worker-hears", worker.got))  # fmt: skip
    for name, frames in talks:
        for number, frame in enumerate(dict.fromkeys(frames)):
            if number < _MOST_RECORDED:
                write("cluster" if name.startswith("worker") else "messages", f"{name}-{number:02}", b"\1" + frame)
    # As scripts: of whom, what follows is a frame, and how long to wait; see the scenes.
    write("server", "recorded", _script(client.sent, b"\0\x80", b"\2"))
    write("workers_address", "recorded", _script(worker.sent, b"\x80", b"\2"))
    write("workers_address", "recorded-stranger", _script(worker.sent, b"\xf0", b"\2"))
    write("client", "recorded", _script(client.got, b"\xe6"))
    write("worker", "recorded", _script(worker.got, b"\xe6"))
    write("admin", "recorded", b"\1" + _script(worker.got, b"\xe6"))


def _by_hand(write: Write) -> None:
    for decisions in range(8):
        random = Random(decisions)
        for target in ("server", "client", "worker", "workers_address", "admin"):
            write(target, f"made-up-{decisions}", random.randbytes(300))
        for target in (
            "payloads",
            "orders",
            "reports",
            "rulesets",
            "announcements",
            "streams",
            "errors",
            "subscribers",
        ):
            write(target, f"made-up-{decisions}", b"\0" + random.randbytes(200))
    minted = TokenMint(bytes(range(32)), 7).make("5" * 32, 3, 1)
    write("tokens", "whole", b"\0\3\1\0\1")
    write("tokens", "cut", b"\0\3\1\0\0" + minted[:35])
    key = "00112233445566778899aabbccddeeff" * 2
    write("files", "key", f"{key}\n".encode())
    write("files", "state", f'{{"key": "{key}", "next_client": 12, "generation": 7}}\n'.encode())
    word = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    write("files", "authorised", f"# mine\n{word} alice\n".encode())
    write("files", "pair", f"# The key of a\npublic {word}\nsecret {word}\n".encode())
    write("files", "passwords", f"ada:$scrypt$ln=15,r=8,p=3${'A' * 22}${'B' * 43}\n".encode())
    write("endpoints", "key", word.encode())
    write("endpoints", "whole", f"tcp://127.0.0.1:1234#{word}".encode())
    write(
        "web_tokens", "keys", b'\0{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "' + b"A" * 43 + b'", "kid": "k"}]}'
    )
    write("web_tokens", "claims", b"\1\0\3\4\0\7\1")
    write("web_tokens", "token", b"\2" + b"eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTl9." + b"A" * 43)
    write("lines", "json", b'{"worker": "w1", "message": "x"}')
    write("lines", "stamp", b"srs.1.2.3")
    write("subscribers", "token", bytes([0, 17, 1, *range(16)]))
    write(
        "announcements", "limits", b"\4" + b"".join(bytes([number, 40, 2, 9]) for number in range(4)) + b"127.0.0.1:1"
    )


if __name__ == "__main__":
    main()
