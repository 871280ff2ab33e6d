"""Answers those who scrape metrics, over HTTP.

On the broker's own loop: there is no thread, and no value changes while an
answer is made.
"""

import asyncio
import logging
from collections.abc import Callable

from ..protocol.errors import ConfigError

__all__ = ["MetricsPort"]

logger = logging.getLogger(__name__.partition(".broker")[0] + ".metrics")

_LONGEST_REQUEST = 8192
"""Bytes of a request with all of its headers."""
_PATIENCE = 5.0
"""Seconds that one exchange may take."""
_MOST_AT_ONCE = 16
_GOOD_FOR = 1.0
"""Seconds that an answer is given again: who scrapes all the time costs the rooms nothing."""
_PATHS = (b"/", b"/metrics")


class MetricsPort:
    """A port that tells metrics.

    Args:
        content_type: of what it tells.
        render: makes it, on the loop.
    """

    def __init__(self, content_type: str, render: Callable[[], bytes]) -> None:
        self.address: str | None = None
        """``http://host:port/metrics``, once it is open."""
        self._content_type = content_type
        self._render = render
        self._rendered = b""
        self._rendered_at = float("-inf")
        self._exchanges: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises ConfigError where that can't be."""
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_LONGEST_REQUEST)
        except OSError as error:
            raise ConfigError(
                f"metrics can't be served at {host}:{port}: {error.strerror}. Choose another --metrics-port."
            ) from error
        bound = self._server.sockets[0].getsockname()
        self.address = f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}/metrics"
        logger.info("metrics at %s", self.address)

    async def close(self) -> None:
        """Listen no more, and end what is under way."""
        if self._server is None:
            return
        self._server.close()
        for exchange in self._exchanges:
            exchange.cancel()
        if self._exchanges:
            await asyncio.wait(self._exchanges)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._exchanges) >= _MOST_AT_ONCE:
            logger.debug("more than %d scrapes at once: one is cut", _MOST_AT_ONCE)
            writer.transport.abort()
            return
        # Not as a coroutine: Python 3.11 complains of those that are cancelled.
        exchange = asyncio.get_running_loop().create_task(self._exchange(reader, writer))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                writer.write(self._answer_to(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            logger.debug("a scrape came to nothing: %s", type(error).__name__)
        finally:
            writer.transport.abort()

    def _answer_to(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _answer(b"405 Method Not Allowed", "text/plain", b"GET /metrics\n")
        if path not in _PATHS:
            return _answer(b"404 Not Found", "text/plain", b"GET /metrics\n")
        now = asyncio.get_running_loop().time()
        if now >= self._rendered_at + _GOOD_FOR:
            self._rendered, self._rendered_at = self._render(), now
        answer = _answer(b"200 OK", self._content_type, self._rendered)
        return answer if method == b"GET" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _answer(status: bytes, content_type: str, body: bytes) -> bytes:
    head = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return b"HTTP/1.1 " + status + b"\r\n" + head.encode() + body
