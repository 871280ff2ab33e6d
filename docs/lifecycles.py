"""Draws the life cycles of ``docs/design.md`` from their tables.

``python docs/lifecycles.py`` writes them into the document; a test compares.
"""

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from server_room_system.broker.matchmaking import TICKET
from server_room_system.broker.proposals import PROPOSAL
from server_room_system.broker.queues.tickets import TICKET as QUEUE_TICKET
from server_room_system.broker.sessions import SESSION
from server_room_system.broker.supervision import SLOT_LIFE
from server_room_system.broker.workers import WORKER
from server_room_system.client.life import CLIENT
from server_room_system.client.membership import MEMBERSHIP
from server_room_system.rooms.life import ROOM
from server_room_system.rooms.registration import REGISTRATION
from server_room_system.rooms.seats import SEAT

DOCUMENT = Path(__file__).with_name("design.md")
TABLES: dict[str, Mapping[Any, Mapping[Any, Enum]]] = {
    "session": SESSION,
    "ticket": TICKET,
    "queue ticket": QUEUE_TICKET,
    "proposal": PROPOSAL,
    "seat": SEAT,
    "room": ROOM,
    "client": CLIENT,
    "membership": MEMBERSHIP,
    "registration": REGISTRATION,
    "worker": WORKER,
    "slot": SLOT_LIFE,
}


def diagram(table: Mapping[Any, Mapping[Any, Enum]]) -> str:
    """A Mermaid state diagram: the first state of a table is where life begins."""
    names = {state: state.value.replace(" ", "_") for state in table}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{state.value}" as {name}' for state, name in names.items() if name != state.value]
    lines.append(f"    [*] --> {next(iter(names.values()))}")
    for state, events in table.items():
        lines += [f"    {names[state]} --> {names[after]}: {event.value}" for event, after in events.items()]
        if not events:
            lines.append(f"    {names[state]} --> [*]")
    return "\n".join(lines)


def drawn(text: str) -> str:
    """The document with every diagram as its table has it."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        block = f"{begin}```mermaid\n{diagram(table)}\n```\n{end}"
        text, count = re.subn(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{DOCUMENT.name} has {count} places for the {name} diagram, not 1")
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
