"""Bytes to values and back: msgpack with limits, and nothing else.

What comes from a peer is decoded once, whole, with every length bounded:
``unpackb`` with its default limits takes 34 MiB and 27 ms on a hostile 64 KiB
message. Neither extension types nor maps with keys other than strings and
bytes are taken. msgpack can't bound the depth, so ``unpack`` checks it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack

from .errors import BadMessage, PayloadError
from .limits import Limits

__all__ = ["check_type_name", "decoder", "download_decoder", "pack", "pack_payload", "upload_decoder"]

# Every msgpack container and extension begins with one of these bytes.
_HEADS = bytes([*range(0x80, 0xA0), 0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9), 0xDC, 0xDD, 0xDE, 0xDF])
_NOT_HEADS = bytes(byte for byte in range(256) if byte not in _HEADS)
_LONGEST_TYPE = 64
_CONTAINERS = (list, tuple, dict)

# One packer, reused: half the cost of packb. Reset by itself after each pack.
_packer = msgpack.Packer(use_bin_type=True, autoreset=True)
pack: Callable[[object], bytes] = _packer.pack
"""Encode a value that we made ourselves. Not for payloads: it leaves their errors as they are."""


def _too_deep(value: object, most: int) -> bool:
    # Level by level: a hostile frame holds 64 thousand containers, and a call for each is 15 ms.
    level: list[Any] = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(most):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _CONTAINERS)
        ]
    return bool(level)


def _refuse_ext(code: int, data: bytes) -> None:
    raise ValueError("an extension type")  # max_ext_len=0 lets the empty ones through


# What every receiver refuses, whatever its limits: keys that are not text, and extension types.
_readable = partial(msgpack.unpackb, raw=True, strict_map_key=True, max_ext_len=0, ext_hook=_refuse_ext)


def pack_payload(value: object, most: int, nesting: int, limits: Limits | None = None) -> bytes:
    """Encode something that holds a user's data.

    Args:
        value: what to encode.
        most: how many bytes it may have.
        nesting: how many containers within containers it may have.
        limits: whose arrays and maps it must fit; None bounds them by ``most`` alone.

    Raises:
        PayloadError: it holds what msgpack does not know or receivers refuse
            (keys that are not strings, extension types), or is over a limit.
    """
    try:
        encoded = pack(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        _packer.reset()
        raise PayloadError(f"can't be sent as msgpack: {error}. Send numbers, text, bytes, lists and maps.") from error
    if len(encoded) > most:
        raise PayloadError(f"{len(encoded)} bytes are over the limit of {most}")
    heads = len(encoded.translate(None, _NOT_HEADS))
    if heads > nesting and _too_deep(value, nesting):
        raise PayloadError(f"nested deeper than {nesting} containers")
    outer = type(value) is list or type(value) is tuple
    if limits is None and heads <= outer:
        return encoded  # one array of plain values: the commonest
    if limits is None and outer and heads == 2 and type(data := value[-1]) is dict:  # type: ignore[index]
        for key in data:  # and a map of plain values, the next
            if type(key) is not str and type(key) is not bytes:
                raise PayloadError(f"receivers refuse it: a map's keys are text, not {key!r:.40}")
        return encoded
    if limits is None or heads > outer or len(encoded) > limits.array:
        try:
            if limits is None:
                _readable(encoded)
            else:
                _readable(encoded, max_array_len=limits.array, max_map_len=limits.map)
        except ValueError as error:
            raise PayloadError(f"receivers refuse it: {error}. Maps have keys of text, and lists an end.") from error
    return encoded


def check_type_name(name: object) -> None:
    """Refuse what can't be a message's type. Raises PayloadError."""
    if type(name) is not str or len(name) > _LONGEST_TYPE:
        raise PayloadError(f"a message's type is a string of at most {_LONGEST_TYPE} characters, not {name!r:.80}")


def decoder(array: int, map: int, nesting: int, text: int) -> Callable[[bytes], Any]:  # noqa: A002
    """A function that decodes one frame of a peer.

    Args:
        array: the most elements of one array.
        map: the most pairs of one map.
        nesting: the most containers within containers.
        text: the most bytes of one string or binary.

    The function raises BadMessage, and nothing else, for bytes that are not
    exactly one msgpack value within these limits. The size of the frame is the
    caller's to check.
    """
    unpackb = partial(
        msgpack.unpackb,
        raw=False,
        strict_map_key=True,
        max_array_len=array,
        max_map_len=map,
        max_str_len=text,
        max_bin_len=text,
        max_ext_len=0,
        ext_hook=_refuse_ext,
    )

    def decode(frame: bytes) -> Any:
        try:
            value = unpackb(frame)
        except (ValueError, TypeError, msgpack.StackError, RecursionError) as error:
            raise BadMessage(f"not a msgpack value within the limits ({type(error).__name__})") from error
        # A value has no more levels than the frame has bytes that could begin a
        # container: one pass in C clears all but the rarest messages.
        if len(frame.translate(None, _NOT_HEADS)) > nesting and _too_deep(value, nesting):
            raise BadMessage(f"nested deeper than {nesting} containers")
        return value

    return decode


def upload_decoder(limits: Limits) -> Callable[[bytes], Any]:
    """Decodes what clients send: payloads within the announced limits, in one array."""
    return decoder(limits.array, limits.map, limits.nesting + 1, limits.upload)


def download_decoder(limits: Limits) -> Callable[[bytes], Any]:
    """Decodes what servers send: payloads in an item, in a bundle, in a message.

    A server's own arrays and maps are bounded by the frame's size alone.
    """
    return decoder(limits.download, limits.download, limits.nesting + 3, limits.download)
