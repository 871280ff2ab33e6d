"""What the load generator is told, and what it answers. Both travel as JSON, so that it has a process of its own."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.machine import Cores, Usage

__all__ = ["Job", "Result", "job_from_json", "job_to_json", "quantile", "result_from_json", "result_to_json"]


@dataclass(frozen=True, slots=True)
class Job:
    """What to do to a server.

    ``senders`` members of each room keep ``window`` messages each in flight;
    with ``text`` their payload is that many bytes, otherwise it is a small map.
    """

    work: str
    """The name of a work in ``benchmarks.load``."""
    port: int
    server: int
    """The server's process id; its children count as the server."""
    type: str
    size: int
    """Members of each room."""
    rooms: int = 1
    senders: int = 0
    window: int = 1
    text: int = 0
    times: int = 1
    """How often what happens once in a life is made to happen."""
    workers: int = 0
    """Endpoints that the rooms are to be spread over; 0: they are with the broker."""
    cores: Cores = Cores(None, None)  # noqa: RUF009  # a tuple
    """The server's core and the generator's, if they are pinned."""
    warm_up: float = 0.5
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job: figures by name, and what they cost."""

    figures: dict[str, float]
    usage: Usage
    troubles: list[str] = field(default_factory=list)
    """What should not have happened: messages that are missing, or that came twice."""


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def job_to_json(job: Job) -> str:
    """A job as an argument of the generator's process."""
    return json.dumps(asdict(job))


def job_from_json(text: str) -> Job:
    """Read the argument of the generator's process."""
    fields: dict[str, Any] = json.loads(text)
    return replace(Job(**fields), cores=Cores(*fields["cores"]))


def result_to_json(result: Result) -> str:
    """A result as the generator's process writes it."""
    return json.dumps(asdict(result))


def result_from_json(text: str) -> Result:
    """Read what the generator's process wrote."""
    fields: dict[str, Any] = json.loads(text)
    return Result(fields["figures"], Usage(*fields["usage"]), fields["troubles"])
