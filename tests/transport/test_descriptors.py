"""How many connections a process can have: raised as far as may be, and told before it is reached."""

import resource

import pytest

from server_room_system import ConfigError
from server_room_system.transport.descriptors import connections_allowed, is_spare

UNLIMITED = resource.RLIM_INFINITY


class Process:
    """A process with limits of its own."""

    def __init__(self, soft: int, hard: int) -> None:
        self.limits = soft, hard

    def get(self, what: int) -> tuple[int, int]:
        assert what == resource.RLIMIT_NOFILE
        return self.limits

    def set(self, what: int, limits: tuple[int, int]) -> None:
        assert what == resource.RLIMIT_NOFILE
        assert limits[1] == self.limits[1], "the hard limit is not ours to change"
        assert self.limits[1] == UNLIMITED or limits[0] <= self.limits[1]
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "raised_to"),
    [
        (1024, 1_000_000, None, 50_000, 50_064),
        (1024, 4096, None, 4032, 4096),
        (1024, 1024, None, 960, 1024),
        (1024, UNLIMITED, None, 50_000, 50_064),
        (UNLIMITED, UNLIMITED, None, 50_000, UNLIMITED),
        (100_000, 100_000, None, 50_000, 100_000),
        (1024, 4096, 100, 100, 1024),
        (1024, 4096, 4032, 4032, 4096),
        (1024, UNLIMITED, 70_000, 70_000, 70_064),
        (UNLIMITED, UNLIMITED, 70_000, 70_000, UNLIMITED),
    ],
)
def test_as_many_as_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int | None, allowed: int, raised_to: int
) -> None:
    process = Process(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", process.get)
    monkeypatch.setattr(resource, "setrlimit", process.set)
    assert connections_allowed(wanted, 50_000) == allowed
    assert process.limits == (raised_to, hard)


def test_more_than_may_be_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(1024, 4096)
    monkeypatch.setattr(resource, "getrlimit", process.get)
    monkeypatch.setattr(resource, "setrlimit", process.set)
    with pytest.raises(ConfigError, match=r"4033 sessions need 4097 open files, and this process may have 4096"):
        connections_allowed(4033, 50_000)


def test_clients_who_take_two_descriptors_are_half_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(1024, 4096)
    monkeypatch.setattr(resource, "getrlimit", process.get)
    monkeypatch.setattr(resource, "setrlimit", process.set)
    assert connections_allowed(None, 50_000, 2) == 2016
    with pytest.raises(ConfigError, match=r"2017 sessions need 4098 open files"):
        connections_allowed(2017, 50_000, 2)


@pytest.mark.parametrize(
    ("soft", "fd", "spare"), [(1024, 991, False), (1024, 992, True), (1024, 1023, True), (UNLIMITED, 10**6, False)]
)
def test_the_last_descriptors_are_spare(monkeypatch: pytest.MonkeyPatch, soft: int, fd: int, spare: bool) -> None:
    monkeypatch.setattr(resource, "getrlimit", Process(soft, UNLIMITED).get)
    assert is_spare(fd) is spare
