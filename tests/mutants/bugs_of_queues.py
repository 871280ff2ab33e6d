"""Bugs of queues, parties, rooms that seek members, rematches, and the ways into rooms."""

from .mutant import bug

__all__ = ["QUEUES"]

_POLICIES = "tests/broker/queues/test_policies.py"

QUEUES = [
    bug(
        "some of those who are put back are matched before the others are there",
        "broker/queues/matcher.py",
        "        return number <= self._newest and (turn is None or (False, number) < turn)\n",
        "        return False\n",
        f"{_POLICIES}::test_all_who_are_put_back_are_there_before_anybody_gets_one_of_them",
    ),
    bug(
        "who is told first of somebody that came back gets it",
        "broker/queues/matcher.py",
        "            if self._refreshes:\n",
        "            if self._refreshes and agenda.gather(now) and agenda.turn() is None:\n",
        f"{_POLICIES}::test_those_who_get_somebody_by_a_return_are_looked_at_by_age",
    ),
    bug(
        "a server that is late looks first at whose time came first",
        "broker/queues/agenda.py",
        "            heappush(come, (event.kind == self.OVERDUE, event.number, event))\n",
        "            heappush(come, (event.kind == self.OVERDUE, event.time, event))\n",
        f"{_POLICIES}::test_a_server_that_wakes_late_looks_at_who_has_waited_longest_first",
    ),
    bug(
        "whose wait has ended takes a younger one before all who were put back with it are there",
        "broker/queues/agenda.py",
        "            heappush(come, (event.kind == self.OVERDUE, event.number, event))\n",
        "            heappush(come, (False, event.number, event))\n",
        f"{_POLICIES}::test_put_back_after_their_waits_they_make_do_with_as_few_as_they_must_and_no_fewer",
    ),
    bug(
        "while somebody is overdue, who waits for a full match is looked at as if it waited for one player",
        "broker/queues/horizon.py",
        "        pairs = self._rules.shape.full == 2\n",
        "        pairs = needed <= 2\n",
        f"{_POLICIES}::test_while_somebody_is_overdue_a_full_match_comes_when_the_window_reaches_all_of_it",
    ),
    bug(
        "who comes back is not met before windows reach it, though somebody is overdue",
        "broker/queues/matcher.py",
        '        anywhere = self.queue.then == "wider" and bool(self._overdue)\n',
        "        anywhere = False\n",
        f"{_POLICIES}::test_with_somebody_overdue_who_comes_back_is_met_at_once_within_the_widest_window",
    ),
    bug(
        "a room that begins to seek is open before those who have waited longest have entered",
        "broker/queues/matcher.py",
        "            self._seeking[backfill.room] = backfill\n",
        "            self._seeking[backfill.room] = backfill\n            self._rooms.add(backfill)\n",
        f"{_POLICIES}::test_nobody_enters_a_room_before_those_who_have_waited_longer",
    ),
    bug(
        "a match that somebody has left is played without it",
        "broker/proposals.py",
        "        proposal.step(ProposalEvent.LEAVE)\n",
        "",
        "tests/broker/test_proposals.py::test_when_one_goes_while_seats_are_held_the_other_waits_on",
    ),
    bug(
        "who cancels waits for the worker that was asked for its seat",
        "broker/proposals.py",
        "            self._searches.unwanted(player.session, player.ask)\n",
        "            pass\n",
        "tests/broker/test_proposals.py::test_who_cancels_while_seats_are_asked_for_may_look_for_something_else_at_once",
    ),
    bug(
        "a party waits for as long as its first member does",
        "broker/tickets.py",
        "        if deadline < entry.deadline:\n",
        "        if deadline < entry.deadline - 1e6:\n",
        "tests/broker/test_tickets.py::test_a_party_waits_for_no_longer_than_the_least_patient_of_it",
    ),
    bug(
        "who believes to be in another party is matched without it",
        "broker/tickets.py",
        "        if message.party != self._parties.code_of(session):\n",
        "        if False:\n",
        "tests/broker/test_tickets.py::test_who_believes_to_be_in_another_party_is_not_matched_without_it",
    ),
    bug(
        "a party that has changed waits on",
        "broker/tickets.py",
        "            if len(entry.expected) > 1 or self._party_of(session) != entry.expected:\n",
        "            if False:\n",
        "tests/broker/test_tickets.py::test_whatever_takes_one_out_takes_the_party_out",
    ),
    bug(
        "what is said again to a party is done again",
        "broker/parties.py",
        "        if visitor.done == message.ask and message.ask:\n",
        "        if False:\n",
        "tests/broker/test_parties.py::test_what_is_said_again_after_a_reconnect_is_answered_again_and_done_once",
    ),
    bug(
        "a right code costs nothing of what one may guess",
        "broker/parties.py",
        "        if not self._visitor(session).codes.allow(self._out.now):\n",
        "        if code not in self._by_code and not self._visitor(session).codes.allow(self._out.now):\n",
        "tests/broker/test_parties.py::test_whoever_sends_many_codes_is_slowed_down_also_when_one_is_right",
    ),
    bug(
        "a party that was left while nobody waited for the answer is not",
        "client/requests.py",
        "                self._out.party_changed(message.party)  # who",
        "                pass  # who",
        "tests/client/test_core_queues.py"
        "::test_a_party_that_was_left_by_who_has_given_up_waiting_for_the_answer_is_left",
    ),
    bug(
        "a room that refuses is asked again at once",
        "broker/seekers.py",
        "        if report.room in self._resting:\n",
        "        if False:\n",
        "tests/broker/test_tickets.py"
        "::test_a_room_that_refuses_is_asked_again_after_a_while_and_whoever_is_in_it_is_never_sent",
    ),
    bug(
        "whoever is in a room is sent there again",
        "broker/seekers.py",
        "                ticket.shunned |= {room}\n",
        "                pass\n",
        "tests/broker/test_tickets.py"
        "::test_a_room_that_refuses_is_asked_again_after_a_while_and_whoever_is_in_it_is_never_sent",
    ),
    bug(
        "a room that has refused and is gone gets somebody",
        "broker/seekers.py",
        "        if self._resting.get(room) is not None:\n",
        "        if False:\n",
        "tests/broker/test_tickets.py::test_a_room_that_has_refused_and_is_gone_gets_nobody",
    ),
    bug(
        "a rematch forgets the criteria",
        "broker/rematches.py",
        "there.ruleset.room, **there.ruleset.criteria)",
        "there.ruleset.room)",
        "tests/broker/test_rematches.py::test_a_rematch_is_made_of_what_the_room_was_made_of",
    ),
    bug(
        "what a room was made of is lost with its next report",
        "broker/directory.py",
        "            before, known.report = known.report, report\n",
        "            before, known.report, known.ruleset = known.report, report, None\n",
        "tests/broker/test_rematches.py::test_a_rematch_is_made_of_what_the_room_was_made_of",
    ),
    bug(
        "all who have left a room are forgotten with the first",
        "broker/rematches.py",
        "            if when + _REMEMBERED > self._out.now:\n",
        "            if False:\n",
        "tests/broker/test_rematches.py::test_everybody_is_remembered_for_a_minute_after_leaving_not_only_the_first",
    ),
    bug(
        "who has ended is waited for",
        "broker/rematches.py",
        "                there.group.discard(session.session)\n",
        "                pass\n",
        "tests/broker/test_rematches.py::test_nobody_waits_for_who_has_ended",
    ),
    bug(
        "who waits for a room that is being made counts for nothing",
        "broker/entrances.py",
        "            making.left -= 1\n",
        "",
        "tests/broker/test_entrances.py::test_those_who_ask_while_a_room_is_made_wait_for_it",
    ),
    bug(
        "whoever was refused by a room is sent there again",
        "broker/entrances.py",
        "        guest.besides.add(room)\n",
        "",
        "tests/broker/test_entrances.py::test_a_room_that_has_refused_somebody_is_not_tried_again_for_it",
    ),
    bug(
        "who ended while its room was made takes a seat in it",
        "broker/entrances.py",
        "                if not self._searches.expects(other.claim):\n",
        "                if False:\n",
        "tests/broker/test_entrances.py::test_whoever_ends_while_a_room_is_made_is_not_in_the_way",
    ),
    bug(
        "a seat that was taken at once is forgotten as soon as it is taken",
        "broker/searches.py",
        "search.assigned.room == room and not search.seated:",
        "search.assigned.room == room:",
        "tests/broker/test_entering.py::test_who_has_not_got_joined_takes_its_seat_with_the_reservation",
    ),
    bug(
        "a seat that was taken at once is given up for the next one",
        "broker/searches.py",
        "            if search.seated:  # it has got JOINED, or wants no answer any more\n"
        "                search.assigned, search.seated = None, False\n"
        "            else:\n",
        "            if True:\n",
        "tests/broker/test_entering.py::test_who_asks_for_something_else_has_got_it",
    ),
    bug(
        "who is not asked for it stays where JOINED has put it",
        "client/memberships.py",
        "if membership is None and asked is not None and isinstance(asked(message.ask), _WAYS_IN):",
        "if membership is None:",
        "tests/client/test_core_entering.py::test_who_has_given_up_leaves_again",
    ),
]
