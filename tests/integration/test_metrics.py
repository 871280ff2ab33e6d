"""Metrics over HTTP, scraped as Prometheus does, and by those who are no Prometheus."""

import asyncio
import contextlib
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server_room_system import ConfigError, Server
from server_room_system.broker.host import Host
from server_room_system.broker.hosting import HostOptions
from server_room_system.broker.scrape import MetricsPort

from .system import LOCAL, Talk, clients, gathered, on_a_loop

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /metrics HTTP/1.1\r\n\r\n"


def a_host() -> Host:
    return Host(Server(rooms={"talk": Talk}), LOCAL, 0, options=HostOptions(metrics_port=0))


def scraped(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def dial(address: str | None) -> Streams:
    assert address is not None
    host, _, port = address.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def rest_of(streams: Streams) -> bytes:
    """What still comes, until the other side closes; nothing where it cuts us."""
    reader, writer = streams
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(address: str | None, request: bytes) -> bytes:
    """What comes back for these bytes."""
    reader, writer = await dial(address)
    writer.write(request)
    return await rest_of((reader, writer))


@on_a_loop
async def test_what_is_scraped_is_what_happens() -> None:
    async with a_host() as host, clients(host, 3, reconnect_timeout=1.0) as (one, two, three):
        await gathered(one, two, room="talk")
        assert three.connected
        assert host.metrics_address is not None
        samples = await asyncio.to_thread(scraped, host.metrics_address)
        assert samples["srs_sessions", ()] == samples["srs_connections", ("clients",)] == 3
        assert samples["srs_rooms", ("talk",)] == 1
        assert samples["srs_members", ("talk",)] == 2
        assert samples["srs_worker_rooms", ("local",)] == 1
        assert samples["srs_frames_received_total", ("clients",)] >= 3


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"200 OK"),
        (b"GET /metrics?x=1 HTTP/1.0", b"200 OK"),
        (b"GET / HTTP/1.1", b"200 OK"),
        (b"HEAD /metrics HTTP/1.1", b"200 OK"),
        (b"GET /other HTTP/1.1", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed"),
        (b"nonsense", b"405 Method Not Allowed"),
        (b"", b"405 Method Not Allowed"),
    ],
)
def test_every_request_has_an_answer(request_line: bytes, status: bytes) -> None:
    @on_a_loop
    async def run() -> None:
        async with a_host() as host:
            answer = await exchange(host.metrics_address, request_line + b"\r\nHost: x\r\n\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
            if not request_line.startswith(b"HEAD"):
                assert b"Content-Length: %d\r\n" % len(body) in head
            else:
                assert body == b""

    run()


@on_a_loop
async def test_an_endless_request_is_cut() -> None:
    async with a_host() as host:
        assert await exchange(host.metrics_address, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 400_000) == b""
        assert (await exchange(host.metrics_address, GET)).startswith(b"HTTP/1.1 200 OK")


@on_a_loop
async def test_more_than_it_takes_at_once_are_cut_and_who_waits_is_let_go_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "server_room_system.metrics")
    port = MetricsPort("text/plain", lambda: b"x 1\n")
    await port.open(LOCAL, 0)
    silent = [await dial(port.address) for _ in range(16)]
    assert await exchange(port.address, GET) == b""
    assert "more than 16 scrapes at once" in caplog.text
    reader, writer = silent.pop()
    writer.write(GET)
    assert (await rest_of((reader, writer))).startswith(b"HTTP/1.1 200 OK")
    assert (await exchange(port.address, GET)).startswith(b"HTTP/1.1 200 OK")
    await port.close()
    assert [await rest_of(streams) for streams in silent] == [b""] * 15


@on_a_loop
async def test_an_answer_is_given_again_for_a_second() -> None:
    made: list[None] = []

    def render() -> bytes:
        made.append(None)
        return b"x 1\n"

    port = MetricsPort("text/plain", render)
    await port.open(LOCAL, 0)
    for _ in range(3):
        assert (await exchange(port.address, GET)).endswith(b"\r\n\r\nx 1\n")
    assert len(made) <= 2
    await port.close()


@on_a_loop
async def test_a_port_that_is_taken_is_told_at_the_start_and_leaves_nothing() -> None:
    async with a_host() as host:
        assert host.metrics_address is not None
        taken = int(host.metrics_address.removesuffix("/metrics").rpartition(":")[2])
        other = Host(Server(rooms={"talk": Talk}), LOCAL, 0, options=HostOptions(metrics_port=taken))
        with pytest.raises(ConfigError, match="--metrics-port"):
            async with other:
                raise AssertionError("it started")


@on_a_loop
async def test_without_the_option_there_is_no_port() -> None:
    async with Server(rooms={"talk": Talk}).listen(LOCAL) as host:
        assert host.metrics_address is None


def test_nobody_is_there_afterwards() -> None:
    found: list[str] = []

    @on_a_loop
    async def run() -> None:
        async with a_host() as host:
            assert host.metrics_address is not None
            found.append(host.metrics_address)

    run()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(found[0], timeout=5)
