"""How tests read the documents of the protocol: sections, tables, byte examples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, str]

_DOCS = Path(__file__).parents[2] / "docs"
_EXAMPLE = re.compile(r"^### Example: ([^\n]*)\n\n```text\n(.*?)```\n\n```hex\n(.*?)```$", re.MULTILINE | re.DOTALL)


def bare(cell: str) -> str:
    return cell.strip("`")


def tables(text: str) -> Iterator[list[Row]]:
    """The tables of a piece of markdown: a dict for each row, with the heads as keys."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        heads, rule, *rows = lines
        assert all(set(cell) == {"-"} for cell in rule), block
        assert all(len(row) == len(heads) for row in rows), block
        yield [dict(zip(heads, row, strict=True)) for row in rows]


def read_value(written: str) -> Any:
    """Read the notation of the examples: JSON with h'…' for bin."""
    as_json = re.sub(r"h'([0-9a-f]*)'", r'{"$bin": "\1"}', written)
    return json.loads(as_json, object_hook=lambda found: bytes.fromhex(found["$bin"]) if "$bin" in found else found)


class Document:
    """One document below docs/."""

    def __init__(self, name: str) -> None:
        self.text = (_DOCS / name).read_text(encoding="utf-8")
        self.examples: dict[str, tuple[Any, bytes]] = {
            title: (read_value(value), bytes.fromhex(frame)) for title, value, frame in _EXAMPLE.findall(self.text)
        }
        """What each example shows, and its bytes, by title."""

    def section(self, title: str) -> str:
        """What stands under a heading, up to the next one of the same or a higher level."""
        found = re.search(rf"^(#+) {re.escape(title)}$", self.text, re.MULTILINE)
        assert found, f"the document has no section {title!r}"
        rest = self.text[found.end() :]
        end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
        return rest[: end.start()] if end else rest

    def table(self, title: str, *heads: str) -> list[Row]:
        """The one table of a section whose columns begin with these heads."""
        (found,) = (rows for rows in tables(self.section(title)) if tuple(rows[0])[: len(heads)] == heads)
        return found

    @property
    def prose(self) -> str:
        """The text without tables and examples."""
        return re.sub(r"```.*?```|^\|[^\n]*$", "", self.text, flags=re.DOTALL | re.MULTILINE)
