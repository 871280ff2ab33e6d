"""One broker after another on the same port: what one before us has left, and what we leave to the next."""

import logging
from collections.abc import Callable

from ..protocol.errors import ConfigError
from ..protocol.ids import Entropy
from ..transport.keys import LocalState
from .hosting import HostOptions

__all__ = ["Succession"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".server")

_SETTLE = 2.0
"""Seconds that workers of a broker before us have to come by themselves, before others are started."""
_NUMBERS_KEPT = 10_000
"""Client numbers that are set aside for us at once: a broker after us begins above them."""
_LIVES_A_SECOND = 1024
"""A life of a broker is named by the time at which it began, that finely: a next one may begin at once."""
_GENERATIONS_A_SECOND = 1 << 20
"""Registrations that a broker can count in a second, and stay below those of one that begins then."""


class Succession:
    """A broker's place among those before and after it.

    Args:
        key: the cluster key.
        state: where the rest is kept; None: nowhere, the broker is one of a kind.
        wall: seconds since 1970.
    """

    def __init__(self, key: bytes, state: LocalState | None, wall: Callable[[], float]) -> None:
        self.key = key
        """The cluster key: that of the broker before us, or the one that we were given, or a new one."""
        self._state = state
        self._wall = wall

    @classmethod
    def open(cls, options: HostOptions, port: int, entropy: Entropy, wall: Callable[[], float]) -> "Succession":
        """Take over what was left, or begin.

        Args:
            options: where it is kept, and a key if there is one.
            port: for clients, which we have bound: who has the port has its file.
            entropy: where a new key comes from.
            wall: seconds since 1970.

        Raises:
            ConfigError: the state can't be kept, and workers would have no other way to the key.
        """
        if options.state is not None:
            return cls(options.state.key, options.state, wall)
        if options.keep_state:
            try:
                state = LocalState.open(port, options.key, options.keys.public if options.keys is not None else None)
            except ConfigError as error:
                if options.launch is not None and options.key is None:
                    raise
                logger.warning("%s Commands like 'srs top' need --key-file here.", error)
            else:
                return cls(state.key, state, wall)
        return cls(options.key or entropy(32), None, wall)

    @property
    def life(self) -> int:
        """What names our life: never that of a broker before us."""
        return int(self._wall() * _LIVES_A_SECOND) & 0xFFFFFFFF

    @property
    def first_client(self) -> int:
        """The first number for clients that none of an earlier broker has."""
        return self._state.next_client if self._state is not None else 1

    @property
    def settle(self) -> float:
        """Seconds that workers of a broker before us may take to come by themselves."""
        return _SETTLE if self._state is not None and self._state.left_over else 0.0

    @property
    def file(self) -> str | None:
        """Where others of this user find the key; None: nowhere."""
        return str(self._state.path) if self._state is not None else None

    def begin_generations(self) -> int:
        """The number above which workers' generations begin."""
        # Above what any broker before us gave, also if it began just now, or the clock was set back meanwhile.
        before = self._state.generation if self._state is not None else 0
        generation = max(int(self._wall() * _GENERATIONS_A_SECOND), before + _GENERATIONS_A_SECOND)
        if self._state is not None:
            self._state.save(self._state.next_client, generation)
        return generation

    def keep_numbers(self, next_client: int) -> None:
        """Members of workers keep their numbers when we die: who comes after us must not give them again.

        Args:
            next_client: the next number that we give.
        """
        state = self._state
        if state is not None and next_client > state.next_client - _NUMBERS_KEPT // 2:
            try:
                state.save(next_client + _NUMBERS_KEPT, state.generation)
            except OSError as error:
                logger.error("the numbers of clients can't be kept in %s: %s", state.path, error.strerror)

    def close(self) -> None:
        """A clean end: there is nothing to take over."""
        if self._state is not None:
            self._state.remove()
