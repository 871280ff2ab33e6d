"""Requests of members, and their answers: a reply, or a failure that says why there is none."""

from typing import TYPE_CHECKING, Any

from ..protocol.errors import Code, HandlerFailed, NoHandler, PayloadError, RequestError, RoomBusy
from ..protocol.messages import Item
from ..protocol.streams import renumbered
from .handlers import handler_for
from .member import Member
from .seats import SeatState

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["Answers"]


class Answers:
    """What members ask of a room, in the order of asking, and what they are answered.

    Args:
        runner: the room.
    """

    __slots__ = ("_runner",)

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner

    def request(self, member: Member, number: int, name: str, data: Any) -> None:
        """A member's request."""
        mailbox = self._runner.mailbox
        if mailbox.full:
            member.refuse(RoomBusy(), number)
        else:
            mailbox.post(self._request, member, number, name, data)

    def say_again(self, member: Member, seen: int) -> None:
        """A member is reset, and has seen its direct items up to ``seen``: what its requests were answered is no loss.

        Flush before.
        """
        runner = self._runner
        for request, older in member.replies.after(seen) if member.replies is not None else ():
            number = member.line.last_direct + 1
            item = renumbered(older, number)
            if not runner.fits(item):  # its number takes more bytes than the older one
                self._fail(member, request, HandlerFailed("the reply is lost"))
                continue
            member.remember(request, number, item)
            runner.send_item(member, item, None)

    def _request(self, member: Member, number: int, name: str, data: Any) -> None:
        if member.seat.state is SeatState.LEFT:
            return
        runner = self._runner
        try:
            handler, data = handler_for(runner.room.handlers.requests, name, data, spectator=member.spectator)
        except RequestError as error:
            self._fail(member, number, error)
            return
        if handler is None:
            self._fail(member, number, NoHandler(f"the room answers no request {name!r}"))
            return

        def replied(result: Any, error: BaseException | None) -> None:
            if error is not None:
                self._fail(member, number, error if isinstance(error, RequestError) else HandlerFailed())
                return
            try:
                self._answer(member, Item.REPLY, number, result)
            except PayloadError as problem:
                self._fail(member, number, HandlerFailed(f"the reply can't be sent: {problem}"))

        runner.mailbox.call(handler.name, handler.function, (runner.room, member, data), replied)

    def _fail(self, member: Member, number: int, error: RequestError) -> None:
        try:
            self._answer(member, Item.FAILURE, number, int(error.code), error.text[:512], error.data)
        except PayloadError as problem:  # what a handler puts into its error is a payload as well
            text = f"the error can't be sent: {problem}"
            self._answer(member, Item.FAILURE, number, int(Code.HANDLER_FAILED), text[:512], None)

    def _answer(self, member: Member, kind: Item, request: int, *fields: Any) -> None:
        number = member.line.last_direct + 1
        item = self._runner.pack((int(kind), number, request, *fields))
        if member.seat.state is SeatState.LEFT:
            return
        member.remember(request, number, item)
        self._runner.send_item(member, item, None)
