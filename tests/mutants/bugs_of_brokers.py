"""Bugs of brokers and workers: leases, sessions, matches, and who is let in."""

from .mutant import bug

__all__ = ["BROKERS"]

BROKERS = [
    # Workers and leases.
    bug(
        "a lease never ends for its worker",
        "rooms/registration.py",
        "if self.state is RegistrationState.SERVING and now >= self._lease_until:",
        "if self.state is RegistrationState.SERVING and now >= self._lease_until + 1e9:",
        "tests/rooms/test_registration.py::test_a_worker_whose_broker_is_silent_stops_before_the_lease_ends",
    ),
    bug(
        "a lease counts from the answer, not from the question",
        "rooms/registration.py",
        "max(self._lease_until, sent + self._lease - _MARGIN)",
        "max(self._lease_until, now + self._lease - _MARGIN)",
        "tests/rooms/test_registration.py::test_a_lease_counts_from_when_the_renewal_was_sent",
    ),
    bug(
        "orders of an earlier generation are obeyed",
        "rooms/registration.py",
        "            if message.generation == self.generation:\n                self._out.obey(message.items)",
        "            if message.generation <= self.generation:\n                self._out.obey(message.items)",
        "tests/rooms/test_registration.py::test_a_broker_that_knows_nothing_takes_the_rooms_over",
    ),
    bug(
        "a worker of the last generation that was given up is let in with its rooms",
        "broker/registrar.py",
        "if self._first_generation <= message.generation <= self._workers.last_generation:",
        "if self._first_generation <= message.generation < self._workers.last_generation:",
        "tests/broker/test_registrar.py::test_a_worker_that_falls_silent_is_given_up_after_its_lease",
        "tests/broker/test_registrar.py::test_a_worker_that_does_not_come_back_is_gone_after_a_moment",
    ),
    bug(
        "a generation is given twice",
        "broker/workers.py",
        "self.last_generation = max(self.last_generation, at_least) + 1",
        "self.last_generation = max(self.last_generation, at_least + 1)",
        "tests/broker/test_registrar.py::test_generations_grow",
    ),
    bug(
        "what a worker that came back has lost is not settled",
        "broker/registrar.py",
        "                self._out.worker_report(record, Unseated(room, session) if session else RoomEnded(room))\n",
        "                pass\n",
        "tests/broker/test_registrar.py::test_what_a_returned_worker_does_not_name_again_has_ended",
    ),
    bug(
        "a dead worker's rooms stay in the directory",
        "broker/broker.py",
        "            self._room_ended(record, room)\n            for session_id",
        "            for session_id",
        "tests/broker/test_broker_workers.py::test_members_of_a_lost_worker_are_told_so_once_and_can_be_matched_again",
    ),
    bug(
        "another worker's room can be ended",
        "broker/directory.py",
        "        if known is None or known.worker is not worker:\n            return None",
        "        if known is None:\n            return None",
        "tests/broker/test_broker_workers.py::test_what_a_worker_says_of_rooms_that_are_not_its_own_has_no_effect",
    ),
    bug(
        "a proof is good for every role",
        "protocol/proof.py",
        "_DOMAIN + role.encode()",
        "_DOMAIN",
        "tests/protocol/test_proof.py::test_it_is_the_documented_hmac",
        "tests/broker/test_registrar.py::test_a_brokers_own_proof_is_not_a_workers",
    ),
    # Sessions and matches.
    bug(
        "a resume token is not replaced",
        "broker/sessions.py",
        "        self.serial = max(self.serial, shown) + 1\n",
        "        self.serial = max(self.serial, shown, 1)\n",
        "tests/broker/test_tokens.py::test_a_session_that_was_taken_back_is_an_ordinary_one",
    ),
    bug(
        "an older token of an earlier broker's life is good: >= for >",
        "broker/sessions.py",
        "else serial > self.serial",
        "else serial >= self.serial",
        "tests/broker/test_tokens.py::test_a_token_of_an_earlier_life_with_the_number_of_the_present_one_is_not_good",
    ),
    bug(
        "a resume displaces nobody",
        "broker/reception.py",
        "            self._take_off(session, older)\n",
        "",
        "tests/broker/test_reception.py::test_a_session_that_moves_takes_its_memberships_off_the_older_connection",
    ),
    bug(
        "a ticket is used twice",
        "broker/matchmaking.py",
        "        self._remove(ticket)\n\n    def _remove",
        "        if how is not TicketEvent.MATCH:\n            self._remove(ticket)\n\n    def _remove",
        "tests/broker/test_broker.py::test_clients_who_want_the_same_get_a_room_of_their_own",
    ),
    bug(
        "a ticket that was cancelled is matched",
        "broker/searches.py",
        "self._queues.cancel(search.ticket)\n            search.ticket = None",
        "search.ticket = None",
        "tests/broker/test_broker.py::test_a_match_can_be_cancelled_until_it_is_made",
    ),
    bug(
        "a cancel after the match is acknowledged as one",
        "broker/searches.py",
        "            self._give_up_seat(session, search)  # matched before it could be cancelled",
        "            session.say(Error(session.ref, ask, int(Code.MATCH_CANCELLED), MatchCancelled.meaning, None))\n"
        "            self._give_up_seat(session, search)  # matched before it could be cancelled",
        "tests/broker/test_broker.py::test_a_cancel_that_comes_too_late_gives_the_seat_back",
    ),
    bug(
        "who is away is matched",
        "broker/searches.py",
        "            self._queues.set_aside(search.ticket)\n",
        "            pass\n",
        "tests/broker/test_broker.py::test_nobody_who_is_away_is_matched_and_who_is_back_has_the_old_place",
    ),
    bug(
        "a seat that was given up is not released",
        "broker/searches.py",
        "        self._release(session, {search.assigned.room}, joined=False)\n",
        "",
        "tests/broker/test_broker.py::test_a_client_who_asks_again_has_changed_its_mind_about_the_seat_it_did_not_take",
    ),
    # What strangers send.
    bug(
        "nothing bounds how deep a message is",
        "protocol/codec.py",
        "_NOT_HEADS)) > nesting and",
        "_NOT_HEADS)) > nesting << 20 and",
        "tests/protocol/test_codec.py::test_nesting_is_exact",
    ),
    bug(
        "a request to the broker is as large as a message",
        "rooms/port.py",
        "        elif size > self.port.limits.control:\n            raise TooLarge",
        "        elif size > self.port.limits.upload:\n            raise TooLarge",
        "tests/rooms/test_port.py::test_requests_are_smaller_than_messages",
    ),
    # Addresses, keys and credentials.
    bug(
        "failed authentications slow nobody down",
        "rooms/addresses.py",
        "page.refused_until = now + min(",
        "page.refused_until = 0 * min(",
        "tests/rooms/test_addresses.py::test_failures_slow_an_address_down_for_a_time_that_doubles",
    ),
    bug(
        "connections that are over count for their address",
        "rooms/addresses.py",
        "page.connections -= 1",
        "page.connections -= 0",
        "tests/rooms/test_addresses.py::test_an_address_has_so_many_connections_and_another_one_as_many",
    ),
    bug(
        "a seat is good for another key",
        "rooms/seats.py",
        "if seat is None or seat.owner != owner or (sessions",
        "if seat is None or (sessions",
        "tests/rooms/test_seats.py::test_a_seat_is_its_keys_alone",
    ),
    bug(
        "a downlink is good for another key",
        "rooms/downlinks.py",
        "if offer.holder.owner != vouched.key:",
        "if False:",
        "tests/rooms/test_downlinks.py::test_a_token_is_worth_nothing_on_a_connection_of_another_key",
    ),
    bug(
        "an answer that comes too late opens a session",
        "broker/auth.py",
        "        if asking not in self._waiting:\n            return None\n",
        "",
        "tests/broker/test_auth.py::test_a_hook_that_takes_too_long_is_given_up",
    ),
    bug(
        "the same bytes are forgiven again and again",
        "transport/watch.py",
        "        self._at = now\n",
        "",
        "tests/transport/test_watch.py::test_what_was_heard_is_no_excess",
    ),
]
