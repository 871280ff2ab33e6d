"""What is remembered of memberships that were given up."""

from server_room_system.client.contact import Contact
from server_room_system.client.given_up import GivenUp

from .fakes import Stage


def test_only_so_many_are_remembered_the_newest() -> None:
    contact, given_up = Stage().core.broker, GivenUp()
    assert isinstance(contact, Contact)
    for ref in range(1, 1001):
        given_up.add(contact, ref, ref + 5000)
    assert len(given_up) == 256
    assert given_up.covers(contact, 1000, 6000)
    assert not given_up.covers(contact, 744, 5744)
