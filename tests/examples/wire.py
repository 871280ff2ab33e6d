"""A wire between a client and its server that can be cut."""

import contextlib
import selectors
import socket
import struct
import threading

__all__ = ["Wire"]


class Wire:
    """Relays TCP connections to a port of this machine, on a thread. Use it with ``with``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        """Where clients connect to."""
        self._other: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._signal, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._relay, name="wire")

    def __enter__(self) -> "Wire":
        for end in (self._listener, self._signal):
            self._selector.register(end, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._wake.send(b"end")
        self._thread.join()
        for end in (self._listener, self._signal, self._wake):
            end.close()
        self._selector.close()

    def cut(self) -> None:
        """Reset all connections. New ones are relayed again."""
        self._wake.send(b"cut")

    def _relay(self) -> None:
        while True:
            for key, _ in self._selector.select():
                end = key.fileobj
                assert isinstance(end, socket.socket)
                if end is self._signal:
                    word = end.recv(3)
                    self._reset()
                    if word == b"end":
                        return
                elif end is self._listener:
                    self._connect(end.accept()[0])
                elif end in self._other:
                    self._carry(end)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self._other |= {near: far, far: near}
        for end in (near, far):
            self._selector.register(end, selectors.EVENT_READ)

    def _carry(self, end: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(65536)
        if data:
            with contextlib.suppress(OSError):
                self._other[end].sendall(data)
                return
        self._close(end)

    def _reset(self) -> None:
        for end in list(self._other):
            if end in self._other:
                self._close(end)

    def _close(self, end: socket.socket) -> None:
        for one in (end, self._other[end]):
            self._selector.unregister(one)
            del self._other[one]
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
            one.close()
