"""The logs of a busy cluster at DEBUG: each line an object with the right fields, and no secret in any."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from server_room_system import AsyncClient, MatchExpired, RuleSet
from server_room_system.cli.admin import AdminClient, BrokerPass
from server_room_system.protocol import Limits, Welcome, download_decoder, parse
from server_room_system.protocol.errors import BadMessage, UnknownKind, WrongKey
from server_room_system.transport import Key
from server_room_system.transport.network import Failure, Link, LinkSink, Sent, Subscription
from server_room_system.transport.zeromq import ZmqNetwork

from .cluster import Processes, free_ports, kill, workers_address
from .proxy import Proxy
from .system import gathered, hear, matched, on_a_loop

APP = """\
from server_room_system import Room, Server, on_message

class Hall(Room):
    max_clients = 8
    min_clients = 0
    reconnect_grace = 20.0

    @on_message("boom")
    def boom(self, client, data):
        raise ValueError("a hook that raises")

    @on_message("show")
    def show(self, client, data):
        print("printed by", client.id, flush=True)

    @on_message("say")
    def say(self, client, data):
        self.broadcast("said", data)

class Stage(Hall):
    fanout = "topic"

server = Server(rooms={"hall": Hall, "stage": Stage})
"""
_decode = download_decoder(Limits())


class Secrets:
    """What crosses the wire that nobody else may read: all binary values of 16 bytes or more, and session ids."""

    def __init__(self) -> None:
        self.found: set[bytes] = set()
        self.sessions: set[str] = set()

    def note(self, frame: bytes) -> None:
        """Take in one frame, of either direction."""
        try:
            value = _decode(frame)
        except BadMessage:
            return  # a token alone, or a bundle: noted as it is
        self.found.update(_secrets(value))
        try:
            message = parse(value)
        except (BadMessage, UnknownKind):
            return
        if isinstance(message, Welcome):
            self.sessions.add(message.session)

    def forms(self) -> Iterator[str]:
        """Every way in which a line could show them."""
        yield from self.sessions
        for secret in self.found:
            yield secret.hex()
            yield secret.hex().upper()
            yield repr(secret)[2:-1]
            yield json.dumps(repr(secret)[2:-1])[1:-1]
            yield base64.b64encode(secret).decode().rstrip("=")
            yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
            yield str(int.from_bytes(secret, "big"))


def _secrets(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes) and len(value) >= 16:
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets(inner)
    elif isinstance(value, dict):
        yield from _secrets(list(value.values()))


class OverheardSink:
    """Notes what comes, and hands it on."""

    def __init__(self, sink: LinkSink, secrets: Secrets) -> None:
        self._sink = sink
        self._secrets = secrets
        self.up, self.down = sink.up, sink.down

    def receive(self, frame: bytes) -> None:
        self._secrets.note(frame)
        self._sink.receive(frame)


class OverheardLink:
    """Notes what leaves, and hands it on."""

    def __init__(self, link: Link, secrets: Secrets) -> None:
        self._link = link
        self._secrets = secrets
        self.close = link.close

    @property
    def failure(self) -> Failure | None:
        return self._link.failure

    def send(self, frame: bytes) -> Sent:
        self._secrets.note(frame)
        return self._link.send(frame)


class OverheardSubscription:
    """Notes the tokens that are shown."""

    def __init__(self, subscription: Subscription, secrets: Secrets) -> None:
        self._subscription = subscription
        self._secrets = secrets
        self.close = subscription.close

    @property
    def failure(self) -> Failure | None:
        return self._subscription.failure

    def present(self, token: bytes) -> None:
        self._secrets.found.add(token)
        self._subscription.present(token)


class OverheardNetwork(ZmqNetwork):
    """Real sockets; all that clients say and hear is noted."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def connect(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Link:
        return OverheardLink(super().connect(address, OverheardSink(sink, self._secrets), largest, key), self._secrets)

    def subscribe(self, address: str, sink: LinkSink, largest: int, key: Key | None = None) -> Subscription:
        made = super().subscribe(address, OverheardSink(sink, self._secrets), largest, key)
        return OverheardSubscription(made, self._secrets)


async def members_told(admin: AdminClient, room: str) -> int:
    """How many members a room has, as far as its worker has told the broker: it says so a moment after they are in."""
    rooms = (await admin.command("rooms"))["rooms"]
    return sum(one["clients"] for one in rooms if one["room"] == room)


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_a_busy_cluster_logs_at_debug_has_its_fields_and_no_secrets(
    processes: Processes, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secrets = Secrets()
    (processes.folder / "app.py").write_text(APP)

    @on_a_loop
    async def run() -> None:
        port = free_ports(3)
        broker = processes.serve("--workers", 2, "--log-format", form, port=port, target="app.py:server", level="debug")
        address = await broker.listens()
        key = json.loads(next(processes.state.iterdir()).read_text())["key"]
        secrets.found.add(bytes.fromhex(key))
        network = OverheardNetwork(secrets)
        try:
            async with (
                Proxy(address) as proxy,
                AsyncClient(proxy.address, network=network) as a,
                AsyncClient(address, network=network) as b,
                AsyncClient(address, network=network) as c,
                AsyncClient(address, network=network) as d,
            ):
                hall = await matched(a, b, room="hall")
                stage = await gathered(c, d, room="stage")
                proxy.reset()
                await hall[0].send("boom", ack=False)
                await hall[0].send("show")
                await stage[1].send("say", "x", ack=True)
                assert await hear(stage[0], "said") == "x"
                async with AdminClient(address, BrokerPass(bytes.fromhex(key)), network=network) as admin:
                    await admin.command("inspect", room=hall[0].id)
                    while await members_told(admin, stage[0].id) < 2:
                        await asyncio.sleep(0.01)
                    await admin.command("kick", room=stage[0].id, client=d.id)
                    await admin.command("close", room=stage[0].id)
                with pytest.raises(WrongKey):
                    await AdminClient(address, BrokerPass(b"x" * 32), network=network).__aenter__()
                for pid in processes.launched().values():
                    kill(pid)
                await broker.says("it starts again in")
                await broker.says("printed by")
                with pytest.raises(MatchExpired):
                    await a.match(RuleSet(7, room="hall"), timeout=0.2)
                stranger = processes.worker(
                    workers_address(port),
                    "--name",
                    "stranger",
                    "--log-format",
                    form,
                    environment={"SRS_KEY": "ab" * 32},
                )
                assert await stranger.ends() == 5
        finally:
            network.close()
        broker.process.terminate()
        assert await broker.ends() == 0
        logs = broker.log + stranger.log
        _check_fields(logs, hall[0].id, form)
        assert len(secrets.sessions) == 4
        assert len(secrets.found) > 8
        for text in (logs, caplog.text):
            for shown in secrets.forms():
                assert shown not in text

    run()


def _check_fields(logs: str, room: str, form: str) -> None:
    lines = [
        line for line in logs.splitlines() if not re.match(r"listening on|stopping:|error: |worker stranger", line)
    ]
    assert len(lines) > 20
    if form == "text":
        assert f"room {room}: boom ('boom') raised ValueError" in logs
        assert re.search(r"^\[w[12]\] printed by \d+$", logs, re.MULTILINE)
        assert "[stranger] INFO    server_room_system.worker: worker stranger listens at" in logs
        return
    told = [json.loads(line) for line in lines]
    (raised,) = (one for one in told if "raised ValueError" in one["message"])
    assert (raised["room"], raised["level"]) == (room, "ERROR")
    assert raised["traceback"].endswith("ValueError: a hook that raises")
    assert raised["worker"] in ("w1", "w2")
    (printed,) = (one for one in told if one["message"].startswith("printed by"))
    assert (printed["logger"], printed["worker"]) == ("output", raised["worker"])
    for one in told:
        assert {"time", "level", "logger", "message"} <= set(one) <= {
            "time", "level", "logger", "message", "room", "client", "worker", "traceback",
        }  # fmt: skip
        named = re.match(r"worker '?([\w-]+)'?", one["message"])
        assert named is None or one["worker"] == named[1], one
