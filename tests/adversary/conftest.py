"""One server for all tests of a module: what one attack leaves behind, the next one meets."""

from collections.abc import Iterator

import pytest

from .target import Target, under_attack


@pytest.fixture(scope="module")
def the_server() -> Iterator[Target]:
    with under_attack() as target:
        yield target


@pytest.fixture
def target(the_server: Target) -> Target:
    """A server that lives, with honest clients in a room."""
    assert the_server.is_alive(), "an earlier test has killed the server"
    return the_server
