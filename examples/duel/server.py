"""Rock, paper, scissors for two: the server.

    python -m examples.duel.server                # in one terminal; type close to stop it
    python -m examples.duel.client                # in another: you play with the keyboard
    python -m examples.duel.client --bot          # in a third: somebody to play against

Unplug a player for a moment, or stop its process with Ctrl-Z and go on with
``fg``: the other one is told, and the duel goes on when it is back. Kill it: the
other one wins when the grace period is over. The rules are in ``room.py``.
"""

import argparse

from server_room_system import Server

from .room import Duel

__all__ = ["server"]

server = Server(rooms={"duel": Duel})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.duel.server")
    parser.add_argument("--port", type=int, default=1234, help="0 takes a free one (default: 1234)")
    parser.add_argument("--grace", type=float, default=Duel.reconnect_grace, help="seconds to return (default: 20)")
    arguments = parser.parse_args()
    Duel.reconnect_grace = arguments.grace
    server.run("127.0.0.1", arguments.port)
