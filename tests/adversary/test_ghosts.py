"""Peers that speak and die while the server is busy: nobody stays for them, and nobody else dies in their place."""

import time
from contextlib import ExitStack

from .target import Target
from .wire import ERROR, HELLO, LIST, PING, WELCOME, Peer, Zmtp, peer

BUSY = 0.6
"""Seconds that a hook holds the server's loop up."""


def test_those_who_die_unheard_leave_no_ghost_and_take_nobody_with_them(target: Target) -> None:
    target.settles()
    with target.watched(), ExitStack() as stack, peer(target.address) as blocker:
        yard = blocker.hello().create("yard")
        yard.send("block", BUSY)
        time.sleep(0.05)
        links = [Zmtp(target.address) for _ in range(60)]
        for number, link in enumerate(links):
            dying = Peer(link)
            dying.say(HELLO, 1, [1], "ghost", {})
            if number % 2:
                dying.say(PING, 1)
        for number, link in enumerate(links):
            link.close(reset=number % 3 == 0)
        # These get some of the descriptors of the dead: what is told of the dead must not be taken for them.
        living = [Peer(stack.enter_context(Zmtp(target.address))) for _ in range(20)]
        for one in living:
            one.say(HELLO, 1, [1], "alive", {})
        for one in living:
            one.ref = one.wait(WELCOME)[3]
        deadline = time.monotonic() + 1.5  # less than the silence after which ghosts would be given up
        while target.stats()["sessions"] != 3 + 1 + 20:
            assert time.monotonic() < deadline, target.stats()
        assert target.stats()["connections"] == 3 + 1 + 20
        for one in living:
            assert one.ask(LIST, None, {})[0] != ERROR
        blocker.all()
    target.settles()


def test_descriptors_and_memory_stay_flat_while_peers_come_and_go(target: Target) -> None:
    target.settles()
    descriptors, sizes = target.descriptors(), []
    for _ in range(4):
        with target.watched():
            for number in range(150):
                with peer(target.address) as one:
                    if number % 3:
                        one.hello()
                    if number % 5 == 0:
                        one.hello().create("yard")
        target.settles()
        sizes.append(target.memory())
        assert target.descriptors() <= descriptors + 2
    assert sizes[-1] - sizes[0] < 4 * 1024 * 1024
