"""Keys of Curve25519: made, and derived."""

import hashlib
import hmac

import zmq
from zmq.utils import z85

from .locks import KeyPair

__all__ = ["cluster_pair", "make_pair", "pair_of"]


def make_pair() -> KeyPair:
    """A new pair of keys, from the system's randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(z85.decode(public), z85.decode(secret))


def pair_of(secret: bytes) -> KeyPair:
    """The pair of a secret key: any 32 bytes are one."""
    return KeyPair(z85.decode(zmq.curve_public(z85.encode(secret))), secret)


def cluster_pair(cluster_key: bytes) -> KeyPair:
    """What broker, workers and administrators connect to each other with: who has the cluster key can make it.

    So that these three need no arrangement besides the cluster key.
    """
    return pair_of(hmac.new(cluster_key, b"server-room-system: curve", hashlib.sha256).digest())
