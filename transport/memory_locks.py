"""Locks in the network in memory: who has the right key gets in; nothing is encrypted."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

from .locks import (
    NOBODY,
    Caller,
    CurveKey,
    Key,
    Lock,
    PlainKey,
    Verdict,
    Vouched,
    checked,
    why_broken,
    why_mismatched,
    why_refused,
)
from .network import Failure

__all__ = ["Knocking", "knock"]

logger = logging.getLogger(__name__.partition(".transport")[0] + ".transport")

_SILENCE = 3.0
"""Seconds after which the connection of a caller who is to come later ends, as with real sockets."""

_judging: set["asyncio.Task[None]"] = set()
"""Judgements that are awaited: the loop itself would forget them."""


class Knocking(Protocol):
    """A link or subscription that wants in."""

    failure: Failure | None

    def lost(self, reason: str) -> None: ...


def knock(
    who: Knocking, lock: Lock, key: Key | None, address: str, opened: Callable[[Vouched], None], context: Context
) -> None:
    """Try a key; either ``opened`` is called, or ``lost``. The lock's owner judges in its context."""
    if isinstance(key, CurveKey):
        caller, fits = Caller(address, key=key.keys.public), lock.keys is not None
    elif isinstance(key, PlainKey):
        caller, fits = Caller(address, user=key.user, password=key.password), lock.plain
    else:
        caller, fits = Caller(address), lock.keys is None and not lock.plain
    if not fits:
        _locked(who, why_mismatched(key))
        return
    if isinstance(key, CurveKey) and lock.keys is not None and key.server != lock.keys.public:
        _locked(who, why_broken(key))
        return

    def decided(verdict: Verdict) -> None:
        if verdict is Verdict.WELCOME:
            opened(Vouched(caller.key, caller.user) if key is not None else NOBODY)
        elif verdict is Verdict.NEVER:
            who.failure = Failure.REFUSED
            who.lost(why_refused(key))
        else:
            asyncio.get_running_loop().call_later(_SILENCE, put_off)

    def put_off() -> None:
        _locked(who, why_broken(key))

    def failed() -> Verdict:
        logger.exception("it could not be decided whether %s may connect", address)
        return Verdict.LATER

    try:
        verdict = context.run(lock.judge, caller)
        if not inspect.isawaitable(verdict):
            verdict = checked(verdict)
    except (Exception, SystemExit):  # noqa: BLE001  # it is logged
        verdict = failed()
    if isinstance(verdict, Verdict):
        decided(verdict)
        return
    awaited = verdict

    async def wait() -> None:
        try:
            async with asyncio.timeout(_SILENCE):
                answer = checked(await awaited)
        except TimeoutError:
            failed()
            put_off()
            return
        except (Exception, SystemExit):  # noqa: BLE001  # it is logged
            answer = failed()
        decided(answer)

    task = asyncio.ensure_future(wait())
    _judging.add(task)
    task.add_done_callback(_judging.discard)


def _locked(who: Knocking, reason: str) -> None:
    who.failure = Failure.LOCKED
    who.lost(reason)
