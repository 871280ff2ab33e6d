"""Bugs of rooms: seats, what members say, what rooms say."""

from .mutant import Mutant, bug

__all__ = ["ROOMS"]

ROOMS = [
    # Seats.
    bug(
        "a reservation is used twice",
        "rooms/seats.py",
        "and not seat.confirmed:\n            seat.step(SeatEvent.RECONNECT)\n        else:",
        "and not seat.confirmed:\n            seat.step(SeatEvent.RECONNECT)\n"
        "        elif seat.state is not SeatState.JOINED:",
        "tests/rooms/test_seats.py::test_a_reservation_is_used_once",
        "tests/rooms/test_worker.py::test_a_client_takes_its_seat_once_and_on_its_own_connection",
    ),
    bug(
        "a reservation is taken by another session",
        "rooms/seats.py",
        "if seat is None or seat.owner != owner or (sessions is not None and seat.session not in sessions):",
        "if seat is None or seat.owner != owner:",
        "tests/rooms/test_worker.py::test_a_client_takes_its_seat_once_and_on_its_own_connection",
    ),
    bug(
        "a member's token is not replaced",
        "rooms/seats.py",
        "        self.token = new_token(entropy)\n",
        "        self.token = self.token or new_token(entropy)\n",
        "tests/rooms/test_seats.py::test_the_token_that_brought_a_member_back_stays_good_until_the_next_one_has_arrived",
    ),
    bug(
        "a seat is freed twice",
        "rooms/attendance.py",
        "if member.seat.state is SeatState.LEFT or (\n            code is Code.GRACE_EXPIRED",
        "if (\n            code is Code.GRACE_EXPIRED",
        "tests/rooms/test_attendance.py::test_a_member_is_kicked_once",
    ),
    bug(
        "one seat more than there are",
        "rooms/seats.py",
        "            if not self.free:\n                raise RoomFull\n            self.reserved += 1\n        key",
        "            if self.free < 0:\n                raise RoomFull\n            self.reserved += 1\n        key",
        "tests/rooms/test_seats.py::test_a_full_room_holds_no_more_seats",
    ),
    Mutant(
        "the grace period goes on after a return",
        "rooms/attendance.py",
        (
            (
                "        runner.out.clear_alarm(self.time_is_up, seat.key)\n        runner.flush()\n",
                "        runner.flush()\n",
            ),
            (
                "if member.seat.state is SeatState.DROPPED:\n                self.remove",
                "if True:\n                self.remove",
            ),
            ("code is Code.GRACE_EXPIRED and member.seat.state is not SeatState.DROPPED", "False"),
        ),
        ("tests/rooms/test_attendance.py::test_who_is_back_in_time_stays_when_the_grace_period_would_be_over",),
    ),
    bug(
        "a release of what is held takes the seat of who has joined",
        "rooms/worker.py",
        "elif wanted.joined:",
        "else:",
        "tests/rooms/test_worker.py::test_a_seat_that_was_joined_meanwhile_is_not_released_with_what_is_only_held",
    ),
    # What members say.
    bug(
        "a number that was taken is taken again",
        "rooms/uplink.py",
        '        """Take a SEND: once, in its turn, within the rate."""\n',
        '        """Take a SEND: once, in its turn, within the rate."""\n'
        "        if len(message) == 5 and type(message[2]) is int and 0 < message[2] <= self.uplink:\n"
        "            self.take(message[3], message[4])\n            return\n",
        "tests/rooms/test_runner.py::test_a_message_that_comes_twice_is_applied_once",
    ),
    bug(
        "a gap in the numbers is passed over",
        "rooms/uplink.py",
        "        elif number > self.uplink + 1:\n            self.refuse(UplinkGap",
        "        elif number > self.uplink + 1 << 20:\n            self.refuse(UplinkGap",
        "tests/rooms/test_runner.py::test_a_gap_is_told_with_the_number_that_is_expected",
    ),
    bug(
        "a reference of an earlier join is good",
        "rooms/uplink.py",
        "            self.connection.refs.pop(self.ref, None)\n",
        "",
        "tests/rooms/test_attendance.py::test_leaving_is_answered_told_and_reported",
        "tests/rooms/test_attendance.py::test_a_member_may_come_back_before_its_connection_is_known_to_be_lost",
        "tests/rooms/test_worker.py::test_a_member_comes_back_on_another_connection",
    ),
    bug(
        "who has lost its connection is there for ever",
        "rooms/uplink.py",
        "            self.connection = None\n            self.on_lost()\n",
        "            self.connection = None\n",
        "tests/rooms/test_attendance.py::test_a_member_who_stays_away_is_gone_after_the_grace_period",
    ),
    bug(
        "acknowledged before it is applied",
        "rooms/runner.py",
        "self.mailbox.post_last(member.say_acknowledged, member.uplink)",
        "member.say_acknowledged(member.uplink)",
        "tests/rooms/test_runner.py::test_an_acknowledgement_is_said_when_all_before_it_is_applied",
    ),
    bug(
        "the burst of a rate is one more",
        "protocol/rates.py",
        "(burst + 0.001)",
        "(burst + 1.001)",
        "tests/protocol/test_rates.py::test_a_burst_passes_at_once_and_not_one_more",
    ),
    bug(
        "a rate forgets what was used",
        "protocol/rates.py",
        "(self._full_at if self._full_at > now else now)",
        "(self._full_at if self._full_at < now else now)",
        "tests/protocol/test_rates.py::test_a_burst_passes_at_once_and_not_one_more",
    ),
    # What rooms say.
    bug(
        "who is excepted hears it",
        "rooms/fanout.py",
        "self._own.setdefault(line, []).append((index, SKIP, True))",
        "self._own.setdefault(line, []).append((index, item, True))",
        "tests/rooms/test_fanout.py::test_only_who_gets_something_of_its_own_gets_a_frame_of_its_own",
    ),
    bug(
        "a member of another room is excepted, and so is told",
        "rooms/runner.py",
        "for member in excepted if self.members.get(member.seat.key) is member]",
        "for member in excepted]",
        "tests/rooms/test_runner.py::test_a_member_of_another_room_is_nobody_to_except",
    ),
    bug(
        "a full queue counts as sent",
        "rooms/fanout.py",
        "            if out.send(line.peer, frame) is not Sent.TAKEN:\n                return False\n",
        "            if out.send(line.peer, frame) is Sent.GONE:\n                return False\n",
        "tests/rooms/test_fanout.py::test_what_a_queue_took_is_not_sent_again",
    ),
    bug(
        "who was slow is sent the rest of the turn before what it missed",
        "rooms/fanout.py",
        "                peers = [peer for peer in peers if peer not in slow]\n",
        "",
        "tests/rooms/test_fanout.py::test_a_large_broadcast_behind_others_left_in_a_frame_that_no_receiver_takes",
    ),
    bug(
        "two lives of a room have one epoch",
        "rooms/runner.py",
        "new_epoch(entropy)",
        "new_epoch(bytes)",
        "tests/rooms/test_room_life.py::test_each_life_of_a_room_has_an_epoch_of_its_own",
    ),
    bug(
        "the queue of a slow peer has no end",
        "rooms/port.py",
        "if len(self._unsent) > _MOST_UNSENT:",
        "if len(self._unsent) > _MOST_UNSENT << 20:",
        "tests/rooms/test_port.py::test_a_peer_that_never_reads_is_cut_before_it_costs_much",
    ),
    bug(
        "what waits for a slow peer leaves last first",
        "rooms/port.py",
        "            self.port.backlog.taken(self, len(self._unsent.popleft()))",
        "            self._unsent.rotate(1)\n            self.port.backlog.taken(self, len(self._unsent.popleft()))",
        "tests/rooms/test_port.py::test_messages_wait_for_a_full_queue_and_keep_their_order",
    ),
    bug(
        "a room says no beats",
        "rooms/topic.py",
        "        if self._beats == len(_BEATS) or not self._up:\n            return None",
        "        if self._beats == len(_BEATS) or self._up:\n            return None",
        "tests/rooms/test_topic.py::test_a_silent_room_says_five_times_where_its_stream_ends_and_then_nothing",
    ),
    bug(
        "a shared frame says nothing of what was lost of one's own",
        "rooms/topic.py",
        "self._lately |= dict.fromkeys(",
        "dict.fromkeys(",
        "tests/rooms/test_topic.py::test_a_direct_message_alone_is_for_its_member_alone",
        "tests/rooms/test_topic.py::test_what_is_ones_own_goes_ahead_of_what_is_shared_and_is_marked_there",
    ),
    bug(
        "who is cut off keeps its topics",
        "rooms/downlinks.py",
        "return offer.downlink is None or self._publishers[offer.shard].cut(offer.downlink.peer)",
        "return True",
        "tests/rooms/test_downlinks.py::test_a_token_that_was_revoked_is_worth_nothing_and_its_connection_is_cut",
    ),
    bug(
        "a token is good for a second connection",
        "rooms/downlinks.py",
        "(offer.downlink is not None and offer.downlink.peer != peer)",
        "False",
        "tests/rooms/test_downlinks.py::test_a_token_is_good_for_one_connection_at_a_time",
    ),
    bug(
        "a topic is granted after a user message",
        "transport/pump.py",
        "            self._in_step = False\n",
        "            self._in_step = True\n",
        "tests/contract/test_zeromq.py::test_behind_a_user_message_nothing_is_granted_until_all_is_read",
    ),
    # Recovery in its corners.
    bug(
        "a refusal is lost with its connection",
        "rooms/uplink.py",
        "self._refused_elsewhere = bool(self._refusals)",
        "self._refused_elsewhere = False",
        "tests/rooms/test_refusals.py::test_a_refusal_that_was_lost_is_said_again_ahead_of_the_acknowledgement",
    ),
    bug(
        "a refusal comes after the acknowledgement that counts for it",
        "rooms/uplink.py",
        "        self._refuse_again()  # ahead of the acknowledgement, which counts for all but these\n"
        "        self.say(Ack(self.ref, number))\n",
        "        self.say(Ack(self.ref, number))\n        self._refuse_again()\n",
        "tests/rooms/test_refusals.py::test_an_acknowledgement_that_was_asked_for_on_an_older_connection_does_not_overtake_a_refusal",
    ),
    bug(
        "a reply that the history has lost is not said again",
        "rooms/replies.py",
        "if number > direct]",
        "if number > direct + 1000]",
        "tests/rooms/test_replies.py::test_a_reply_that_fell_out_of_the_history_follows_the_reset_and_the_hook_runs_once",
    ),
    bug(
        "of a key the older message stays",
        "protocol/conflation.py",
        "if still <= older.excepted:",
        "if not still <= older.excepted:",
        "tests/protocol/test_conflation.py::test_a_newer_message_takes_the_place_of_the_older_one_of_its_key",
    ),
    bug(
        "who was excepted from the newest of a key is left without any",
        "protocol/conflation.py",
        "still &= older.excepted",
        "still = older.excepted",
        "tests/protocol/test_conflation.py::test_who_was_excepted_from_the_newest_keeps_the_one_before",
    ),
    bug(
        "a slow member is never too slow",
        "rooms/attendance.py",
        'if runner.room.slow_members != "close":',
        "if True:",
        "tests/rooms/test_slow_members.py::test_where_slow_members_are_removed_it_is_told_why_and_the_room_too",
    ),
    bug(
        "who has gone loses what was outdated after its end",
        "rooms/farewells.py",
        "self.fanout.missing(line, end, farewell.held) if known",
        "self.fanout.missing(line, end) if known",
        "tests/rooms/test_farewells.py::test_who_is_kicked_where_only_the_newest_is_kept_gets_what_was_the_newest_then",
    ),
    bug(
        "a connection that is over waits for the cyclic collector",
        "transport/sockets.py",
        "            self._on_event = _unheard",
        "            self._on_event = self._on_event",
        "tests/contract/test_circles.py::test_a_link_that_was_closed_is_gone",
    ),
    bug(
        "a seat that is not wanted any more keeps its session from looking for another",
        "broker/searches.py",
        "        if search is not None and search.pending == ask:\n            search.pending = None\n",
        "        if search is not None and search.pending != ask:\n            search.pending = None\n",
        "tests/broker/test_proposals.py::test_who_cancels_while_seats_are_asked_for_may_look_for_something_else_at_once",
    ),
    bug(
        "who is kicked from its party while it is away does not hear of it",
        "broker/parties.py",
        "        if session in self._visitors:\n            session.say",
        "        if session in self._of:\n            session.say",
        "tests/broker/test_parties.py::test_who_is_kicked_while_it_is_away_is_told_when_it_is_back",
    ),
    bug(
        "a party waits for as long as its leader does",
        "broker/tickets.py",
        "        if deadline < entry.deadline:",
        "        if entry.deadline > 1e9:",
        "tests/broker/test_tickets.py::test_a_party_waits_for_no_longer_than_the_least_patient_of_it",
    ),
    bug(
        "a client gives up before its time is over",
        "client/contact.py",
        "            delay = left / 2  # who asked for so many seconds gets them",
        "            pass",
        "tests/client/test_contact.py::test_who_is_patient_for_some_seconds_gets_attempts_until_they_are_over",
    ),
    bug(
        "what comes of a membership that was given up counts as misrouted",
        "client/memberships.py",
        "                self._given_up.add(contact, message.ref, message.epoch)\n",
        "",
        "tests/client/test_core_rooms.py::test_what_comes_of_a_room_that_was_given_up_while_we_entered_is_not_misrouted_"
        "until_its_end_is_said",
    ),
    bug(
        "who only looks on takes a player's seat",
        "rooms/seats.py",
        "return len(self._taken) - self.spectators + len(self._invited)",
        "return len(self._taken) + len(self._invited)",
        "tests/integration/test_spectators.py::"
        "test_spectators_hear_everything_take_no_players_seat_and_say_what_they_may",
    ),
    bug(
        "who only looks on may say everything",
        "rooms/runner.py",
        "        if member.spectator and not (handler is not None and handler.spectators):\n            member.refuse",
        "        if member.spectator and handler is None:\n            member.refuse",
        "tests/integration/test_spectators.py::"
        "test_spectators_hear_everything_take_no_players_seat_and_say_what_they_may",
    ),
    bug(
        "a seat that is kept for somebody is given to another",
        "rooms/seats.py",
        "len(self._taken) - self.spectators + len(self._invited)",
        "len(self._taken) - self.spectators",
        "tests/integration/test_spectators.py::test_who_is_invited_comes_in_and_nobody_else_gets_its_seat",
    ),
    bug(
        "a reservation runs out while the process stands still",
        "rooms/attendance.py",
        "if late < _LATE or seat.waits == _MOST_WAITS:",
        "if late > 0.0:",
        "tests/rooms/test_attendance.py::"
        "test_a_reservation_whose_time_ran_out_while_the_process_stood_still_is_good_for_who_has_come_meanwhile",
    ),
]
