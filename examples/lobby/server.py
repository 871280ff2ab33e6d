"""A lobby: tables that come, change and go, and a list of them that is always true. The server.

    python -m examples.lobby.server              # in one terminal; type close to stop it
    python -m examples.lobby.client ann          # in others: the list, and a keyboard to do things with
    python -m examples.lobby.visitors            # a crowd that needs none: the list has much to show

What a table is, and what its owner may do, is in ``room.py``.
"""

import argparse
from typing import Any

from server_room_system import AuthRefused, Peer, Server

from .room import LobbyTable, is_line

__all__ = ["server"]


class LobbyServer(Server):
    """Visitors show their names. A real server would check a token here."""

    def on_auth(self, credentials: Any, peer: Peer) -> str:
        if not is_line(credentials, 20):
            raise AuthRefused("show a name of 1 to 20 letters")
        return str(credentials)


server = LobbyServer(rooms={"table": LobbyTable})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.lobby.server")
    parser.add_argument("--port", type=int, default=1234, help="0 takes a free one (default: 1234)")
    server.run("127.0.0.1", parser.parse_args().port)
