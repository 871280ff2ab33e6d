"""The files of the project that ``srs new`` writes. ``NAME`` stands for the project's name."""

__all__ = ["FILES", "NAME"]

NAME = "%NAME%"

_SERVER = '''\
"""The server: python server.py [PORT], or: srs serve server:server"""

import sys

from server_room_system import Protocol, Room, Server, on_message, on_request


class Counter(Room):
    """Everybody in the room may add to one total, and all see it grow."""

    reconnect_grace = 20.0  # seconds that a member who lost the connection keeps the seat

    def on_create(self, options):
        self.total = 0

    def on_join(self, client, options):
        client.user_data = str(options.get("name", f"client {client.id}"))[:20]

    @on_message("add")
    def add(self, client, data: int):  # anything but a whole number is refused before it gets here
        self.total += data
        self.broadcast("total", {"by": client.user_data, "total": self.total})

    @on_request("total")
    def ask(self, client, data):
        return self.total

    def handle_response(self, protocol, data, sender, client_data):
        if protocol == Protocol.Response.MESSAGE:  # what "srs chat" sends
            self.broadcast_message(f"<{sender.user_data}> {data}")

    def on_leave(self, client, reason):
        self.broadcast_message(f"{client.user_data} has left")


server = Server(rooms={"counter": Counter})

if __name__ == "__main__":
    server.run("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 1234)
'''

_CLIENT = '''\
"""A client: python client.py NAME [PORT]. Start two: they are put into one room."""

import asyncio
import sys

from server_room_system import RuleSet, ServerRoomError, connect


async def play(name, port):
    async with connect(f"tcp://127.0.0.1:{port}") as client:
        print(f"{name}: waiting for somebody else", flush=True)
        room = await client.match(RuleSet(2, room="counter"), options={"name": name}, timeout=60)
        await room.send("add", 1)
        async for message in room:
            if message.type == "total":
                print(f"{name}: {message.data['by']} made it {message.data['total']}", flush=True)
                if message.data["total"] >= 2:
                    break
        print(f"{name}: the room says {await room.request('total', timeout=5)}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python client.py NAME [PORT]")
    try:
        asyncio.run(play(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else 1234))
    except ServerRoomError as error:
        sys.exit(f"error: {error}")
'''

_TEST = '''\
"""The server and real clients, on a port that the system chooses: python -m pytest"""

import asyncio

import pytest

from server import Counter
from server_room_system import BadPayload, RuleSet, Server, connect


async def next_total(room):
    while (message := await room.receive(timeout=5)).type != "total":
        pass
    return message.data["total"]


async def two_members():
    server = Server(rooms={"counter": Counter})
    async with server.listen("127.0.0.1", 0) as host, connect(host.address) as ann, connect(host.address) as ben:
        wish = RuleSet(2, room="counter")
        anns, bens = await asyncio.gather(ann.match(wish, timeout=5), ben.match(wish, timeout=5))
        await anns.send("add", 3)
        assert await next_total(anns) == await next_total(bens) == 3
        assert await bens.request("total", timeout=5) == 3
        with pytest.raises(BadPayload):
            await bens.send("add", "three", ack=True)


def test_two_members_see_one_total():
    asyncio.run(two_members())
'''

_README = f"""\
# {NAME}

A server with one kind of room, and a client, on [Server Room System](https://pypi.org/project/server-room-system/).

```sh
pip install -r requirements.txt
python server.py              # in one terminal; type close to stop it
python client.py ann          # in two others
python client.py ben
python -m pytest              # the test
```

| file | what |
| --- | --- |
| `server.py` | the room `Counter` and the server: begin here |
| `client.py` | a client; two of them are put into one room |
| `test_server.py` | server and clients in one test, over real sockets |

`srs serve server:server` runs the server as well, `srs rooms` lists its rooms, and
`srs chat --room counter` is a client to type in. `srs --help` shows more.
"""

_REQUIREMENTS = """\
server-room-system[cli]
pytest
"""

FILES = {
    "server.py": _SERVER,
    "client.py": _CLIENT,
    "test_server.py": _TEST,
    "README.md": _README,
    "requirements.txt": _REQUIREMENTS,
}
"""Text by file name."""
