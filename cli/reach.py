"""What ``srs doctor --broker`` looks at: can a client on this machine reach a broker, and all of its workers?"""

import asyncio
import errno
import ipaddress
import time
from collections.abc import AsyncIterator
from typing import Any

from ..broker.probe import ask_endpoint
from ..client import AsyncClient, connect
from ..protocol.cluster import Probed
from ..protocol.errors import BrokerUnreachable, ServerRoomError, VersionMismatch
from ..protocol.ids import new_token
from ..protocol.messages import VERSION
from ..transport.curve import make_pair
from ..transport.entropy import EntropyPool
from ..transport.key_files import read_key_pair
from ..transport.locks import KeyPair
from ..transport.network import Network
from ..transport.zeromq import ZmqNetwork
from .checks import Finding

__all__ = ["broker_findings", "judge"]

_ROUND_TRIPS = 9
_AT_ONCE = 32
_PUBLIC = "give that worker a --public tcp://IP:PORT that clients reach"


async def broker_findings(address: str, timeout: float, access: dict[str, Any] | None = None) -> AsyncIterator[Finding]:
    """Ask everything, one after the other; the workers all at once.

    Args:
        address: the broker's, for clients.
        timeout: seconds to connect, and seconds for each answer.
        access: what to show of who we are: arguments of ``connect``.
    """
    access = access or {}
    try:
        async with connect(address, connect_timeout=timeout, **access) as client:
            yield Finding("broker", "ok", f"{address} speaks version {VERSION}, and sees us as {client.data.ADDRESS}")
            yield await _round_trip(client, timeout)
            endpoints = await client.endpoints(timeout=timeout)
    except ServerRoomError as error:
        yield _no_broker(address, error)
        return
    if not endpoints:
        yield Finding("workers", "ok", "none of their own: the broker hosts the rooms, on its own port")
        return
    key_file = access.get("key_file")
    keys = read_key_pair(key_file) if key_file is not None else make_pair()
    for finding in await _all_looks(address, endpoints, keys, timeout):
        yield finding


async def _all_looks(broker: str, endpoints: list[str], keys: KeyPair, timeout: float) -> list[Finding]:
    network = ZmqNetwork()
    limit = asyncio.Semaphore(_AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            looks = [
                group.create_task(_look(broker, endpoint, keys, timeout, network, limit)) for endpoint in endpoints
            ]
        return [look.result() for look in looks]
    finally:
        await network.end()


def _no_broker(address: str, error: ServerRoomError) -> Finding:
    if isinstance(error, BrokerUnreachable):
        return Finding(
            "broker", "fail", f"nobody answers at {address}", "is it running, with --host 0.0.0.0, and its port open?"
        )
    if isinstance(error, VersionMismatch):
        return Finding("broker", "fail", f"{error}", f"this is version {VERSION}: pip install -U server-room-system")
    return Finding("broker", "fail", f"{error}", "its own log may say why")


async def _round_trip(client: AsyncClient, timeout: float) -> Finding:
    took: list[float] = []
    for _ in range(_ROUND_TRIPS):
        start = time.perf_counter()
        await client.endpoints(timeout=timeout)
        took.append(time.perf_counter() - start)
    took.sort()
    return Finding(
        "round trip", "ok", f"{took[len(took) // 2] * 1e3:.1f} ms to the broker, {took[-1] * 1e3:.1f} ms at the longest"
    )


async def _look(
    broker: str, endpoint: str, keys: KeyPair, timeout: float, network: Network, limit: asyncio.Semaphore
) -> Finding:
    address, _, _ = endpoint.partition("#")
    async with limit:
        start = time.perf_counter()
        error = await _connect(address, timeout)
        probed = await _probe(endpoint, keys, network) if error is None else None
        return judge(broker, address, error, probed, time.perf_counter() - start)


async def _connect(endpoint: str, timeout: float) -> OSError | None:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError as error:  # a TimeoutError as well
        return error
    writer.transport.abort()
    return None


async def _probe(endpoint: str, keys: KeyPair, network: Network) -> Probed | None:
    answer: asyncio.Future[Probed | None] = asyncio.get_running_loop().create_future()
    probe = ask_endpoint(network, endpoint, keys, new_token(EntropyPool()), answer.set_result)
    try:
        return await answer
    finally:
        probe.close()


def judge(broker: str, endpoint: str, error: OSError | None, probed: Probed | None, took: float) -> Finding:
    """What to say of one worker's endpoint.

    Args:
        broker: the broker's address, as we reached it.
        endpoint: where clients are sent for the worker's rooms.
        error: why there is no TCP connection to it; None: there is one.
        probed: what the worker answered there; None: nothing.
        took: seconds.
    """
    where, name = _address_of(endpoint), endpoint.removeprefix("tcp://")
    here = _address_of(broker)
    if where is not None and where.is_loopback and not (here is not None and here.is_loopback):
        return Finding(
            name, "fail", "a loopback address: each client finds its own machine there, not the worker's", _PUBLIC
        )
    if error is not None:
        return Finding(
            name, "fail", f"clients are sent there, but {_why(error)}", f"open it in the firewall, or {_PUBLIC}"
        )
    if probed is None:
        return Finding(
            name, "fail", "something listens there, but no worker answers",
            f"does the worker stand still, or is its proxy wrong? Otherwise {_PUBLIC}",
        )  # fmt: skip
    found = f"worker {probed.name} answers, in {took * 1e3:.1f} ms"
    if where is not None and here is not None and where.is_private and here.is_global:
        return Finding(
            name, "warn", f"{found}, but at a private address", "clients outside of its network don't reach it"
        )
    return Finding(name, "ok", found)


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "nothing comes back"
    if error.errno == errno.ECONNREFUSED:
        return "nobody listens"
    return f"there is no way: {error.strerror or error}"


def _address_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in ``tcp://host:port``; None for a name."""
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
