"""ZeroMQ's addresses of connections: they prove nothing, and nobody can tell them in advance."""

import itertools

from .target import SERVER, Process
from .wire import ACK, DELIVER, HELLO, PING, PONG, Gone, Peer, Zmtp, peer

SHOWING = SERVER.replace('"escaped": escaped,', '"escaped": escaped, "peers": [one.peer.hex() for one in host._port],')
"""The same server; it tells the routing ids that it knows."""


def test_the_first_routing_id_of_a_server_is_not_known_in_advance() -> None:
    # libzmq takes the first one from rand(), and counts on. Whoever knows the next
    # one can claim it, and the process aborts when libzmq gives it away a second time.
    assert "host._port]" in SHOWING
    first: list[str] = []
    for _ in range(3):
        with Process(SHOWING) as server, peer(server.answer()["address"]) as one:
            one.say(PING, 1)
            assert one.hear() == [PONG, 1]
            first += server.ask("stats")["peers"]
    assert len(first) == 3
    assert all(len(routing_id) == 10 and routing_id.startswith("00") for routing_id in first)
    numbers = sorted(int(routing_id, 16) for routing_id in first)
    assert all(later - earlier > 1000 for earlier, later in itertools.pairwise(numbers)), first


def test_claiming_the_routing_id_of_somebody_who_is_here_takes_nothing_from_them() -> None:
    with Process(SHOWING) as server:
        address = server.answer()["address"]
        with peer(address) as victim:
            yard = victim.hello().create("yard")
            (routing_id,) = server.ask("stats")["peers"]
            for _ in range(5):
                with Zmtp(address, bytes.fromhex(routing_id)) as link:
                    thief = Peer(link)
                    thief.say(PING, 1)
                    thief.say(HELLO, 1, [1], "thief", {})
                    thief.say(ACK, yard.ref, 0)
                    yard.send("message", "for one alone")
                    assert victim.wait(DELIVER)[4] == [[0, "message", "for one alone"]]
                    assert thief.hear(0.2) is None
                    assert server.ask("stats")["peers"] == [routing_id]
                    assert server.ask("stats")["sessions"] == 1
            yard.send("message", "and still here")
            assert victim.wait(DELIVER)[4] == [[0, "message", "and still here"]]
        # Once its owner is gone, the address leads nowhere: nothing of the membership hangs on it.
        with Zmtp(address, bytes.fromhex(routing_id)) as link:
            heir = Peer(link)
            try:
                heir.say(ACK, yard.ref, 0)
                yard.peer = heir
                yard.send("message", "in the name of the dead")
                messages = heir.hear(0.3)
                assert messages is None or messages[3] == 1004
            except Gone:
                pass
            assert b"in the name" not in b"".join(heir.heard)
