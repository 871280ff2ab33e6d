"""Requests of members, and their answers."""

from typing import Any

import pytest

from server_room_system import Code, Member, RequestRefused, on_request

from .desk import Desk
from .fakes import Bench, Gate


def test_a_request_is_answered_with_what_its_handler_returns() -> None:
    bench = Bench(Desk())
    ann, bob = bench.join(), bench.join()
    one, two = ann.request("double", 4), ann.request("double", 5)
    assert ann.replies == {one: 8, two: 10}
    assert bob.replies == {}


def test_a_request_waits_for_its_async_handler() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    slow = ann.request("slow double", 4)
    quick = ann.request("double", 5)
    assert ann.replies == {}
    with bench.out.turn():
        room.gate.open()
    assert list(ann.replies.items()) == [(slow, 8), (quick, 10)]


@pytest.mark.parametrize(
    ("name", "data", "failure"),
    [
        ("refuse", {"price": 3}, (Code.REQUEST_REFUSED, "too poor", {"price": 3})),
        ("break request", 1, (Code.HANDLER_FAILED, "the room failed while handling this request", None)),
        ("double", "x", (Code.BAD_PAYLOAD, "expected int, got str", None)),
        ("unknown", 1, (Code.NO_HANDLER, "the room answers no request 'unknown'", None)),
        ("move", 1, (Code.NO_HANDLER, "the room answers no request 'move'", None)),
    ],
)
def test_a_request_that_fails_is_answered_as_well(name: str, data: Any, failure: tuple[Any, ...]) -> None:
    room = Desk()
    bench = Bench(room)
    ann = bench.join()
    number = ann.request(name, data)
    assert ann.replies == {number: failure}
    follow = ann.request("double", 2)
    assert ann.replies[follow] == 4


@pytest.mark.parametrize("name", ["refuse", "break request"])
def test_a_request_that_fails_is_told_to_on_error(name: str) -> None:
    room = Desk()
    bench = Bench(room)
    bench.join().request(name)
    assert room.names[-1] == "error"


def test_a_reply_that_cannot_be_sent_is_a_failure() -> None:
    bench = Bench(Desk())
    ann = bench.join()
    number = ann.request("nonsense")
    code, text, data = ann.replies[number]
    assert (code, data) == (Code.HANDLER_FAILED, None)
    assert "can't be sent" in text


def test_an_error_whose_data_cannot_be_sent_is_a_failure() -> None:
    class Worse(Desk):
        @on_request("worse")
        def worse(self, client: Member, data: Any) -> None:
            raise RequestRefused("x" * 2000, object())

    bench = Bench(Worse())
    ann = bench.join()
    number = ann.request("worse")
    code, text, data = ann.replies[number]
    assert (code, data) == (Code.HANDLER_FAILED, None)
    assert len(text) <= 512


def test_the_words_of_a_refusal_are_cut_to_what_a_message_holds() -> None:
    class Wordy(Desk):
        @on_request("wordy")
        def wordy(self, client: Member, data: Any) -> None:
            raise RequestRefused("x" * 2000)

    bench = Bench(Wordy())
    ann = bench.join()
    number = ann.request("wordy")
    assert ann.replies[number] == (Code.REQUEST_REFUSED, "x" * 512, None)


def test_a_reply_waits_for_a_member_who_dropped_meanwhile() -> None:
    room = Desk()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    number = ann.request("slow double", 4)
    ann.drop()
    with bench.out.turn():
        room.gate.open()
    assert ann.replies == {}
    ann.come_back()
    assert ann.replies == {number: 8}
