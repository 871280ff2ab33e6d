"""What a broker takes over of one before it, and what it leaves to the next."""

from pathlib import Path

import pytest

from server_room_system import ConfigError
from server_room_system.broker.hosting import HostOptions, Launch
from server_room_system.broker.launcher import Launcher
from server_room_system.broker.succession import Succession
from server_room_system.transport.keys import LocalState

NOON = 1_800_000_000.0


class Shelf(LocalState):
    """What is kept, in memory."""

    def __init__(self, *, left_over: bool = False, generation: int = 0) -> None:
        super().__init__(Path("kept"), b"k" * 32, 1, generation, left_over, None)
        self.saved: list[tuple[int, int]] = []
        self.removed = False
        self.full = False

    def save(self, next_client: int, generation: int) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.saved.append((next_client, generation))
        self.next_client, self.generation = next_client, generation

    def remove(self) -> None:
        self.removed = True


def after(shelf: Shelf, wall: float = NOON) -> Succession:
    return Succession(shelf.key, shelf, lambda: wall)


def entropy(size: int) -> bytes:
    return b"e" * size


@pytest.mark.parametrize("passed", [-86400.0, 0.0, 0.002, 3600.0])
def test_generations_begin_above_those_of_every_broker_before(passed: float) -> None:
    shelf = Shelf()
    first = after(shelf).begin_generations()
    assert after(shelf, NOON + passed).begin_generations() >= first + (1 << 20)
    assert shelf.generation > first


def test_two_lives_have_different_names_also_within_a_second() -> None:
    assert after(Shelf()).life != after(Shelf(), NOON + 0.002).life


def test_numbers_of_clients_are_set_aside_before_they_are_given() -> None:
    shelf = Shelf()
    succession = after(shelf)
    for number in range(1, 12_001):
        succession.keep_numbers(number)
        assert after(shelf).first_client > number
    assert len(shelf.saved) <= 4, "not with every client"


def test_a_full_disk_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.full = True
    after(shelf).keep_numbers(50_000)
    assert "No space left" in caplog.text


def test_workers_are_waited_for_only_where_a_broker_ended_without_a_word() -> None:
    assert after(Shelf(left_over=True)).settle == 2.0
    assert after(Shelf()).settle == 0.0


def test_a_clean_end_leaves_nothing() -> None:
    shelf = Shelf()
    after(shelf).close()
    assert shelf.removed


def test_a_broker_that_keeps_nothing_is_one_of_a_kind() -> None:
    alone = Succession.open(HostOptions(), 1, entropy, lambda: NOON)
    assert (alone.key, alone.first_client, alone.settle, alone.file) == (b"e" * 32, 1, 0.0, None)
    alone.keep_numbers(50_000)
    alone.close()
    assert alone.begin_generations() == int(NOON * (1 << 20))


def test_a_key_that_is_given_counts() -> None:
    assert Succession.open(HostOptions(key=b"g" * 32), 1, entropy, lambda: NOON).key == b"g" * 32


def test_where_nothing_can_be_kept_workers_that_are_launched_have_no_way_to_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: object) -> LocalState:
        raise ConfigError("the broker can't keep its state.")

    monkeypatch.setattr(LocalState, "open", refuse)

    def make(command: object, ended: object) -> Launcher:
        raise AssertionError("nothing is launched here")

    with pytest.raises(ConfigError):
        Succession.open(HostOptions(keep_state=True, launch=Launch(1, "app:server", make)), 1, entropy, lambda: NOON)
    assert Succession.open(HostOptions(keep_state=True), 1, entropy, lambda: NOON).key == b"e" * 32
    assert "--key-file" in caplog.text
