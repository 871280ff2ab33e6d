"""Seats against a naive model of them: never oversold, never given to a stranger, and every secret used once."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server_room_system import ClientData, IllegalTransition, ReservationRefused, RoomFull, RoomLocked
from server_room_system.protocol import step
from server_room_system.rooms.seats import SEAT, Seat, SeatEvent, Seats, SeatState

SESSIONS = ("ann", "bob", "cid")
TAKEN = (SeatState.RESERVED, SeatState.JOINED, SeatState.DROPPED)


@dataclass
class Model:
    """What is known of one seat."""

    seat: Seat
    session: str
    state: SeatState = SeatState.RESERVED
    confirmed: bool = False
    made: set[bytes] = field(default_factory=set)
    """Every secret that it ever had."""
    good: set[bytes] = field(default_factory=set)
    """Tokens that must work: the one that was made last, and the one that was shown for it."""
    void: set[bytes] = field(default_factory=set)
    """Tokens that must not work."""


class SeatsMachine(RuleBasedStateMachine):
    """Any order of events, several of them impossible in an honest world."""

    @initialize(capacity=st.integers(1, 4), gallery=st.integers(0, 2), seed=st.integers(0, 2**32))
    def open(self, capacity: int, gallery: int, seed: int) -> None:
        self.random = Random(seed)
        self.seats = Seats(capacity, self.random.randbytes, gallery)
        self.invited: set[int] = set()
        self.models: list[Model] = []
        self.secrets: list[bytes] = []
        self.locked = False

    def here(self) -> list[Model]:
        return [model for model in self.models if model.state in TAKEN]

    def players(self) -> list[Model]:
        return [model for model in self.here() if not model.seat.spectator]

    @property
    def full(self) -> bool:
        return len(self.players()) + len(self.invited) >= self.seats.capacity

    def in_state(self, *states: SeatState) -> list[Model]:
        return [model for model in self.models if model.state in states]

    def took(self, model: Model, seat: Seat, shown: bytes | None) -> None:
        assert seat is model.seat
        assert seat.session == model.session
        assert seat.deadline is None
        assert seat.token not in self.secrets, "a token was made twice"
        self.secrets.append(seat.token)
        model.made.add(seat.token)
        model.state = SeatState.JOINED
        model.confirmed = False
        model.good = {seat.token} | ({shown} if shown else set())

    # What happens to seats.

    @rule(session=st.sampled_from(SESSIONS), spectator=st.booleans())
    def reserve(self, session: str, spectator: bool) -> None:
        client = SESSIONS.index(session)
        wish: tuple[str, ClientData, dict[str, Any], float] = (session, ClientData(client, ""), {}, 5.0)
        looking = len(self.here()) - len(self.players())
        error: type[Exception] | None = None
        if spectator:
            error = RoomFull if looking >= self.seats.gallery else None
        elif client not in self.invited:
            error = RoomLocked if self.locked else RoomFull if self.full else None
        if error is not None:
            with pytest.raises(error):
                self.seats.reserve(*wish, spectator=spectator)
            return
        seat = self.seats.reserve(*wish, spectator=spectator)
        if not spectator:
            self.invited.discard(client)
        assert seat.spectator is spectator
        assert seat.deadline == 5.0
        assert seat.key not in [model.seat.key for model in self.models]
        assert seat.reservation not in self.secrets
        self.secrets.append(seat.reservation)
        self.models.append(Model(seat, session, made={seat.reservation}))

    @precondition(lambda self: self.models)
    @rule(data=st.data(), bound=st.booleans())
    def claim(self, data: st.DataObject, bound: bool) -> None:
        model = data.draw(st.sampled_from(self.models))
        sessions = frozenset((model.session, "a second session of the connection")) if bound else None
        may = model.state is SeatState.RESERVED or (model.state is SeatState.DROPPED and not model.confirmed)
        if not may or model.seat.reservation in model.void:
            with pytest.raises(ReservationRefused):
                self.seats.claim(model.seat.reservation, sessions)
            return
        seat = self.seats.claim(model.seat.reservation, sessions)
        self.took(model, seat, None)

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def claim_anothers(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.models))
        others = frozenset(SESSIONS) - {model.session}
        before = (model.seat.state, self.seats.reserved)
        with pytest.raises(ReservationRefused):
            self.seats.claim(model.seat.reservation, data.draw(st.sampled_from([others, frozenset()])))
        assert (model.seat.state, self.seats.reserved) == before

    @rule(data=st.data())
    def forge(self, data: st.DataObject) -> None:
        forged = self.random.randbytes(16)
        with pytest.raises(ReservationRefused):
            self.seats.claim(forged, None)
        with pytest.raises(ReservationRefused):
            self.seats.reclaim(forged)
        with pytest.raises(ReservationRefused):
            self.seats.reclaim(b"")
        if self.models:  # a reservation is no token, and a token no reservation
            model = data.draw(st.sampled_from(self.models))
            with pytest.raises(ReservationRefused):
                self.seats.reclaim(model.seat.reservation)
            with pytest.raises(ReservationRefused):
                self.seats.claim(model.seat.token, None)

    @precondition(lambda self: any(model.good for model in self.models))
    @rule(data=st.data())
    def reclaim(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from([model for model in self.models if model.good]))
        token = data.draw(st.sampled_from(sorted(model.good)))
        self.took(model, self.seats.reclaim(token), token)

    @precondition(lambda self: any(model.void for model in self.models))
    @rule(data=st.data())
    def reclaim_with_a_void_token(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from([model for model in self.models if model.void]))
        with pytest.raises(ReservationRefused):
            self.seats.reclaim(data.draw(st.sampled_from(sorted(model.void))))

    @precondition(lambda self: self.in_state(SeatState.JOINED))
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.in_state(SeatState.JOINED)))
        self.seats.confirm(model.seat)
        model.confirmed = True
        model.void |= model.made - {model.seat.token}
        model.good = {model.seat.token}

    @precondition(lambda self: self.models)
    @rule(data=st.data(), deadline=st.floats(10.0, 20.0))
    def drop(self, data: st.DataObject, deadline: float) -> None:
        model = data.draw(st.sampled_from(self.models))
        if model.state is not SeatState.JOINED:
            with pytest.raises(IllegalTransition):
                self.seats.drop(model.seat, deadline)
            return
        self.seats.drop(model.seat, deadline)
        assert model.seat.deadline == deadline
        model.state = SeatState.DROPPED

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.models))
        if model.state not in (SeatState.JOINED, SeatState.DROPPED):
            with pytest.raises(IllegalTransition):
                self.seats.leave(model.seat)
            return
        self.seats.leave(model.seat)
        self.over(model, SeatState.LEFT)

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from(self.models))
        if model.state is not SeatState.RESERVED:
            with pytest.raises(IllegalTransition):
                self.seats.expire(model.seat)
            return
        self.seats.expire(model.seat)
        self.over(model, SeatState.EXPIRED)

    def over(self, model: Model, state: SeatState) -> None:
        model.state = state
        model.void |= model.made
        model.good = set()
        assert model.seat.deadline is None

    @rule(client=st.integers(0, 2))
    def invite(self, client: int) -> None:
        if self.full and client not in self.invited:
            with pytest.raises(RoomFull):
                self.seats.invite(client)
            return
        self.seats.invite(client)
        self.invited.add(client)

    @rule(client=st.integers(0, 2))
    def uninvite(self, client: int) -> None:
        assert self.seats.uninvite(client) is (client in self.invited)
        self.invited.discard(client)

    @rule(clients=st.sets(st.integers(0, len(SESSIONS)), min_size=2))
    def ask_for_several(self, clients: set[int]) -> None:
        free = self.seats.capacity - len(self.players()) - len(self.invited)
        assert self.seats.have_room(clients) is (len(clients - self.invited) <= free)

    @rule()
    def lock(self) -> None:
        self.seats.locked = self.locked = not self.locked

    # What is always true.

    @invariant()
    def never_oversold(self) -> None:
        players, seats = self.players(), self.seats
        assert len(seats) == len(players) + len(self.invited) <= seats.capacity
        assert seats.free == seats.capacity - len(seats)
        assert seats.spectators == len(self.here()) - len(players) <= seats.gallery
        held = [model for model in self.in_state(SeatState.RESERVED) if not model.seat.spectator]
        assert seats.reserved == len(held) + len(self.invited)
        assert set(seats.invited) == self.invited

    @invariant()
    def the_same_seats(self) -> None:
        assert list(self.seats) == [model.seat for model in self.here()]
        assert all(model.seat.state is model.state for model in self.models)

    @invariant()
    def no_secret_outlives_its_seat(self) -> None:
        kept = {id(seat) for seat in (*self.seats._by_token.values(), *self.seats._by_reservation.values())}
        assert kept <= {id(model.seat) for model in self.here()}
        assert len(self.seats._by_token) <= 2 * len(self.here())


TestSeats = SeatsMachine.TestCase
TestSeats.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def taken(seats: Seats, session: str = "ann") -> Seat:
    seat = seats.reserve(session, ClientData(1, ""), {}, 5.0)
    return seats.claim(seat.reservation, None)


def test_a_reservation_is_used_once() -> None:
    seats = Seats(2, Random(1).randbytes)
    seat = taken(seats)
    with pytest.raises(ReservationRefused):
        seats.claim(seat.reservation, None)
    assert seats.reserved == 0


def test_a_reservation_claims_again_while_the_answer_may_be_lost() -> None:
    seats = Seats(1, Random(1).randbytes)
    seat = taken(seats)
    seats.drop(seat, 9.0)
    assert seats.claim(seat.reservation, None) is seat
    seats.confirm(seat)
    seats.drop(seat, 9.0)
    with pytest.raises(ReservationRefused):
        seats.claim(seat.reservation, None)


def test_the_token_that_brought_a_member_back_stays_good_until_the_next_one_has_arrived() -> None:
    seats = Seats(1, Random(1).randbytes)
    seat = taken(seats)
    first = seat.token
    assert seats.reclaim(first) is seat
    second = seat.token
    seats.confirm(seat)
    with pytest.raises(ReservationRefused):
        seats.reclaim(first)
    assert seats.reclaim(second) is seat


def test_a_member_whose_two_last_answers_crossed_a_lost_connection_is_not_locked_out() -> None:
    """It came back with a token that it had, but had not confirmed; the next answer was lost, and so was the seat."""
    seats = Seats(1, Random(1).randbytes)
    seat = taken(seats)
    seats.reclaim(seat.token)
    arrived = seat.token  # the client has it, and its confirmation is lost with the connection
    seats.reclaim(arrived)  # the answer to this never arrives
    assert seats.reclaim(arrived) is seat


@pytest.mark.parametrize("state", SeatState)
@pytest.mark.parametrize("event", SeatEvent)
def test_the_table_of_seats(state: SeatState, event: SeatEvent) -> None:
    allowed = {
        (SeatState.RESERVED, SeatEvent.JOIN): SeatState.JOINED,
        (SeatState.RESERVED, SeatEvent.EXPIRE): SeatState.EXPIRED,
        (SeatState.JOINED, SeatEvent.DROP): SeatState.DROPPED,
        (SeatState.JOINED, SeatEvent.LEAVE): SeatState.LEFT,
        (SeatState.DROPPED, SeatEvent.RECONNECT): SeatState.JOINED,
        (SeatState.DROPPED, SeatEvent.LEAVE): SeatState.LEFT,
    }
    if (state, event) in allowed:
        assert step(SEAT, state, event) is allowed[state, event]
        return
    with pytest.raises(IllegalTransition) as refused:
        step(SEAT, state, event)
    assert (refused.value.machine, refused.value.state, refused.value.event) == ("SeatState", state.value, event.value)


def test_a_seat_is_its_keys_alone() -> None:
    seats, key, other = Seats(2, Random(1).randbytes), bytes(32), b"\1" * 32
    bound = seats.reserve("s1", ClientData(1, ""), {}, 5.0, key)
    free = seats.reserve("s2", ClientData(2, ""), {}, 5.0)
    for seat, thieves in ((bound, (None, other)), (free, (key, other))):
        for thief in thieves:
            with pytest.raises(ReservationRefused):
                seats.claim(seat.reservation, None, thief)
        assert seat.state is SeatState.RESERVED
        assert seats.claim(seat.reservation, None, seat.owner) is seat
        for thief in thieves:
            with pytest.raises(ReservationRefused):
                seats.reclaim(seat.token, thief)
        assert seats.reclaim(seat.token, seat.owner) is seat


def test_a_full_room_holds_no_more_seats() -> None:
    seats = Seats(2, Random(1).randbytes)
    taken(seats)
    seats.reserve("ben", ClientData(2, ""), {}, 5.0)
    with pytest.raises(RoomFull):
        seats.reserve("cyd", ClientData(3, ""), {}, 5.0)
    assert (len(seats), seats.free) == (2, 0)
