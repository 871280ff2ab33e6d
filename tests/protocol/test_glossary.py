"""docs/glossary.md names things that exist, each once."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \|([^|]*)\|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
)
WORDS = [(word.strip(), names) for word, _, names in ROWS if word.strip() not in ("word", "---")]


def test_every_name_is_in_the_code() -> None:
    parts = ("broker", "client", "protocol", "rooms", "transport")
    code = "\n".join(file.read_text(encoding="utf-8") for part in parts for file in (ROOT / part).glob("*.py"))
    named = set(re.findall(r"\w+", code))
    assert len(WORDS) > 60
    for word, names in WORDS:
        assert set(re.findall(r"`(\w+)`", names)) <= named, word


def test_every_word_is_explained_once() -> None:
    words = [part for word, _ in WORDS for part in word.split(", ")]
    assert len(set(words)) == len(words)
