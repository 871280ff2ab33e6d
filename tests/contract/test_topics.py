"""Publishers and subscriptions: who gets what is published, who does not, and what is told of both."""

import asyncio

import pytest

from server_room_system import AddressInUse, ConfigError
from server_room_system.protocol import MEMBER_TOPIC, ROOM_TOPIC
from server_room_system.transport import Sent

from .ground import LARGEST, Gate, Ground, Mouth, on_both, on_memory, on_zeromq, shout

ROOM, OTHER_ROOM = ROOM_TOPIC + b"r" * 16, ROOM_TOPIC + b"o" * 16
ANN, BOB = MEMBER_TOPIC + b"a" * 16, MEMBER_TOPIC + b"b" * 16
ANNS, BOBS, CATS = b"ann's token, 16.", b"bob's token, 16.", b"cat's token, 16."


@on_both
async def test_what_is_published_on_granted_topics_comes_in_one_order(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, ann, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, bob, _ = await ground.admit(publisher, gate, BOBS, ROOM, BOB)
    said: dict[bytes, list[bytes]] = {ANN: [], BOB: []}
    for number in range(200):
        topic = (ROOM, ANN, BOB)[number % 3]
        publisher.publish(topic, b"%d" % number)
        for whose, frames in said.items():
            if topic in (ROOM, whose):
                frames.append(b"%d" % number)
    await ground.until(lambda: len(ann.frames) == len(said[ANN]) and len(bob.frames) == len(said[BOB]))
    assert (ann.frames, bob.frames) == (said[ANN], said[BOB])


@on_both
async def test_what_is_published_before_the_grant_is_not_for_the_newcomer(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, mouth = await ground.attach(publisher)
    publisher.publish(ROOM, b"before")
    gate.topics[ANNS] = [ROOM]
    subscription.present(ANNS)
    await ground.until(lambda: gate.granted)
    publisher.publish(ROOM, b"after")
    await ground.until(lambda: mouth.frames)
    assert mouth.frames == [b"after"]


@on_both
async def test_who_shows_no_good_token_gets_nothing(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, ann, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, silent = await ground.attach(publisher)
    unknown, refused = await ground.attach(publisher)
    unknown.present(CATS)
    await ground.until(lambda: CATS in (token for token, _ in gate.shown))
    publisher.publish(ROOM, b"for members")
    await ground.heard_on(publisher, ROOM, ann)
    await ground.quiet()
    assert (silent.frames, refused.frames, silent.reasons, refused.reasons) == ([], [], [], [])
    assert [token for token, _ in gate.granted] == [ANNS]


@on_both
async def test_who_asks_for_topics_by_name_or_for_everything_gets_nothing(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, ann, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    spies: list[Mouth] = []
    for wish in (b"", ROOM, ANN, ROOM[:1], ANNS + b"!", ANNS[:-1]):
        spy, mouth = await ground.attach(publisher)
        shout(spy, b"\1" + wish)
        spies.append(mouth)
    await ground.quiet()
    publisher.publish(ROOM, b"for members")
    await ground.heard_on(publisher, ANN, ann)
    await ground.quiet()
    assert [spy.frames for spy in spies] == [[]] * len(spies)
    assert [token for token, _ in gate.granted] == [ANNS]


@on_both
async def test_two_rooms_hear_their_own(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, ann, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, bob, _ = await ground.admit(publisher, gate, BOBS, OTHER_ROOM, BOB)
    for topic in (ROOM, OTHER_ROOM, ANN, BOB):
        publisher.publish(topic, topic)
    await ground.until(lambda: len(ann.frames) == len(bob.frames) == 2)
    assert (ann.frames, bob.frames) == ([ROOM, ANN], [OTHER_ROOM, BOB])


@on_both
async def test_a_token_is_good_again_after_a_reconnect_and_each_loss_is_told_once(ground: Ground) -> None:
    publisher, gate = ground.publish()
    peers: list[int] = []
    for round_ in range(1, 6):
        subscription, mouth, peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
        peers.append(peer)
        subscription.close()
        subscription.close()
        await ground.until(lambda expected=round_: len(gate.lost) == expected)  # type: ignore[misc]
        assert mouth.reasons == []
    assert gate.lost == [(ANNS, peer) for peer in peers]
    assert len(set(peers)) == 5
    await ground.eventually(lambda: publisher.connections == 0)


@on_both
async def test_of_two_connections_with_one_token_the_one_that_is_lost_is_told(ground: Ground) -> None:
    publisher, gate = ground.publish()
    old, _, old_peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, new, new_peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    assert new_peer != old_peer
    old.close()
    await ground.until(lambda: gate.lost)
    await ground.quiet()
    assert gate.lost == [(ANNS, old_peer)]
    await ground.heard_on(publisher, ANN, new)


@on_both
async def test_two_tokens_on_one_connection_are_two_grants_with_one_end_each(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, mouth, peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    gate.topics[BOBS] = [OTHER_ROOM, BOB]
    subscription.present(BOBS)
    await ground.until(lambda: (BOBS, peer) in gate.granted)
    await ground.heard_on(publisher, OTHER_ROOM, mouth)
    await ground.heard_on(publisher, ROOM, mouth)
    for _ in range(3):  # once more what it has already
        shout(subscription, b"\1" + ANNS)
    await ground.quiet()
    assert mouth.reasons == []
    subscription.close()
    await ground.until(lambda: len(gate.lost) == 2)
    await ground.quiet()
    assert gate.lost == [(ANNS, peer), (BOBS, peer)]


@on_both
async def test_a_token_that_is_good_for_new_topics_is_granted_them_as_well(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, mouth, peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    gate.topics[ANNS] = [OTHER_ROOM, ANN]
    subscription.present(ANNS)
    await ground.until(lambda: len(gate.shown) == 2)
    await ground.heard_on(publisher, OTHER_ROOM, mouth)
    subscription.close()
    await ground.until(lambda: gate.lost)
    assert gate.lost == [(ANNS, peer)]


@on_both
async def test_a_cut_connection_is_gone_once_and_hears_so(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, ann, peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, bob, _ = await ground.admit(publisher, gate, BOBS, ROOM, BOB)
    ann.frames.clear()
    assert publisher.cut(peer)
    subscription.present(ANNS)  # it is not granted anything any more
    assert publisher.cut(peer)
    await ground.until(lambda: gate.lost and ann.reasons)
    assert publisher.cut(peer), "there is nobody to cut any more"
    publisher.publish(ROOM, b"for who is left")
    await ground.heard_on(publisher, ROOM, bob)
    await ground.quiet()
    assert (gate.lost, ann.reasons) == ([(ANNS, peer)], ["the connection was lost"])
    assert (ann.frames, bob.frames, bob.reasons) == ([], [b"for who is left"], [])
    assert publisher.connections == 1


@on_both
async def test_cancelling_takes_nothing_back_and_ends_nothing(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, mouth, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    shout(subscription, b"\0" + ANNS)
    await ground.quiet()
    assert gate.lost == []
    await ground.heard_on(publisher, ROOM, mouth)


@on_both
async def test_a_user_message_costs_the_connection_and_nobody_elses(ground: Ground) -> None:
    publisher, gate = ground.publish()
    bad, bad_mouth, bad_peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, bob, _ = await ground.admit(publisher, gate, BOBS, ROOM, BOB)
    shout(bad, b"a user message")
    await ground.until(lambda: gate.lost and bad_mouth.reasons)
    assert gate.lost == [(ANNS, bad_peer)]
    _, cat, _ = await ground.admit(publisher, gate, CATS, OTHER_ROOM)
    await ground.heard_on(publisher, BOB, bob)
    assert (bob.reasons, cat.reasons) == ([], [])


@on_both
async def test_a_third_token_costs_the_connection(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, mouth, peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    gate.topics |= {BOBS: [OTHER_ROOM], CATS: [OTHER_ROOM]}
    for token in (BOBS, CATS):
        shout(subscription, b"\1" + token)
    await ground.until(lambda: gate.lost and mouth.reasons)
    assert CATS not in (token for token, _ in gate.granted)
    assert (ANNS, peer) in gate.lost


@on_both
async def test_who_presents_too_often_is_cut(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, mouth = flooder, _ = await ground.attach(publisher)
    _, bob, _ = await ground.admit(publisher, gate, BOBS, ROOM, BOB)
    for _ in range(100):
        shout(flooder, b"\1" + CATS)
    await ground.until(lambda: mouth.reasons)
    assert len(gate.shown) < 50
    await ground.heard_on(publisher, ROOM, bob)


@on_memory
async def test_a_token_is_shown_ever_less_often_until_a_frame_comes(ground: Ground) -> None:
    publisher, gate = ground.publish()
    times: list[float] = []
    loop = asyncio.get_running_loop()
    _, bob, _ = await ground.admit(publisher, gate, BOBS, ROOM, BOB)  # keeps nobody waiting for a first frame
    subscription, mouth = await ground.attach(publisher)
    gate.topics[ANNS] = [OTHER_ROOM]
    begun = loop.time()
    subscription.present(ANNS)
    for shown in range(1, 8):
        await ground.until(lambda expected=shown: len(gate.shown) == expected + 1)  # type: ignore[misc]
        times.append(round(loop.time() - begun, 1))
    assert times == [0.0, 0.3, 0.8, 1.8, 3.8, 7.8, 11.8]
    publisher.publish(OTHER_ROOM, b"at last")
    await ground.until(lambda: mouth.frames)
    await asyncio.sleep(10)
    assert len(gate.shown) == 8
    assert (mouth.reasons, bob.reasons) == ([], [])


@on_memory
async def test_an_old_topics_frame_does_not_end_the_showing_of_another_token(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, mouth, peer = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    subscription.present(BOBS)  # the publisher does not know it yet
    publisher.publish(ROOM, b"something else")
    await ground.until(lambda: mouth.frames)
    gate.topics[BOBS] = [OTHER_ROOM]
    await ground.until(lambda: (BOBS, peer) in gate.granted)


@on_zeromq
async def test_a_token_is_shown_again_when_the_first_time_was_in_vain(ground: Ground) -> None:
    publisher, gate = ground.publish()
    subscription, _ = await ground.attach(publisher)
    subscription.present(ANNS)
    await ground.until(lambda: gate.shown)
    gate.topics[ANNS] = [ROOM]
    await ground.until(lambda: gate.granted)


@on_both
async def test_a_stranger_is_cut_after_a_while_and_a_member_is_not(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, ann, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, silent = await ground.attach(publisher)
    knocking, refused = await ground.attach(publisher)
    knocking.present(CATS)
    await ground.until(lambda: silent.reasons and refused.reasons)
    await ground.heard_on(publisher, ROOM, ann)
    await ground.eventually(lambda: publisher.connections == 1)
    assert ann.reasons == []


@on_both
async def test_a_slow_subscriber_loses_frames_and_holds_nobody_up(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, slow, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    _, quick, _ = await ground.admit(publisher, gate, BOBS, ROOM, BOB)
    hold(ground, slow)
    count, size = (1000, 10) if ground.kind == "memory" else (2000, 50_000)
    for number in range(count):
        publisher.publish(ROOM, b"%d " % number + bytes(size))
        if number % 20 == 0:
            await ground.until(lambda expected=number: len(quick.frames) > expected)  # type: ignore[misc]
    await ground.until(lambda: len(quick.frames) == count)
    release(ground, slow)
    publisher.publish(BOB, b"bob's")
    await ground.until(lambda: quick.frames[-1] == b"bob's")
    await ground.eventually(lambda: slow.frames)
    await ground.quiet()
    numbers = [int(frame.split(b" ")[0]) for frame in slow.frames]
    assert numbers == sorted(numbers)
    assert 0 < len(numbers) < count
    assert slow.reasons == []


def hold(ground: Ground, mouth: Mouth) -> None:
    """Let a subscriber read nothing any more."""
    made = ground.made_by(mouth)
    if ground.kind == "memory":
        made._wire.down._arrive = lambda: None
    else:
        asyncio.get_running_loop().remove_reader(made._fd)


def release(ground: Ground, mouth: Mouth) -> None:
    made = ground.made_by(mouth)
    if ground.kind == "memory":
        way = made._wire.down
        del way._arrive
        for _ in range(len(way.on_the_way)):
            way._arrive()
    else:
        asyncio.get_running_loop().add_reader(made._fd, made._turn)
        made._turn()


@on_both
async def test_a_frame_of_the_largest_size_comes_and_a_larger_one_costs_the_connection(ground: Ground) -> None:
    publisher, gate = ground.publish(largest=2 * LARGEST)
    _, mouth, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    publisher.publish(ROOM, bytes(LARGEST))
    await ground.until(lambda: mouth.frames)
    assert mouth.frames == [bytes(LARGEST)]
    publisher.publish(ROOM, bytes(LARGEST + 1))
    await ground.until(lambda: mouth.reasons and gate.lost)
    assert mouth.frames == [bytes(LARGEST)]


@on_both
async def test_a_closing_publisher_says_its_last_words(ground: Ground) -> None:
    publisher, gate = ground.publish()
    _, mouth, _ = await ground.admit(publisher, gate, ANNS, ROOM, ANN)
    publisher.publish(ANN, b"last words")
    publisher.close()
    publisher.close()
    await ground.until(lambda: mouth.reasons)
    assert (mouth.frames, mouth.reasons, gate.lost) == ([b"last words"], ["the connection was lost"], [])


@on_both
async def test_a_subscription_to_nobody_goes_down_once(ground: Ground) -> None:
    publisher, _ = ground.publish()
    address = publisher.address
    publisher.close()
    await ground.quiet()
    subscription, mouth = ground.subscribe(address)
    await ground.until(lambda: mouth.reasons)
    subscription.present(ANNS)
    await ground.quiet()
    assert (mouth.ups, mouth.reasons) == (0, ["nobody listens there"])


@on_both
async def test_a_subscription_that_is_closed_before_it_is_up_is_not_heard_of(ground: Ground) -> None:
    publisher, _ = ground.publish()
    subscription, mouth = ground.subscribe(publisher.address)
    subscription.present(ANNS)
    subscription.close()
    await ground.quiet()
    assert (mouth.ups, mouth.reasons) == (0, [])
    await ground.eventually(lambda: publisher.connections == 0)


@on_both
async def test_links_and_publishers_do_not_understand_each_other(ground: Ground) -> None:
    publisher, gate = ground.publish()
    listener, ear = ground.listen()
    link, link_mouth = ground.connect(publisher.address)
    _, subscription_mouth = ground.subscribe(listener.address)
    await ground.until(lambda: link_mouth.reasons and subscription_mouth.reasons)
    assert link.send(b"x") is Sent.GONE
    assert (link_mouth.ups, subscription_mouth.ups, gate.shown, ear.voices) == (0, 0, [], [])
    assert len(link_mouth.reasons) == len(subscription_mouth.reasons) == 1


@on_both
async def test_a_port_that_is_taken_is_refused(ground: Ground) -> None:
    publisher, _ = ground.publish()
    port = int(publisher.address.rpartition(":")[2])
    with pytest.raises(AddressInUse):
        ground.network.publish("127.0.0.1", port, Gate(asyncio.Event()), LARGEST)
    for address in ("127.0.0.1:1234", "tcp://127.0.0.1", ""):
        with pytest.raises(ConfigError, match="is no address"):
            ground.subscribe(address)


@on_memory
async def test_a_topic_is_granted_wrongly_on_demand(ground: Ground) -> None:
    network = ground.network
    assert not network.misgrant_one()  # type: ignore[attr-defined]
    publisher, gate = ground.publish()
    _, ann, _ = await ground.admit(publisher, gate, ANNS, ROOM)
    assert not network.misgrant_one()  # type: ignore[attr-defined]
    _, spy = await ground.attach(publisher)
    ann.frames.clear()
    assert network.misgrant_one()  # type: ignore[attr-defined]
    publisher.publish(ROOM, b"for members")
    await ground.until(lambda: ann.frames and spy.frames)
    assert not network.misgrant_one()  # type: ignore[attr-defined]
