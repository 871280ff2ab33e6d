"""Requests whose reply was lost: answered from memory, and not run twice."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server_room_system import Code, Limits, Member, on_message, on_request
from server_room_system.protocol.codec import pack
from server_room_system.protocol.messages import Item
from server_room_system.protocol.streams import renumbered
from server_room_system.rooms.replies import Replies

from .fakes import Bench, Diary, Guest


class Shop(Diary):
    """Sells each thing once."""

    max_clients = 2
    message_rate = None

    def __init__(self) -> None:
        super().__init__()
        self.sold = 0

    @on_request("buy")
    def buy(self, client: Member, data: Any) -> Any:
        self.sold += 1
        return f"number {self.sold}"

    @on_request("steal")
    def steal(self, client: Member, data: Any) -> Any:
        raise ValueError

    @on_request("large")
    def large(self, client: Member, size: int) -> Any:
        return "x" * size

    @on_message("whisper")
    def whisper(self, client: Member, data: int) -> None:
        for number in range(data):
            client.send("whisper", number)


def forget(guest: Guest, direct: int) -> None:
    """What came behind this direct item was lost."""
    guest.listen()
    guest.items.clear()
    assert guest.reader is not None
    guest.reader.direct, guest.reader.offset = direct, 0


def test_a_reply_that_fell_out_of_the_history_follows_the_reset_and_the_hook_runs_once() -> None:
    room = Shop()
    ann = Bench(room).join()
    number, failed = ann.request("buy", "sword"), ann.request("steal")
    ann.send("whisper", 300)
    forget(ann, 0)
    ann.come_back()
    assert len(ann.listen().resets) == 1
    assert ann.replies == {
        number: "number 1",
        failed: (Code.HANDLER_FAILED, "the room failed while handling this request", None),
    }
    assert ann.heard == []
    assert room.sold == 1
    ann.come_back()
    assert len(ann.listen().resets) == 1
    ann.send("whisper", 2)
    assert ann.heard == [0, 1]


def test_a_reply_that_is_lost_again_is_said_again() -> None:
    ann = Bench(Shop()).join()
    number = ann.request("buy", "sword")
    for _ in range(3):
        ann.send("whisper", 300)
        forget(ann, 0)
        ann.come_back()
        assert ann.replies == {number: "number 1"}


def test_what_a_member_has_got_is_not_said_again() -> None:
    ann = Bench(Shop()).join()
    ann.request("buy", "sword")
    assert len(ann.replies) == 1
    later = ann.request("buy", "shield")
    before = ann.position.direct
    ann.send("whisper", 300)
    forget(ann, before - 1)  # it has got all but the last reply
    ann.come_back()
    assert ann.replies == {later: "number 2"}


def test_a_reply_of_the_largest_size_is_a_failure_where_its_number_has_grown() -> None:
    limits = Limits()
    room = Shop()
    ann = Bench(room, limits=limits).join()
    most = next(size for size in range(limits.download, 0, -1) if _fits(ann, size))
    ann.send("whisper", 300)
    number = ann.number - 1
    forget(ann, 0)
    ann.come_back()
    assert most > limits.download - 100
    assert ann.replies[number] == (Code.HANDLER_FAILED, "the reply is lost", None)


def _fits(ann: Guest, size: int) -> bool:
    number = ann.request("large", size)
    return isinstance(ann.replies[number], str)


def test_no_more_than_the_bound_is_kept() -> None:
    replies = Replies()
    for number in range(1, 100):
        replies.add(number, number, b"x" * 10)
    assert (len(replies), replies.size) == (64, 640)
    assert [request for request, _ in replies.after(97)] == [98, 99]
    replies.add(100, 100, b"x" * 256 * 1024)
    assert (len(replies), replies.size) == (1, 256 * 1024)
    replies.add(100, 101, b"again")
    assert (len(replies), replies.size) == (1, 5)


@given(st.integers(0, 1 << 53), st.integers(0, 1 << 53), st.integers(1, 1 << 32))
def test_an_item_with_another_number_is_the_item_with_that_number(old: int, new: int, request: int) -> None:
    rest = (request, {"gold": 3})
    assert renumbered(pack((int(Item.REPLY), old, *rest)), new) == pack((int(Item.REPLY), new, *rest))
