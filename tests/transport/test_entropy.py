"""Random bytes, fetched many at a time and given once."""

import os

import pytest

from server_room_system.transport import EntropyPool


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the system is asked, and for how many bytes; each of its bytes is told apart."""
    asked: list[int] = []

    def urandom(count: int) -> bytes:
        asked.append(count)
        start = sum(asked[:-1]) // 2
        return b"".join(number.to_bytes(2, "big") for number in range(start, start + count // 2))

    monkeypatch.setattr(os, "urandom", urandom)
    return asked


def test_no_byte_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch)
    pool = EntropyPool()
    secrets = [pool(16) for _ in range(2000)]
    assert all(len(secret) == 16 for secret in secrets)
    pairs = [secret[at : at + 2] for secret in secrets for at in range(0, 16, 2)]
    assert len(set(pairs)) == len(pairs)


def test_the_system_is_asked_once_for_a_hundred_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    pool = EntropyPool()
    for _ in range(256):
        pool(16)
    assert len(asked) == 1
    pool(1)
    assert len(asked) == 2


def test_a_secret_is_never_cut_short_at_the_end_of_a_fetch() -> None:
    pool = EntropyPool()
    assert [len(pool(size)) for size in (4095, 16, 4096, 0, 7, 4090)] == [4095, 16, 4096, 0, 7, 4090]


def test_two_pools_do_not_agree() -> None:
    one, other = EntropyPool(), EntropyPool()
    assert not {one(16) for _ in range(100)} & {other(16) for _ in range(100)}
