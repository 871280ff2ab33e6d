"""How a server runs, in the words of who starts it, and what that means for its host."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..protocol.errors import ConfigError
from ..transport.key_files import AuthorisedKeys, read_key_pair
from ..transport.keys import given_key
from .cluster import ClusterOptions
from .command import WorkerCommand
from .hosting import HostOptions, Launch
from .launcher import Launcher, LocalLauncher
from .logs import LogFormat, wrapped_line
from .metrics import check_extra
from .passwords import PasswordFile

if TYPE_CHECKING:
    from .server import Server

__all__ = ["RunOptions", "host_options"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What ``Server.run`` may be told besides where to listen."""

    workers: int | None = None
    """Worker processes to start; None: what the server says itself."""
    worker_address: tuple[str, int] | None = None
    """Where to listen for workers; None: on the loopback, at the port after the clients'."""
    target: str | None = None
    """The name under which workers load this server; None: found out."""
    key_file: Path | None = None
    """Holds the cluster key; None: the environment's SRS_KEY, or one of our own."""
    labels: tuple[str, ...] = ()
    """Of the workers that are started."""
    worker_memory: int | None = None
    """Bytes that each of them may hold."""
    worker_stall: float | None = None
    """Seconds that each of them may compute without a turn of its loop."""
    metrics_port: int | None = None
    """Where to serve Prometheus metrics; None: nowhere."""
    log_level: str = "WARNING"
    """Of the workers that are started."""
    log_format: LogFormat = "text"
    """Of their logs, and of all else that they print."""
    keys: Path | None = None
    """The server's key file, of ``srs keys make --server``: all ports encrypt. None: they don't."""
    authorised: Path | None = None
    """The file of keys of clients that may connect, of ``srs keys authorise``; None: any."""
    plain: Path | None = None
    """The file of names and passwords that clients have to give, of ``srs password``; None: none."""
    insecure: bool = False
    """Whether to listen where others can come from, also if nobody asks who they are."""


def host_options(server: "Server", port: int, options: RunOptions) -> HostOptions:
    """The options of the host that runs this server.

    Raises:
        ConfigError: they make no sense together, or workers can't load this server.
    """
    from .load import target_of  # noqa: PLC0415  # it loads servers, and is loaded by them

    if options.metrics_port is not None:
        check_extra()
    key = given_key(options.key_file)
    common = HostOptions(
        key=key,
        keep_state=True,
        metrics_port=options.metrics_port,
        keys=read_key_pair(options.keys) if options.keys is not None else None,
        authorised=AuthorisedKeys(options.authorised) if options.authorised is not None else None,
        passwords=PasswordFile(options.plain).check if options.plain is not None else None,
        insecure=options.insecure,
    )
    count = server.workers if options.workers is None else options.workers
    if count is None and options.worker_address is None:
        if options.worker_memory is not None or options.worker_stall is not None or options.labels:
            raise ConfigError("limits and labels are for workers: say how many, with workers=N or --workers N")
        return common
    host, worker_port = options.worker_address or ("127.0.0.1", port + 1 if port else 0)
    launch = None
    if count:
        target = options.target or target_of(server)

        def make(command: Callable[[str, bool], WorkerCommand], on_ended: Callable[[str, int], None]) -> Launcher:
            return LocalLauncher(
                lambda name, isolated: command(name, isolated).to_argv(),
                on_ended,
                memory=options.worker_memory,
                stall=options.worker_stall,
                label=_as_json if options.log_format == "json" else None,
            )

        launch = Launch(count, target, make, options.labels, options.log_level, options.log_format)
    return replace(common, cluster=ClusterOptions(host, worker_port), launch=launch)


def _as_json(name: str, line: str) -> str:
    return wrapped_line(name, line, time.time())
