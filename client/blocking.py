"""Client: the client for scripts and game loops, without asyncio.

The asynchronous client runs on a thread of its own; this one talks to it.
"""

import asyncio
import contextlib
import logging
import queue
import signal
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..protocol.errors import ClientClosedError, InRoom, ServerRoomError, ServerStopping, TimedOut, UsageError
from ..protocol.names import ClientData, Protocol
from ..protocol.rulesets import RuleSet
from .async_client import AsyncClient
from .blocking_queues import QueueFace
from .received import Received
from .room import ClientRoom

__all__ = ["Client"]

logger = logging.getLogger(__name__.partition(".client")[0] + ".client")

T = TypeVar("T")

_WAKE = signal.SIGURG
"""Ends a main() that waits. Not SIGINT, which programs in the background of a shell ignore."""
_LONGEST_WAIT = 3600.0
_MOST_UNREAD = 10_000


class _Quit(BaseException):  # ends main(); nothing that users catch
    """Raised by ``quit()`` in the thread that runs ``main()``."""


class _How(NamedTuple):
    """How we get in: arguments of the asynchronous client."""

    credentials: Any
    server_key: str | None
    key_file: str | Path | None
    user: str | None
    password: str | None


class Client(QueueFace):
    """A client in a script: subclass it, override ``main`` and ``handle_response``, and ``run`` it.

    Two ways to use it::

        MyClient().run("127.0.0.1", 1234)      # main() here, messages on another thread

        client = MyClient()                     # or a loop of your own
        client.connect("127.0.0.1", 1234)
        while client.running:
            client.poll()                       # handle_response() here
            ...
        client.close()
    """

    ready: bool = False
    """Whether our room is complete: everybody who was matched is there."""
    running: bool = False
    """Whether the client is connected, or coming back."""
    data: ClientData = ClientData(0, "")
    """Our number and address, as the server sees them."""
    match_timeout: float = _LONGEST_WAIT
    """Seconds to wait for a match."""

    _client: AsyncClient | None = None
    _room: ClientRoom | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _main_thread: threading.Thread | None = None
    _in_main: bool = False
    _error: BaseException | None = None

    # Override these.

    def main(self) -> None:
        """Called once by ``run``, in the thread that called it. When it returns, the client ends."""

    def handle_response(self, protocol: str, data: Any) -> None:
        """Something came, from the room or, while in none, from the server. Shows messages unless overridden.

        With ``run`` this is called on another thread than ``main``; with
        ``poll``, in the thread that polls.

        Args:
            protocol: the message's type; ``Protocol.Response.MESSAGE`` for plain messages.
            data: what was sent.
        """
        if protocol == Protocol.Response.MESSAGE:
            print(data, flush=True)  # noqa: T201

    def room_closed(self, reason: ServerRoomError | None) -> None:
        """We are in no room any more. Says so unless overridden; runs where ``handle_response`` does."""
        if self.running and not isinstance(reason, ServerStopping):  # then the client ends, and says so itself
            print(f"* {reason or 'you left the room'}", file=sys.stderr, flush=True)  # noqa: T201

    # Use these.

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 1234,
        timeout: float = 5.0,
        *,
        credentials: Any = None,
        server_key: str | None = None,
        key_file: str | Path | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        """Connect, run ``main``, and end when it returns, after ``quit``, or when the connection is lost for good.

        Exits the program with one line on stderr and status 1 where the server
        can't be reached or is lost, or does not let us in.

        Args:
            host: where the server is.
            port: its port.
            timeout: seconds to reach it.
            credentials: see ``connect()`` for asyncio; a function is called on the client's own thread.
            server_key, key_file, user, password: see ``connect()`` for asyncio.
        """
        how = _How(credentials, server_key, key_file, user, password)
        on_main_thread = threading.current_thread() is threading.main_thread()
        before = signal.signal(_WAKE, self._wake) if on_main_thread else None
        self._main_thread = threading.current_thread()
        try:
            try:
                self._start(host, port, timeout, how, direct=True)
                self._in_main = True
                self.main()
            except (_Quit, KeyboardInterrupt, EOFError) as end:
                logger.debug("main() ended by %s", type(end).__name__)
            except ServerRoomError as error:
                self._error = self._error or error
            self._in_main = False
        except _Quit:
            logger.debug("quit as main() returned")
        finally:
            self._in_main = False
            if on_main_thread:
                signal.signal(_WAKE, before or signal.SIG_DFL)
            self._main_thread = None
            try:
                self.close()
            except KeyboardInterrupt:
                logger.debug("interrupted once more: the goodbye is not waited for")
        if self._error is not None and not isinstance(self._error, ClientClosedError):
            sys.exit(f"error: {self._error}")

    def connect(
        self,
        host: str = "127.0.0.1",
        port: int = 1234,
        timeout: float = 5.0,
        *,
        credentials: Any = None,
        server_key: str | None = None,
        key_file: str | Path | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        """Connect; then call ``poll`` often. The arguments are those of ``run``.

        Raises:
            BrokerUnreachable: nobody answered within ``timeout`` seconds.
            AuthRefused: the server does not take the credentials, the key or the password.
        """
        how = _How(credentials, server_key, key_file, user, password)
        self._start(host, port, timeout, how, direct=False)

    def poll(self, timeout: float = 0.0) -> int:
        """Call ``handle_response`` for what has come.

        Args:
            timeout: seconds to wait for the first message if there is none.

        Returns:
            How many messages were handled.
        """
        handled = 0
        while True:
            try:
                call = self._unread.get(
                    timeout=timeout if handled == 0 and timeout > 0 else None, block=handled == 0 and timeout > 0
                )
            except queue.Empty:
                return handled
            call()
            handled += 1

    def send(self, protocol: str, data: Any = None, *, timeout: float = 10.0) -> None:
        """Send a message to our room or, while in none, to the server.

        ``Protocol.Request.ROOM_RULSET`` with a RuleSet asks to be matched; it
        does not wait for the match.

        Raises:
            PayloadError: data can't be encoded or is over a limit.
            ClientClosedError: the client has ended.
            TimedOut: the server takes nothing for ``timeout`` seconds.
        """
        if protocol == Protocol.Request.ROOM_RULSET:
            if not isinstance(data, RuleSet):
                raise UsageError(f"ROOM_RULSET goes with a RuleSet, not {data!r:.60}")
            self._call(self._begin(lambda client: client.match(data, timeout=self.match_timeout)), timeout)
        elif protocol == Protocol.Request.COMMAND and data == "quit":
            self.quit()
        else:
            self._call(self._send(protocol, data, timeout), timeout + 1.0)

    def request(self, type: str, data: Any = None, *, timeout: float = 10.0) -> Any:  # noqa: A002
        """Ask our room something and wait for the reply. Raises what ``ClientRoom.request`` raises."""

        async def ask() -> Any:
            if self._room is None:
                raise UsageError("requests go to rooms, and we are in none")
            return await self._room.request(type, data, timeout=timeout)

        return self._call(ask(), timeout + 1.0)

    def leave(self, timeout: float = 5.0) -> None:
        """Leave our room, and stay connected."""

        async def leave() -> None:
            if self._room is not None:
                await self._room.leave(timeout)

        self._call(leave(), timeout + 1.0)

    def quit(self) -> None:
        """End the client. In ``main`` this does not return; elsewhere, ``main`` is interrupted."""
        self.running = False
        if threading.current_thread() is self._main_thread:
            raise _Quit
        self._end(None)

    def close(self) -> None:
        """End the client, and leave nothing behind. For those who did not ``run`` it."""
        self.running = False
        if self._loop is not None and self._thread is not None and self._thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._halt)
            self._thread.join()
            self._thread = None

    # On the thread of the asynchronous client.

    def _halt(self) -> None:
        if self._started.is_set():
            self._stop.set()
        else:  # it connects yet: nobody is to wait until that has failed
            self._living.cancel()

    def _start(self, host: str, port: int, timeout: float, how: "_How", *, direct: bool) -> None:
        if self._thread is not None:
            raise UsageError("this client runs already")
        self._error = None
        self._unread: queue.Queue[Any] = queue.Queue(_MOST_UNREAD)
        self._direct = direct
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=self._run_loop,
            args=(f"tcp://{host}:{port}", timeout, how),
            name="server-room-client",
            daemon=True,
        )
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            self._thread = None
            raise self._error

    def _run_loop(self, address: str, timeout: float, how: "_How") -> None:
        try:
            asyncio.run(self._live(address, timeout, how))
        except ServerRoomError as error:
            self._error = error
        except asyncio.CancelledError:
            logger.debug("ended while connecting")
        finally:
            self.running = False
            self._started.set()

    async def _live(self, address: str, timeout: float, how: "_How") -> None:
        self._living: asyncio.Future[Any] = asyncio.ensure_future(self._live_on(address, timeout, how))
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        await self._living

    async def _live_on(self, address: str, timeout: float, how: "_How") -> None:
        self._joining = asyncio.Lock()
        async with AsyncClient(address, connect_timeout=timeout, **how._asdict()) as client:
            self._client = client
            self.data = client.data
            self.running = True
            self._started.set()
            stop = asyncio.ensure_future(self._stop.wait())
            listen = asyncio.ensure_future(self._listen(client))
            self._tasks: set[asyncio.Task[Any]] = set()
            await asyncio.wait((stop, listen), return_when=asyncio.FIRST_COMPLETED)
            leftover: list[asyncio.Task[Any]] = [stop, listen, *self._tasks]
            for task in leftover:
                task.cancel()
            await asyncio.gather(*leftover, return_exceptions=True)
            if client.error is not None:
                self._end(client.error)

    async def _listen(self, source: AsyncClient | ClientRoom) -> None:
        async for message in source:
            await self._hand_over(self._handle, message)

    async def _hand_over(self, function: Any, *args: Any) -> None:
        if self._direct:
            function(*args)
            return
        while True:
            try:
                self._unread.put_nowait(lambda: function(*args))
                return
            except queue.Full:
                await asyncio.sleep(0.01)  # whoever polls is slow: our inbox fills, and then the server's history waits

    def _handle(self, message: Received) -> None:
        if message.kind == "presence":
            return
        if message.type == Protocol.Response.COMMAND:
            if message.data == "room ready!":
                self.ready = True
            elif message.data == "close":
                self._end(None)
        try:
            self.handle_response(message.type, message.data)
        except Exception:
            number = self._client.id if self._client is not None else 0
            logger.exception("client %d: handle_response raised", number, extra={"client": number})

    async def _send(self, protocol: str, data: Any, timeout: float) -> None:
        assert self._client is not None
        if self._room is not None and self._room.joined:
            await self._room.send(protocol, data, timeout=timeout)
        elif not self._joining.locked():
            await self._client.send(protocol, data, timeout=timeout)
        else:
            # The match may be made while this is on its way: then the server does
            # not apply it, and says so, and it goes to the room.
            try:
                await self._client.send(protocol, data, timeout=timeout, ack=True)
            except InRoom:
                async with asyncio.timeout(timeout), self._joining:
                    room = self._room
                if room is None:
                    raise
                await room.send(protocol, data, timeout=timeout)

    # Between the threads.

    def _call(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        loop = self._loop
        if loop is None or not self.running:
            coroutine.close()
            raise self._error_to_raise()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError as error:
            coroutine.close()
            raise self._error_to_raise() from error
        if threading.current_thread() is self._thread:
            return None  # type: ignore[return-value]  # from handle_response: it is done when we return
        try:
            return future.result(timeout)
        except TimeoutError as error:
            future.cancel()
            if isinstance(error, TimedOut):
                raise
            raise TimedOut("answer from the client's own thread", timeout) from error

    def _error_to_raise(self) -> Exception:
        error = self._error
        return error if isinstance(error, ServerRoomError) else ClientClosedError("the client has ended")

    def _end(self, error: ServerRoomError | None) -> None:
        """The session is over: main() must end too, wherever it waits."""
        self._error = self._error or error or ClientClosedError("the client was closed")
        self.running = False
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        main = threading.main_thread()
        if self._in_main and self._main_thread is main:
            # Only a signal ends a call that waits for input.
            signal.pthread_kill(main.ident or 0, _WAKE)

    def _wake(self, *_: object) -> None:
        # In the main thread, between two of its steps. Once: main() is ending then.
        if self._in_main:
            self._in_main = False
            raise _Quit
