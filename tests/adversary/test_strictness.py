"""Messages that mean nothing by the protocol's tables must not be taken for their neighbours."""

import pytest

from .target import Target
from .wire import ACK, DELIVER, ERROR, LEAVE, LIST, REQUEST, ROOMS, SEND, peer

BAD_MESSAGE, NOT_A_MEMBER = 1000, 1004


@pytest.mark.parametrize("kind", [SEND, REQUEST])
def test_a_kind_is_no_float(target: Target, kind: int) -> None:
    with target.watched(), peer(target.address) as one:
        yard = one.hello().create("yard")
        one.say(float(kind), yard.ref, 1, "echo", "with a float as kind")
        answers = one.all() + one.all()
        assert [(answer[0], answer[3]) for answer in answers] == [(ERROR, BAD_MESSAGE)]


def test_leave_is_for_memberships_and_ends_no_session(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        one.hello()
        one.say(LEAVE, one.ref)
        assert [(answer[0], answer[3]) for answer in one.all()] == [(ERROR, NOT_A_MEMBER)]
        assert one.ask(LIST, None, {})[0] == ROOMS


def test_binary_keys_are_tolerated_in_every_payload_alike(target: Target) -> None:
    with target.watched(), peer(target.address) as one:
        yard = one.hello().create("yard")
        heard = []
        for data in ({b"k": [1]}, {b"k": 1}):
            yard.send("message", data)
            one.say(ACK, yard.ref, 0)
            heard += [item for message in one.all() + one.all() if message[0] == DELIVER for item in message[4]]
        assert heard == [[0, "message", {b"k": [1]}], [0, "message", {b"k": 1}]]


def test_a_room_made_in_this_turn_is_known_to_all_in_the_next(target: Target) -> None:
    with target.watched(), peer(target.address) as one, peer(target.address) as other:
        yard = one.hello().create("yard")
        other.hello()
        target.stats()  # answered between turns
        other.enter(yard.room)
