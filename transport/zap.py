"""Who may connect: the answers to what libzmq asks about each handshake (ZAP, ZeroMQ RFC 27).

libzmq asks one socket of the Context about every connection that is made to
any port of it, and waits with the handshake until it is answered. Without that
socket it would let everybody in: so each port gets a domain of its own, and is
told to let nobody in whom nobody has judged. Open locks ask nothing: where all
ports have one, there is no such socket, and libzmq shakes hands by itself.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable

import zmq

from ..protocol.errors import ConfigError
from .locks import KEY_SIZE, NOBODY, Caller, Lock, Verdict, Vouched, checked, is_user_name
from .sockets import EVENTS, HEAD, NOBLOCK, POLLIN, RCVMORE, BareSocket, ZmqSocket, open_socket

__all__ = ["Gatekeeper", "vouched"]

logger = logging.getLogger(__name__.partition(".transport")[0] + ".transport")

_WHERE = "inproc://zeromq.zap.01"
_ENFORCE_DOMAIN = 93
"""ZMQ_ZAP_ENFORCE_DOMAIN, which pyzmq has no name for."""
_MOST_AT_ONCE = 128
"""Answers in one go; other tasks run in between."""
_MOST_WAITING = 256
"""Judgements that are awaited at once; who comes meanwhile is to come later."""
_LONGEST = 3.0
"""Seconds that a judgement may take: after them libzmq has given the handshake up."""
_LAST_TIME = 1.0
"""Seconds that judgements have to end in which nobody waits for any more."""
_DOMAIN = "srs-"
_ALWAYS = 8
"""Frames of each question, with who asks: up to the mechanism, behind which come its credentials."""


class Gatekeeper:
    """Answers for all ports of one Context, on the loop's thread. It is there while a port is that asks something.

    Args:
        context: whose ports.
    """

    def __init__(self, context: "zmq.Context[ZmqSocket]") -> None:
        self._context = context
        self._socket: ZmqSocket | None = None
        self._locks: dict[str, Lock] = {}
        self._last = 0
        self._waiting: set[asyncio.Task[None]] = set()

    def install(self, socket: ZmqSocket, lock: Lock) -> str:
        """Lock a port, before it is bound.

        Returns:
            The port's domain, for ``remove``.

        Raises:
            ConfigError: there are no descriptors left.
        """
        self._last += 1
        domain = f"{_DOMAIN}{self._last}"
        # Also where nobody is asked: with a domain, libzmq refuses peers of ZMTP 1.0 and 2.0, who have no handshake.
        socket.set(zmq.ZAP_DOMAIN, domain.encode())
        if not lock.is_open:
            if self._socket is None:
                self._open()
            socket.set(_ENFORCE_DOMAIN, 1)
        if lock.keys is not None:
            socket.set(zmq.CURVE_SERVER, 1)
            socket.set(zmq.CURVE_SECRETKEY, lock.keys.secret)
        elif lock.plain:
            socket.set(zmq.PLAIN_SERVER, 1)
        self._locks[domain] = lock
        return domain

    def remove(self, domain: str) -> None:
        """The port is closed: nobody gets in there any more. After the last one that asks, there is no gatekeeper."""
        self._locks.pop(domain, None)
        if all(lock.is_open for lock in self._locks.values()):
            self._close()

    async def ended(self) -> None:
        """Wait for judgements that were given up with the last port: for a second, since a judge may refuse to end."""
        if self._waiting:
            await asyncio.wait(list(self._waiting), timeout=_LAST_TIME)

    def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket = open_socket(self._context, zmq.ROUTER)
        try:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVHWM, 0)  # at a limit, libzmq's I/O thread would wait for us
            socket.set(zmq.SNDHWM, 0)
            socket.bind(_WHERE)
        except zmq.ZMQError as error:
            self._socket = None
            socket.close()
            raise ConfigError(f"nobody can answer for this Context's ports: {error.strerror}.") from error
        self._loop.add_reader(socket.fileno(), self._answer)
        self._loop.call_soon(self._answer)

    def _close(self) -> None:
        socket, self._socket = self._socket, None
        for task in self._waiting:
            self._loop.call_soon(task.cancel)  # before its first step, nobody would ever await the judge's answer
        if socket is not None:
            self._loop.remove_reader(socket.fileno())
            socket.unbind(_WHERE)  # closing does it as well, but later
            socket.close()

    def _answer(self) -> None:
        for _ in range(_MOST_AT_ONCE):
            # Closed meanwhile, perhaps, by a judge. The descriptor is edge-triggered: EVENTS tells.
            if self._socket is None or not int(self._socket.get(EVENTS)) & POLLIN:
                return
            self._consider(self._question(self._socket))
        self._loop.call_soon(self._answer)

    def _question(self, socket: ZmqSocket) -> list[bytes]:
        # This is done for each connection: pyzmq's recv_multipart, which asks before each frame whether it is the
        # last, takes three times as long.
        frames = [BareSocket.recv(socket, NOBLOCK) for _ in range(_ALWAYS)]
        while socket.get(RCVMORE):
            frames.append(BareSocket.recv(socket, NOBLOCK))
        return frames

    def _consider(self, frames: list[bytes]) -> None:
        # libzmq itself has put these frames together: only the last ones are the peer's.
        who, _, _, number, domain, address, _, mechanism, *given = frames
        lock = self._locks.get(domain.decode("ascii", "replace"))
        if lock is None:
            self._say(who, number, self._of_no_port(domain))
            return
        caller = _caller(lock, address.decode("ascii", "replace"), mechanism, given)
        if caller is None:
            self._say(who, number, Verdict.NEVER)
            return
        try:
            verdict = lock.judge(caller)
            if not inspect.isawaitable(verdict):
                verdict = checked(verdict)
        except (Exception, SystemExit):
            logger.exception("it could not be decided whether %s may connect", caller.address)
            verdict = Verdict.LATER
        if isinstance(verdict, Verdict):
            self._say(who, number, verdict, caller)
        elif len(self._waiting) < _MOST_WAITING:
            task = self._loop.create_task(self._await(self._socket, who, number, verdict, caller))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        else:
            if inspect.iscoroutine(verdict):
                verdict.close()
            self._say(who, number, Verdict.LATER)

    def _of_no_port(self, domain: bytes) -> Verdict:
        # A port that is closed just now will be back, perhaps. A domain that was never ours is a mistake.
        number = domain.removeprefix(_DOMAIN.encode())
        ours = domain.startswith(_DOMAIN.encode()) and number.isdigit() and int(number) <= self._last
        return Verdict.LATER if ours else Verdict.NEVER

    async def _await(
        self, socket: ZmqSocket | None, who: bytes, number: bytes, waiting: Awaitable[Verdict], caller: Caller
    ) -> None:
        try:
            async with asyncio.timeout(_LONGEST):
                verdict = checked(await waiting)
        except (Exception, SystemExit):
            logger.exception("it could not be decided whether %s may connect", caller.address)
            verdict = Verdict.LATER
        if self._socket is socket:  # of the next one, somebody else may have this name
            self._say(who, number, verdict, caller)

    def _say(self, who: bytes, number: bytes, verdict: Verdict, caller: Caller | None = None) -> None:
        if self._socket is None:
            return
        # What is said here as the user's id comes with each of its messages, and hides one that the peer made up.
        name = _name(caller) if caller is not None and verdict is Verdict.WELCOME else b""
        for frame in (who, b"", b"1.0", number, verdict.value, b"", name):
            BareSocket.send(self._socket, frame, HEAD)
        BareSocket.send(self._socket, b"", NOBLOCK)


def _caller(lock: Lock, address: str, mechanism: bytes, given: list[bytes]) -> Caller | None:
    """Who asks; None: not as this lock wants it."""
    if lock.keys is not None:
        return Caller(address, key=given[0]) if mechanism == b"CURVE" and len(given[0]) == KEY_SIZE else None
    if not lock.plain:
        return Caller(address) if mechanism == b"NULL" else None
    try:
        user, password = (text.decode() for text in given[:2])
    except ValueError:
        return None
    return Caller(address, user=user, password=password) if mechanism == b"PLAIN" and is_user_name(user) else None


def _name(caller: Caller) -> bytes:
    return caller.key.hex().encode() if caller.key is not None else (caller.user or "").encode()


def vouched(lock: Lock, frame: zmq.Frame) -> Vouched:
    """Whom the gatekeeper let in on the connection that a frame came on."""
    if lock.keys is None and not lock.plain:
        return NOBODY
    name = str(frame.get("User-Id"))
    return Vouched(key=bytes.fromhex(name)) if lock.keys is not None else Vouched(user=name)
