"""A chat: the client, without asyncio. See ``server.py`` for how to run it.

``main`` runs in the main thread and may wait for the keyboard;
``handle_response`` is called on another thread when something comes.
"""

import argparse
import threading
from typing import Any

from server_room_system import Client, Protocol, RequestError, RuleSet

__all__ = ["ChatClient"]


class ChatClient(Client):
    """Asks for a room, takes a name, and sends what is typed."""

    def __init__(self, name: str, people: int) -> None:
        self.name = name
        self.people = people
        self.complete = threading.Event()

    def main(self) -> None:
        print(f"waiting for a room of {self.people}", flush=True)
        self.send(Protocol.Request.ROOM_RULSET, RuleSet(self.people, room="chat"))
        self.complete.wait()
        self.take_name(self.name)
        print("type away; /who, /name NEW and /quit are commands", flush=True)
        while True:
            line = input()
            command, _, rest = line.partition(" ")
            if command == "/quit":
                self.quit()
            elif command == "/who":
                print("here are", ", ".join(self.request("who")), flush=True)
            elif command == "/name":
                self.take_name(rest)
            elif line:
                self.send(Protocol.Request.MESSAGE, line)

    def take_name(self, name: str) -> None:
        """Ask the room for a name."""
        try:
            self.request("name", name)
        except RequestError as error:
            print(f"you keep your name: {error}", flush=True)

    def handle_response(self, protocol: str, data: Any) -> None:
        if protocol == Protocol.Response.COMMAND and data == "room ready!":
            self.complete.set()
        super().handle_response(protocol, data)  # shows messages


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.chat.client")
    parser.add_argument("name")
    parser.add_argument("--people", type=int, default=2, help="how many the room is for (default: 2)")
    parser.add_argument("--port", type=int, default=1234)
    arguments = parser.parse_args()
    ChatClient(arguments.name, arguments.people).run("127.0.0.1", arguments.port)
