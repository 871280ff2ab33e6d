"""Resume tokens that a broker which has lost its memory can still read.

A token names the life of the broker that made it, the session's client number
and how often it was replaced, and carries a proof (HMAC-SHA256, RFC 2104, cut to 160 bits) that we made it for
this session and this client: whoever was proved by a key of his own, or a password, at the handshake has to be
the same again. A broker that was started anew with the same key takes the session
back from the token alone; its rooms are told by the workers.
"""

import struct
from typing import NamedTuple

from ..protocol.ids import same_secret
from ..protocol.proof import prove

__all__ = ["TokenContent", "TokenMint"]

_BODY = struct.Struct(">QII")
_PROOF_SIZE = 20


class TokenContent(NamedTuple):
    """What a token says."""

    life: int
    """Of which life of the broker it is."""
    client_id: int
    serial: int
    """How many tokens the session had before."""


class TokenMint:
    """Makes tokens, and reads its own.

    Args:
        key: the cluster key, or any other secret of 32 bytes: tokens are good as long as it stays.
        life: names this life of the broker, so that a session that has ended in it is not taken back: the time
            of its beginning, say, as finely as brokers can follow each other. Below 2^32.
    """

    def __init__(self, key: bytes, life: int) -> None:
        self.life = life
        self._key = key

    def make(self, session: str, client_id: int, serial: int, bearer: bytes = b"") -> bytes:
        """A token of 36 bytes, for who was proved to be ``bearer`` at the handshake; empty where nobody was."""
        body = _BODY.pack(client_id, serial, self.life)
        return body + self._proof(session, body, bearer)

    def read(self, session: str, token: bytes, bearer: bytes = b"") -> TokenContent | None:
        """What a token says; None if it was not made with our key for this session and bearer."""
        body, proof = token[: _BODY.size], token[_BODY.size :]
        if len(body) != _BODY.size or not same_secret(proof, self._proof(session, body, bearer)):
            return None
        client_id, serial, life = _BODY.unpack(body)
        return TokenContent(life, client_id, serial)

    def _proof(self, session: str, body: bytes, bearer: bytes) -> bytes:
        return prove(self._key, "resume", session.encode(), body, bearer)[:_PROOF_SIZE]
