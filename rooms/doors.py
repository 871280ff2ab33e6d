"""What the ports of one process ask of those who connect.

Without keys everybody may connect, and nothing is encrypted. With keys all
ports of the process encrypt, and clients need to know the public one; who may
connect is then a matter of keys as well. Broker, workers and administrators
connect to each other with a pair of keys that follows from the cluster key:
they get in everywhere, and nobody else gets in where only they belong.
"""

from collections.abc import Awaitable, Callable, Container

from ..transport.curve import cluster_pair
from ..transport.locks import Caller, CurveKey, KeyPair, Lock, Verdict

__all__ = ["Doors", "PasswordCheck"]

PasswordCheck = Callable[[Caller], Awaitable[bool]]
"""Whether a caller's password is its user's."""


def _nothing(address: str) -> None:
    pass


class Doors:
    """The locks of one process's ports, and the key that it opens those of its cluster with.

    Args:
        keys: of the ports; None: they don't encrypt.
        authorised: the public keys of clients that may connect, asked for each; None: any may.
        passwords: for ports without keys that ask for a name and a password.
        failed: told of the address of each caller who was refused for its key or password.
    """

    def __init__(
        self,
        keys: KeyPair | None = None,
        authorised: Container[object] | None = None,
        passwords: PasswordCheck | None = None,
        failed: Callable[[str], None] = _nothing,
    ) -> None:
        self.keys = keys
        self.cluster: KeyPair | None = None
        """Who connects with this pair belongs to the cluster. None: ports don't encrypt, and it is told otherwise."""
        self._authorised = authorised
        self._passwords = passwords
        self._failed = failed

    def join(self, cluster_key: bytes) -> None:
        """Take part in a cluster. It is known only when the first port is bound; nobody has been let in by then."""
        if self.keys is not None:
            self.cluster = cluster_pair(cluster_key)

    def for_clients(self) -> Lock:
        """The lock of a port that clients connect to."""
        if self.keys is None and self._authorised is None and self._passwords is None:
            return Lock()
        return Lock(self.keys, self._passwords is not None, self._judge_client)

    def for_workers(self) -> Lock:
        """The lock of a port for workers alone. Without keys anybody can connect, and has to prove itself then."""
        if self.keys is None:
            return Lock()
        return Lock(self.keys, False, self._judge_worker)

    def key_to(self, server: bytes | None) -> CurveKey | None:
        """What to open a port of the cluster with; ``server``: its public key, if it has one."""
        return CurveKey(server, self.cluster) if server is not None and self.cluster is not None else None

    def _judge_client(self, caller: Caller) -> Verdict | Awaitable[Verdict]:
        if self._passwords is not None:
            return self._check_password(caller)
        welcome = self._authorised is None or self._is_of_cluster(caller) or caller.key in self._authorised
        return self._verdict(caller, welcome)

    async def _check_password(self, caller: Caller) -> Verdict:
        assert self._passwords is not None
        return self._verdict(caller, await self._passwords(caller))

    def _judge_worker(self, caller: Caller) -> Verdict:
        return self._verdict(caller, self._is_of_cluster(caller))

    def _is_of_cluster(self, caller: Caller) -> bool:
        return self.cluster is not None and caller.key == self.cluster.public

    def _verdict(self, caller: Caller, welcome: bool) -> Verdict:
        if not welcome:
            self._failed(caller.address)
        return Verdict.WELCOME if welcome else Verdict.NEVER
