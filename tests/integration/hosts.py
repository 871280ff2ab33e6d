"""Machines of a small network, made of network namespaces. Everything of it lives in namespaces, and goes with them."""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence

import pytest


class Host:
    """A machine: processes are started ``inside`` it; its cable can be pulled.

    Args:
        name: of its namespace.
        address: its IP address.
        switch: the namespace that its cable leads to.
        plug: the end of the cable there.
    """

    def __init__(self, name: str, address: str, switch: str, plug: str) -> None:
        self.inside: Sequence[str] = ("ip", "netns", "exec", name)
        self.address = address
        self._switch = switch
        self._plug = plug

    def pull_the_cable(self) -> None:
        """Nothing comes or goes any more, and nobody is told."""
        _ip("-n", self._switch, "link", "set", self._plug, "down")

    def plug_it_in(self) -> None:
        """It is connected again."""
        _ip("-n", self._switch, "link", "set", self._plug, "up")


@contextlib.contextmanager
def network(count: int) -> Iterator[list[Host]]:
    """That many machines at one switch. Skips the test where there can be none."""
    if shutil.which("ip") is None:
        pytest.skip("there is no 'ip' command here: no network namespaces")
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    tag = secrets.token_hex(3)
    switch, *names = [f"srs-{tag}-{number}" for number in range(count + 1)]
    with contextlib.ExitStack() as stack:
        for name in (switch, *names):
            try:
                _ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
            stack.callback(_ip, "netns", "del", name)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        hosts: list[Host] = []
        for number, name in enumerate(names, 1):
            plug, address = f"plug{number}", f"10.77.0.{number}"
            _ip("-n", switch, "link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", switch, "link", "set", plug, "master", "switch", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "eth0", "up")
            hosts.append(Host(name, address, switch, plug))
        yield hosts


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
