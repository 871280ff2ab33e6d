"""Proofs of holding the key."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from server_room_system.protocol.proof import prove

KEY = bytes(range(32))


def test_it_is_the_documented_hmac() -> None:
    told = (25).to_bytes(8, "big") + b"server-room-system/1/role" + bytes(7) + b"\x02ab" + bytes(8)
    assert prove(KEY, "role", b"ab", b"") == hmac.new(KEY, told, hashlib.sha256).digest()


PROOFS = st.tuples(st.sampled_from([KEY, bytes(32)]), st.sampled_from(["worker", "broker"]), st.lists(st.binary()))


@given(PROOFS, PROOFS)
def test_two_proofs_are_equal_only_for_the_same_key_role_and_parts(
    one: tuple[bytes, str, list[bytes]], other: tuple[bytes, str, list[bytes]]
) -> None:
    same = prove(one[0], one[1], *one[2]) == prove(other[0], other[1], *other[2])
    assert same is (one == other)


def test_the_border_between_parts_counts() -> None:
    listed = [[b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"", b"abc"], [b"ab", b"c", b""]]
    assert len({prove(KEY, "worker", *parts) for parts in listed}) == len(listed)
    assert prove(KEY, "worker", b"x") != prove(KEY, "workerx")
