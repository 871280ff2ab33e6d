"""Who talks with whom: what clients and servers say, and what broker, workers and administrators say."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import pytest

from server_room_system.protocol import CLUSTER_VERSION, VERSION, ClusterKind, Kind, cluster, messages

from .documents import Document

__all__ = ["CLIENTS", "CLUSTER", "Conversation", "each_conversation", "each_kind"]


@dataclass(frozen=True)
class Conversation:
    """Its messages, and the document that describes them."""

    name: str
    document: Document
    version: int
    kinds: type[IntEnum]
    shapes: Mapping[Any, type[Any]]
    fields_of: Callable[[Any], dict[str, str]]
    encode: Callable[[Any], bytes]
    parse: Callable[[object], Any]
    servers: str
    """Which words for who speaks mean the same: a pattern."""

    def speakers(self, said: str) -> set[str]:
        """Who speaks, of "client → server"."""
        said = re.sub(self.servers, "server", said) if self.servers else said
        if "both ways" in said or "↔" in said:
            return {"client", "server"}
        return set(re.findall(r"(\w+)(?: or \w+)? →", said))


CLIENTS = Conversation(
    "clients",
    Document("protocol.md"),
    VERSION,
    Kind,
    messages.SHAPES,
    messages.fields_of,
    messages.encode,
    messages.parse,
    "broker|worker",
)
CLUSTER = Conversation(
    "cluster",
    Document("cluster.md"),
    CLUSTER_VERSION,
    ClusterKind,
    cluster.CLUSTER_SHAPES,
    cluster.cluster_fields_of,
    cluster.encode_cluster,
    cluster.parse_cluster,
    "",
)
_BOTH = (CLIENTS, CLUSTER)

each_conversation = pytest.mark.parametrize("talk", _BOTH, ids=lambda talk: talk.name)
each_kind = pytest.mark.parametrize(
    ("talk", "kind"), [pytest.param(talk, kind, id=kind.name) for talk in _BOTH for kind in talk.kinds]
)
