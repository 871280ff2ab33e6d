"""A chat: the server.

    python -m examples.chat.server            # in one terminal; type close to stop it
    python -m examples.chat.client ann        # in two others
    python -m examples.chat.client ben

Clients who ask for a chat of two are put together in a room of two, those who
ask for three in a room of three (``--people 3``), and so on. The rules of a
room are in ``room.py``. ``--port`` goes with both programs.
"""

import argparse

from server_room_system import Server

from .room import ChatRoom

__all__ = ["server"]

server = Server(rooms={"chat": ChatRoom})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.chat.server")
    parser.add_argument("--port", type=int, default=1234, help="0 takes a free one (default: 1234)")
    server.run("127.0.0.1", parser.parse_args().port)
