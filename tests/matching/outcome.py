"""What one run came to, and what shows it again."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """What one run came to."""

    seed: int
    kind: str
    counts: "Counter[str]" = field(default_factory=Counter)
    mistake: str | None = None

    def command(self) -> str:
        """What shows it again."""
        return f"python -m tests.matching --seed {self.seed}"
