"""The command line of a worker process that this package starts itself."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .logs import LogFormat

__all__ = ["WorkerCommand"]


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """What a worker process is told when it starts. No secret is in it: command lines can be seen by everybody."""

    target: str
    """The server to load: ``module:attr`` or ``/path/to/file.py:attr``."""
    broker: str
    """The broker's address for workers: ``tcp://ip:port``."""
    name: str
    """The name to register under."""
    key_file: str | None
    """Where the cluster key stands; None: in the environment."""
    isolated: bool = False
    """For one room only."""
    labels: tuple[str, ...] = ()
    log_level: str = "WARNING"
    """As ``logging`` names it."""
    log_format: LogFormat = "text"
    broker_key: str | None = None
    """The public key of the broker's address, if it encrypts."""

    def to_argv(self) -> list[str]:
        """The whole command line, the interpreter first."""
        # -P: the folder where the broker was started is no better than the rest of its path, which goes along.
        return [sys.executable, "-P", "-m", __name__.rpartition(".")[0] + ".work", json.dumps(asdict(self))]

    @classmethod
    def from_argv(cls, arguments: Sequence[str]) -> "WorkerCommand":
        """What ``sys.argv[1:]`` of such a process says."""
        (told,) = arguments
        fields: dict[str, Any] = json.loads(told)
        fields["labels"] = tuple(fields["labels"])
        return cls(**fields)
