"""Whether a port may be opened as it is: one that other machines reach has to ask who comes.

Nobody opens a server to the world by mistake. On the loopback anything goes; on
any other address, something must keep strangers out, or the owner say that
others see to it (a firewall, a tunnel, a trusted network).
"""

import ipaddress

from ..protocol.errors import ConfigError

__all__ = ["check_clients_port", "check_worker", "check_workers_port", "is_public"]


def is_public(host: str) -> bool:
    """Whether others than this machine can reach what listens there. Names count as public, but for localhost."""
    try:
        return not ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host != "localhost"


def check_clients_port(host: str, *, asks: bool, keys: bool, authorised: bool, plain: bool, insecure: bool) -> None:
    """Whether clients may be listened for at this address.

    Args:
        host: the address.
        asks: whether the server has an ``on_auth``.
        keys: whether the port encrypts.
        authorised: whether only certain keys get in.
        plain: whether it asks for names and passwords, which are sent as they are.
        insecure: whether the owner says that it is all right.

    Raises:
        ConfigError: it is public, and nothing keeps strangers out or passwords from being read; or what was given
            makes no sense together.
    """
    if authorised and not keys:
        raise ConfigError(
            "authorised keys are for servers that have one themselves: give --keys FILE as well, see srs keys."
        )
    if plain and keys:
        raise ConfigError(
            "a port has either keys or passwords: with --keys, let on_auth check them: on_auth = PasswordFile(FILE)."
        )
    if insecure or not is_public(host):
        return
    if plain:
        raise ConfigError(
            f"{host} can be reached from other machines, and PLAIN sends passwords there for everybody to read.\n"
            "Give --keys FILE and on_auth = PasswordFile(FILE) instead, or say --insecure (insecure=True)."
        )
    if not asks and not (keys and authorised):
        raise ConfigError(
            f"{host} can be reached from other machines, and nobody asks who comes from there.\n"
            "Write an on_auth, or give --keys and --authorised FILE (srs keys), or say --insecure (insecure=True)."
        )


def check_workers_port(host: str, *, keys: bool, insecure: bool) -> None:
    """Whether workers may be listened for at this address: they prove that they have the cluster key, but seats and
    who has them could be read on the way.

    Raises:
        ConfigError: it is public, and not encrypted.
    """
    if is_public(host) and not keys and not insecure:
        raise ConfigError(
            f"{host} can be reached from other machines, and what broker and workers say there is not encrypted.\n"
            "Give --keys FILE (srs keys make --server), or say --insecure (insecure=True) where the network is yours."
        )


def check_worker(host: str, *, asks: bool, keys: bool, insecure: bool) -> None:
    """Whether a worker may listen for its rooms' clients at this address: only who was given a seat gets in there.

    Raises:
        ConfigError: it is public, and the seats are given to anybody, or can be read on the way.
    """
    if is_public(host) and not asks and not keys and not insecure:
        raise ConfigError(
            f"{host} can be reached from other machines, and nobody asks who comes from there.\n"
            "Write an on_auth, or run the broker with --keys and this worker with --broker-key, or say --insecure."
        )
