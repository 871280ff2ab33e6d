"""Rock, paper, scissors for two: a player. See ``server.py`` for how to run it.

What comes is shown by ``handle_response`` at once, on a thread of its own;
``main`` takes one round after the other and may wait for the keyboard.
"""

import argparse
import queue
import random
from typing import Any

from server_room_system import Client, Protocol, RuleSet, ServerRoomError

__all__ = ["Player"]

HANDS = {"r": "rock", "p": "paper", "s": "scissors"}


class Player(Client):
    """Somebody at the keyboard."""

    def __init__(self) -> None:
        self.rounds: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def main(self) -> None:
        print("waiting for an opponent", flush=True)
        self.send(Protocol.Request.ROOM_RULSET, RuleSet(2, room="duel"))
        while (number := self.rounds.get()) is not None:
            self.send("throw", {"round": number, "hand": self.choose(number)})

    def choose(self, number: int) -> str:
        """Ask which hand to show."""
        while True:
            answer = input(f"round {number}: rock, paper or scissors? ").strip().lower()
            if answer[:1] in HANDS:
                return HANDS[answer[0]]

    def handle_response(self, protocol: str, data: Any) -> None:
        if protocol == "round":
            self.rounds.put(data)
        elif protocol == "result":
            print(f"you {data['mine']}, they {data['theirs']}: {data['outcome']}", flush=True)
        elif protocol == "over":
            print(f"you {'win' if data['won'] else 'lose'}: {data['why']}", flush=True)
            self.quit()
        elif protocol == "notice":
            print(f"* {data}", flush=True)

    def room_closed(self, reason: ServerRoomError | None) -> None:
        self.rounds.put(None)


class Bot(Player):
    """Somebody who needs no keyboard."""

    def choose(self, number: int) -> str:
        return random.choice(list(HANDS.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.duel.client")
    parser.add_argument("--bot", action="store_true", help="play by itself")
    parser.add_argument("--port", type=int, default=1234)
    arguments = parser.parse_args()
    (Bot if arguments.bot else Player)().run("127.0.0.1", arguments.port)
