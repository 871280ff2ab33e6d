"""What the tests with processes of their own share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server_room_system.rooms import room

from .cluster import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes of this test: none is left at its end."""
    with Processes(tmp_path) as made:
        yield made


@pytest.fixture(params=["unicast", "topic"])
def each_fanout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Rooms that choose for themselves are unicast, then topics: whoever is in one must not notice which."""
    if request.param == "topic":
        monkeypatch.setattr(room, "_MOST_UNICAST", 0)
    chosen: str = request.param
    return chosen
