"""A swarm: the server.

    python -m examples.swarm.server                         # in one terminal; type close to stop it
    python -m examples.swarm.bots --bots 30 --seconds 10    # in another

All bots meet in one room that ticks twenty times a second (``room.py``). Each
steers towards the middle of the others, and away from who is too near; you see
them gather.
"""

import argparse

from server_room_system import Server

from .room import Swarm

__all__ = ["server"]

server = Server(rooms={"swarm": Swarm})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.swarm.server")
    parser.add_argument("--port", type=int, default=1234, help="0 takes a free one (default: 1234)")
    server.run("127.0.0.1", parser.parse_args().port)
