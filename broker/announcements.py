"""What a worker announces when it registers, checked: its endpoint and its description."""

import ipaddress
import re
from typing import Any

from ..protocol.errors import ConfigError, WorkerRefused
from ..rooms.registration import WorkerDescription
from ..transport.locks import split_endpoint

__all__ = ["check_endpoint", "read_description"]

_ADDRESS = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[0-9.]+):([0-9]{1,5})")


def check_endpoint(endpoint: str) -> None:
    """Raise WorkerRefused for what clients can't connect to."""
    try:
        where, _ = split_endpoint(endpoint)
    except ConfigError as error:
        raise WorkerRefused("what stands behind # in a worker's endpoint is no key") from error
    found = _ADDRESS.fullmatch(where)
    try:
        address = ipaddress.ip_address(found[1].strip("[]")) if found is not None else None
    except ValueError:
        address = None
    if found is None or address is None or not 1 <= int(found[2]) <= 65_535:
        raise WorkerRefused(f"{where!r:.80} is no endpoint: --public is tcp://IP:PORT, with numbers")
    if address.is_unspecified:
        raise WorkerRefused(f"{where} is no address that clients can connect to: give --public one that is")


def read_description(said: dict[str, Any]) -> WorkerDescription:
    """What a worker says of itself. Raises WorkerRefused for anything else."""
    try:
        described = WorkerDescription(**said)
    except TypeError as error:
        raise WorkerRefused(f"a worker's description is wrong: {error}") from error
    fits = (
        all(_are_names(names) for names in (described.types, described.labels))
        and type(described.max_rooms) is int
        and described.max_rooms >= 1
        and type(described.isolated) is bool
        and type(described.pid) is int
        and type(described.host) is str
        and len(described.host) <= 256
    )
    if not fits:
        raise WorkerRefused("a worker's description has values of wrong types")
    return described


def _are_names(value: Any) -> bool:
    return type(value) is list and len(value) <= 1024 and all(type(one) is str and len(one) <= 64 for one in value)
