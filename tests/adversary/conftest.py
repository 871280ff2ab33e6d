"""One server for all tests of a module: what one attack leaves behind, the next one meets."""

from collections.abc import Iterator

import pytest

from .cluster import cluster_under_attack, undisturbed
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


@pytest.fixture(scope="module")
def the_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with cluster_under_attack(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(the_cluster: Target) -> Iterator[Target]:
    """A cluster that lives and that nobody disturbs."""
    assert the_cluster.is_alive(), "an earlier test has killed the broker"
    with undisturbed(the_cluster):
        yield the_cluster
