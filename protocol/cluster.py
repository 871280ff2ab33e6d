"""What broker, workers and administrators say to each other: ``docs/cluster.md`` describes it.

A conversation begins with a challenge in which both sides prove that they have
the cluster key, without sending it. What an administrator says goes to the
port of the clients, what workers say to an address of its own.
"""

from enum import IntEnum
from typing import NamedTuple

from .fields import (
    Ask,
    Code16,
    Data,
    Endpoint,
    Flag,
    Items,
    Map,
    Number,
    Proof,
    Seconds,
    Secret,
    Sentence,
    Shapes,
    TypeName,
    Versions,
)

__all__ = [
    "CLUSTER_VERSION",
    "Admit",
    "Admitted",
    "Challenge",
    "ClusterKind",
    "ClusterMessage",
    "Command",
    "Denied",
    "Enquire",
    "Leased",
    "Orders",
    "Probe",
    "Probed",
    "Prove",
    "Register",
    "Registered",
    "Renew",
    "Reports",
    "Result",
    "encode_cluster",
    "parse_cluster",
]

CLUSTER_VERSION = 1
"""The version of these conversations. Broker and workers of one cluster speak the same."""


class ClusterKind(IntEnum):
    """First element of every message. Above all kinds that clients use."""

    REGISTER = 64
    CHALLENGE = 65
    PROVE = 66
    REGISTERED = 67
    DENIED = 68
    RENEW = 70
    LEASED = 71
    REPORTS = 72
    ORDERS = 73
    PROBE = 76
    PROBED = 77
    ENQUIRE = 80
    ADMIT = 81
    ADMITTED = 82
    COMMAND = 83
    RESULT = 84


class Register(NamedTuple):
    """worker → broker: I want to serve. Answer: CHALLENGE or DENIED."""

    versions: Versions
    name: TypeName
    nonce: Secret


class Challenge(NamedTuple):
    """broker → worker or administrator: my proof that I have the key; now show yours. Answer: PROVE or ADMIT."""

    nonce: Secret
    proof: Proof


class Prove(NamedTuple):
    """worker → broker: my proof, and what I am. Answer: REGISTERED or DENIED."""

    proof: Proof
    endpoint: Endpoint
    generation: Number
    """Of the registration before, whose rooms are still here; 0: there are none."""
    description: Map
    """What it hosts and how much: see ``rooms/registration.py``."""


class Registered(NamedTuple):
    """broker → worker: you serve from now on. ``keep``: with your rooms; report them."""

    generation: Number
    lease: Seconds
    keep: Flag


class Denied(NamedTuple):
    """broker → worker or administrator: no, and why."""

    code: Code16
    text: Sentence


class Renew(NamedTuple):
    """worker → broker: I am here, and this is my load. Answer: LEASED with the same number."""

    generation: Number
    number: Number
    load: Map


class Leased(NamedTuple):
    """broker → worker: your lease goes on, from when you sent this RENEW."""

    generation: Number
    number: Number


class Reports(NamedTuple):
    """worker → broker: what happened to rooms and seats, in order."""

    generation: Number
    items: Items


class Orders(NamedTuple):
    """broker → worker: what is to happen to rooms and seats, in order."""

    generation: Number
    items: Items


class Probe(NamedTuple):
    """broker → a worker's public port: who is there? Answer: PROBED."""

    nonce: Secret


class Probed(NamedTuple):
    """worker → broker, on its public port: my name, with a proof for this nonce."""

    name: TypeName
    proof: Proof


class Enquire(NamedTuple):
    """administrator → broker: I have commands. Answer: CHALLENGE."""

    nonce: Secret


class Admit(NamedTuple):
    """administrator → broker: my proof. Answer: ADMITTED or DENIED."""

    proof: Proof


class Admitted(NamedTuple):
    """broker → administrator: commands are heard on this connection."""

    software: TypeName


class Command(NamedTuple):
    """administrator → broker: do or tell. Answer: RESULT, or ERROR with this ``ask``."""

    ask: Ask
    name: TypeName
    arguments: Map


class Result(NamedTuple):
    """broker → administrator: what became of the command."""

    ask: Ask
    data: Data


ClusterMessage = (
    Register | Challenge | Prove | Registered | Denied | Renew | Leased | Reports | Orders | Probe | Probed
    | Enquire | Admit | Admitted | Command | Result
)  # fmt: skip

CLUSTER_SHAPES: dict[ClusterKind, type[ClusterMessage]] = {
    ClusterKind.REGISTER: Register, ClusterKind.CHALLENGE: Challenge, ClusterKind.PROVE: Prove,
    ClusterKind.REGISTERED: Registered, ClusterKind.DENIED: Denied, ClusterKind.RENEW: Renew,
    ClusterKind.LEASED: Leased, ClusterKind.REPORTS: Reports, ClusterKind.ORDERS: Orders,
    ClusterKind.PROBE: Probe, ClusterKind.PROBED: Probed, ClusterKind.ENQUIRE: Enquire, ClusterKind.ADMIT: Admit,
    ClusterKind.ADMITTED: Admitted, ClusterKind.COMMAND: Command, ClusterKind.RESULT: Result,
}  # fmt: skip

_shapes: Shapes[ClusterMessage] = Shapes(CLUSTER_SHAPES)
cluster_fields_of = _shapes.fields_of
encode_cluster = _shapes.encode
parse_cluster = _shapes.parse
