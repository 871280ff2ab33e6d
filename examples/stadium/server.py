"""Stadiums on worker processes: the server.

    srs serve examples/stadium/server.py --workers 2     # in one terminal; type close to stop it
    python -m examples.stadium.match                     # in another: a reporter and 40 spectators

``srs top`` in a third terminal shows who works how much. Kill a worker (its pid
is there too) and see the match move. On one process alone it runs as well:
``python -m examples.stadium.server``.
"""

import argparse

from server_room_system import Server

from .room import Stadium

__all__ = ["server"]

server = Server(rooms={"stadium": Stadium})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.stadium.server")
    parser.add_argument("--port", type=int, default=1234, help="0 takes a free one (default: 1234)")
    parser.add_argument("--workers", type=int, help="worker processes; without it, one process does all")
    options = parser.parse_args()
    server.workers = options.workers
    server.run("127.0.0.1", options.port)
