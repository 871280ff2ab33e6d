"""What a client opens its servers' ports with: keys, or a name and a password, or nothing."""

from pathlib import Path

from ..protocol.errors import ConfigError
from ..transport.curve import make_pair
from ..transport.key_files import read_key_pair
from ..transport.locks import CurveKey, Key, KeyPair, PlainKey, key_from_text, split_endpoint

__all__ = ["Access"]


class Access:
    """Keys for the broker, and for the workers that it sends us to.

    Args:
        server_key: the public key of the broker's port, 40 characters; None: it does not encrypt.
        key_file: our own pair of keys, of ``srs keys make``; None: one for this client alone, if one is needed.
        user: our name, where the server asks for one.
        password: and the password that goes with it.

    Raises:
        ConfigError: these make no sense together, or are no keys.
    """

    def __init__(
        self,
        server_key: str | None = None,
        key_file: str | Path | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        if (user is None) != (password is None):
            raise ConfigError("user and password go together")
        if server_key is not None and user is not None:
            raise ConfigError("a server has either keys or passwords: with its key, passwords are credentials.")
        if server_key is None and key_file is not None:
            raise ConfigError("give the server_key beside the key_file: 'srs keys show server.pub' prints it.")
        self._server = key_from_text(server_key) if server_key is not None else None
        self._plain = PlainKey(user, password) if user is not None and password is not None else None
        self._keys: KeyPair | None = read_key_pair(Path(key_file)) if key_file is not None else None

    def to_broker(self) -> Key | None:
        """What opens the broker's port; None: it needs nothing."""
        return self._plain if self._server is None else CurveKey(self._server, self._own())

    def to_worker(self, endpoint: str) -> tuple[str, Key | None]:
        """The address in an endpoint that the broker gave us, and what opens it.

        Raises:
            ConfigError: what stands behind ``#`` is no key.
        """
        address, key = split_endpoint(endpoint)
        return address, CurveKey(key, self._own()) if key is not None else None

    def _own(self) -> KeyPair:
        # One for all connections: a seat is bound to the key that its session was opened with.
        if self._keys is None:
            self._keys = make_pair()
        return self._keys
