"""A lobby: somebody at the keyboard. See ``server.py`` for how to run it.

``main`` runs in the main thread and waits for the keyboard. The list of tables
is followed on a thread of its own, and ``handle_response`` is called on a third
when something comes from the table that we sit at.
"""

import argparse
import sys
import threading
from collections.abc import Callable
from typing import Any

from server_room_system import Client, Protocol, RoomsWatched, RuleSet, ServerRoomError

from .board import Board
from .screen import Screen
from .wishes import description, fitting, where

__all__ = ["LobbyClient"]

TABLE = RuleSet(1, "table")
HELP = """\
/list [game=chess,go] [level=3-5] [title=Fri*]   which tables the list shows
/create TITLE [game=go] [level=4] [password=X]   make a table
/join NUMBER [PASSWORD]                          sit down at a table of the list
/quick [game=go] [level=1-3]                     sit down at any table that fits, or make one
/set [TITLE] [game=go] [level=4]                 say what your table is
/lock, /unlock, /password [X]                    who comes to your table
/who, /leave, /quit                              what is no command is said at the table"""


class LobbyClient(Client):
    """Shows the tables as they are, and does what is typed."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.board = Board()
        self.watched: RoomsWatched | None = None
        self.commands: dict[str, Callable[[list[str]], None]] = {
            "/help": lambda words: self.screen.say(HELP),
            "/list": self.look,
            "/create": self.make,
            "/join": self.sit_down,
            "/quick": self.play_soon,
            "/set": lambda words: self.told("it is now", self.request("describe", description(words))),
            "/lock": lambda words: self.request("lock", data=True),
            "/unlock": lambda words: self.request("lock", data=False),
            "/password": lambda words: self.request("password", " ".join(words)),
            "/who": lambda words: self.told("here are", self.request("who")),
            "/leave": lambda words: self.leave(),
            "/quit": lambda words: self.quit(),
        }

    def main(self) -> None:
        self.screen.open()
        self.look([])
        self.screen.say("* /help tells what you can do")
        while True:
            self.obey(input().strip())

    def obey(self, line: str) -> None:
        """Do what was typed, or say why not."""
        command, *words = line.split() or [""]
        try:
            if command in self.commands:
                self.commands[command](words)
            elif command.startswith("/"):
                self.screen.say(f"* there is no {command}: /help tells what there is")
            elif line:
                self.send(Protocol.Request.MESSAGE, line)
        except (ServerRoomError, ValueError) as error:
            if not self.running:
                raise
            self.screen.say(f"* that did not work: {error}")

    # The list.

    def look(self, words: list[str]) -> None:
        """Watch other tables from now on."""
        before, self.watched = self.watched, self.watch_rooms("table", where=where(words))
        threading.Thread(target=self.show_list, args=(self.watched,), daemon=True).start()
        if before is not None:
            before.close()

    def show_list(self, watched: RoomsWatched) -> None:
        """Show a list until it is closed, or the client ends."""
        try:
            for change in watched:
                rooms = watched.rooms
                self.screen.show(self.board.table(rooms, self.screen.rows))
                if self.screen.in_place:
                    continue
                if change.kind == "reset":
                    self.screen.say(f"= {len(rooms)} tables")
                    for room in rooms:
                        self.screen.say(self.board.line(" ", room))
                else:
                    signs = {"added": "+", "changed": "~", "removed": "-"}
                    self.screen.say(self.board.line(signs[change.kind], change.room))
        except ServerRoomError as error:
            if self.running:
                self.screen.say(f"* the list has ended: {error}")

    # Tables.

    def make(self, words: list[str]) -> None:
        """Make a table."""
        about = description(words)
        password = about.pop("password", None)
        self.create(TABLE, password=None if password is None else str(password), options=about)

    def sit_down(self, words: list[str]) -> None:
        """Sit down at a table of the list."""
        room = self.board.find(words[0].removeprefix("#")) if words else None
        if room is None:
            raise ValueError("say the number of a table in the list")
        self.join_by_id(room, password=" ".join(words[1:]) or None)

    def play_soon(self, words: list[str]) -> None:
        """Sit down at a table that fits, or at a new one that does."""
        wanted = where(words)
        self.join_or_create(TABLE, where=wanted, options=fitting(wanted))

    # What comes.

    def told(self, before: str, answer: dict[str, Any] | list[str]) -> None:
        """Show an answer of the table."""
        words = [f"{name} {value}" for name, value in answer.items()] if isinstance(answer, dict) else answer
        self.screen.say(f"* {before}: {', '.join(words)}")

    def handle_response(self, protocol: str, data: Any) -> None:
        if protocol == Protocol.Response.MESSAGE:
            self.screen.say(data)

    def room_closed(self, reason: ServerRoomError | None) -> None:
        if self.running:
            self.screen.say(f"* you sit at no table: {reason}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.lobby.client")
    parser.add_argument("name")
    parser.add_argument("--port", type=int, default=1234)
    arguments = parser.parse_args()
    screen = Screen(sys.stdout)
    try:
        LobbyClient(screen).run("127.0.0.1", arguments.port, credentials=arguments.name)
    finally:
        screen.close()
