"""Messages that are refused: said at once, and said again where that may be lost, before anything is acknowledged."""

from typing import Any

import pytest

from server_room_system import Code, ConfigError, Limits, Member, NotAMember, RequestRefused, Server, on_message
from server_room_system.protocol import Ack, Error

from .fakes import Bench, Diary, FakeCaller, Gate


class Picky(Diary):
    message_burst = 400

    def __init__(self) -> None:
        super().__init__()
        self.gate: Gate | None = None

    @on_message("number")
    def number(self, client: Member, data: int) -> None:
        self.events.append(("number", data))

    @on_message("polite")
    def refuse(self, client: Member, data: Any) -> None:
        raise RequestRefused("not now", data)

    @on_message("confusing")
    def confuse(self, client: Member, data: Any) -> None:
        raise NotAMember("of the club")

    @on_message("slow")
    async def slow(self, client: Member, data: Any) -> None:
        assert self.gate is not None
        await self.gate
        raise RequestRefused("too late", data)


def errors(caller: FakeCaller) -> list[Any]:
    """What a client was told of its messages on one connection, in order: the code of a refusal, or an ACK's number."""
    told = [message for message in caller.heard if isinstance(message, Error | Ack)]
    return [(message.ask, message.code) if isinstance(message, Error) else message.number for message in told]


def test_a_refusal_that_was_lost_is_said_again_ahead_of_the_acknowledgement() -> None:
    ann = Bench(Picky()).join()
    ann.confirm()
    for data in (1, "two", 3, "four"):
        ann.send("number", data)
    ann.come_back()
    ann.confirm()
    bad = int(Code.BAD_PAYLOAD)
    assert errors(ann.caller) == [(2, bad), (4, bad), 4]
    assert {error.ref for error in ann.listen().errors[2:]} == {ann.ref}


def test_what_a_client_knows_to_be_refused_is_not_said_again() -> None:
    ann = Bench(Picky()).join()
    for data in ("one", 2, "three"):
        ann.send("number", data)
    ann.confirm(known=2)
    ann.come_back()
    ann.confirm(known=2)
    assert errors(ann.caller) == [(3, int(Code.BAD_PAYLOAD)), 3]
    ann.confirm(known=3)
    ann.come_back()
    ann.confirm(known=3)
    assert errors(ann.caller) == [3]


def test_on_a_connection_that_stands_a_refusal_is_said_once() -> None:
    ann = Bench(Picky()).join()
    ann.send("number", "one")
    ann.confirm()
    ann.confirm()
    assert errors(ann.caller) == [(1, int(Code.BAD_PAYLOAD)), 1, 1]


def test_a_refusal_while_nobody_is_there_is_said_to_who_comes_back() -> None:
    room = Picky()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("slow", 7)
    ann.drop()
    with bench.out.turn():
        room.gate.open()
    ann.come_back()
    ann.confirm()
    assert errors(ann.caller) == [(1, int(Code.REQUEST_REFUSED)), 1]
    assert ann.listen().errors[-1].data == 7


def test_a_hook_that_refuses_a_message_tells_its_sender_why() -> None:
    room = Picky()
    ann = Bench(room).join()
    number = ann.send("polite", {"after": 3})
    [told] = ann.listen().errors
    assert told == Error(ann.ref, number, int(Code.REQUEST_REFUSED), "not now", {"after": 3})
    assert ("error", "refuse ('polite')", RequestRefused) in room.events


@pytest.mark.parametrize("data", [object(), {1: 2}, "x" * 2000], ids=["no value", "keys", "long"])
def test_details_of_a_refusal_that_cannot_be_sent_are_left_out(data: Any) -> None:
    room = Picky()
    bench = Bench(room)
    ann = bench.join()
    room.handlers.messages["polite"] = room.handlers.messages["polite"]._replace(
        function=lambda room, client, _: room.refuse(client, data)
    )
    ann.send("polite")
    [told] = ann.listen().errors
    assert (told.text, told.data) == ("not now", None)


def test_no_more_refusals_are_kept_than_messages_may_be_under_way() -> None:
    ann = Bench(Picky()).join()
    for _ in range(300):
        ann.send("number", "no")
    ann.come_back()
    ann.confirm()
    told = errors(ann.caller)
    assert told[-1] == 300
    assert [number for number, _ in told[:-1]] == list(range(45, 301))


def test_each_32nd_number_is_acknowledged_whatever_it_is() -> None:
    ann = Bench(Picky()).join()
    for _ in range(31):
        ann.send("number", 1)
    ann.request("nothing of this name")
    assert ann.listen().acked == [32]


def test_a_refusal_while_a_hook_waits_is_not_put_off_by_it() -> None:
    room = Picky()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("number", "one")
    ann.send("slow", 2)
    ann.come_back()
    ann.confirm()
    assert errors(ann.caller) == [(1, int(Code.BAD_PAYLOAD))]
    with bench.out.turn():
        room.gate.open()
    assert errors(ann.caller)[1:] == [(2, int(Code.REQUEST_REFUSED)), 2]


def test_a_hook_cannot_end_a_membership_by_what_it_raises() -> None:
    ann = Bench(Picky()).join()
    ann.send("confusing")
    [told] = ann.listen().errors
    assert (told.code, told.text) == (int(Code.REQUEST_REFUSED), "of the club")


def test_an_acknowledgement_that_was_asked_for_on_an_older_connection_does_not_overtake_a_refusal() -> None:
    room = Picky()
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("number", "one")
    ann.send("slow", 2)
    ann.confirm()
    ann.come_back()
    with bench.out.turn():
        room.gate.open()
    told = errors(ann.caller)
    assert told.index((1, int(Code.BAD_PAYLOAD))) < told.index(2)


def test_what_waits_between_two_acknowledgements_is_not_overtaken_by_the_second() -> None:
    """One acknowledgement asks for the next as it is said: that must not come before the messages between them."""
    room = Picky()
    room.gate = first = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("slow")
    ann.confirm()
    ann.send("slow")
    ann.send("number", 3)
    ann.confirm()
    room.gate = second = Gate()
    with bench.out.turn():
        first.open()
    assert ann.listen().acked == [1]
    with bench.out.turn():
        second.open()
    assert ann.listen().acked == [1, 3]
    assert ("number", 3) in room.events


def test_acknowledgements_do_not_pile_up_behind_a_hook_that_waits() -> None:
    room = Picky()
    room.message_rate = None
    room.gate = Gate()
    bench = Bench(room)
    ann = bench.join()
    ann.send("slow")
    for number in range(2000):
        ann.send("number", number)
        if not number % 50:
            ann.confirm()
    assert len(bench.runner.mailbox) <= 1024 + 1
    assert ann.listen().acked == []
    with bench.out.turn():
        room.gate.open()
    assert ann.listen().acked[-1] == 2001
    assert len(ann.acked) == 2


def test_no_more_messages_may_be_under_way_than_refusals_are_remembered() -> None:
    Server(limits=Limits(unacked=256))
    with pytest.raises(ConfigError, match="unacked is at most 256"):
        Server(limits=Limits(unacked=257))
