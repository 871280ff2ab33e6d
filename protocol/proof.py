"""Proofs that somebody holds the cluster key, without sending it."""

import hmac

__all__ = ["prove"]

_DOMAIN = b"server-room-system/1/"


def prove(key: bytes, role: str, *parts: bytes) -> bytes:
    """What only a holder of ``key`` can say of ``parts``. Compare with ``same_secret``.

    Both ends' nonces belong into the parts: an answer is worth nothing to whoever
    repeats it later.

    Args:
        key: the cluster key, 32 bytes.
        role: what the proof is for: ``worker``, ``broker``, ``endpoint``, ``admin``. One role's proof is worth
            nothing in another's place, so nobody gets in by reflecting the other side's answer.
        parts: what is proved, in order; each counts with its length, so that no two lists read the same.

    Returns:
        32 bytes: HMAC-SHA256 (RFC 2104).
    """
    told = b"".join([len(part).to_bytes(8, "big") + part for part in (_DOMAIN + role.encode(), *parts)])
    return hmac.digest(key, told, "sha256")
