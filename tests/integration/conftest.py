"""What the tests with processes of their own share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes of this test: none is left at its end."""
    with Processes(tmp_path) as made:
        yield made
