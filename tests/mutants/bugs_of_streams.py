"""Bugs of streams, and of clients who read them."""

from .mutant import bug

__all__ = ["STREAMS"]

STREAMS = [
    # Streams and histories.
    bug(
        "the history is off by one",
        "protocol/streams.py",
        "(self.last - offset) :]",
        "(self.last - offset) + 1 :]",
        "tests/protocol/test_history.py::test_offsets_count_from_one_without_holes",
    ),
    bug(
        "offsets begin anew when a history is cleared",
        "protocol/streams.py",
        '        """Forget everything; the next offset stays what it is."""\n',
        '        """Forget everything; the next offset stays what it is."""\n        self.last = 0\n',
        "tests/protocol/test_history.py::test_a_history_that_was_cleared_goes_on_counting",
    ),
    bug(
        "a history has no limit of bytes",
        "protocol/streams.py",
        "if not fallen_out and self._size <= limits.size and",
        "if not fallen_out and",
        "tests/protocol/test_history.py::test_bytes_are_bounded_by_whole_batches",
    ),
    bug(
        "what was replayed overlaps what is live: the reader takes it again",
        "protocol/streams.py",
        "                if offset <= self.offset:\n                    continue\n",
        "",
        "tests/protocol/test_streams.py::test_the_reader_drops_what_it_saw_and_yields_the_rest",
    ),
    bug(
        "a direct message is taken again",
        "protocol/streams.py",
        "                if number <= self.direct:\n                    continue\n",
        "",
        "tests/protocol/test_streams.py::test_the_reader_drops_what_it_saw_and_yields_the_rest",
    ),
    bug(
        "a direct message is replayed before the broadcast that it follows",
        "protocol/streams.py",
        "while direct is not None and direct.after <= offset:",
        "while direct is not None and direct.after <= offset + 1:",
        "tests/protocol/test_streams.py::test_merged_puts_direct_messages_behind_the_broadcast_that_they_follow",
    ),
    bug(
        "the end of a stream is not looked at: who lost the last message never learns it",
        "protocol/streams.py",
        "                yield item, self.position\n        if offset > self.offset:\n            raise Gap\n",
        "                yield item, self.position\n",
        "tests/protocol/test_streams.py::test_a_bundle_that_ends_beyond_the_reader_tells_of_a_loss",
    ),
    bug(
        "a mark is passed over",
        "protocol/streams.py",
        "if offset > self.offset or (item[1] == name and item[2] > self.direct):",
        "if offset > self.offset:",
        "tests/protocol/test_streams.py::test_a_mark_tells_who_is_meant_of_a_loss_before_it_reads_on",
    ),
    # Clients.
    bug(
        "the epoch is forgotten: another stream's bundle is read",
        "client/memberships.py",
        "if addressed is None or addressed.reader.epoch != message.epoch:",
        "if addressed is None:",
        "tests/client/test_core_rooms.py::test_a_bundle_of_another_epoch_is_misrouted",
    ),
    bug(
        "a server that was started anew is taken for the old one",
        "client/core.py",
        "if home.reader.epoch != message.epoch:",
        "if not home.reader.epoch:",
        "tests/client/test_core_workers.py::test_a_new_life_of_the_broker_begins_the_numbers_anew",
    ),
    bug(
        "one message too few is sent again",
        "client/membership.py",
        "self._transmitted = min(self._transmitted, number - 1)",
        "self._transmitted = min(self._transmitted, number)",
        "tests/client/test_membership.py::test_what_follows_a_number_is_sent_again",
    ),
    bug(
        "a full inbox forgets that it left something out",
        "client/inbox.py",
        "        return not self._left_out\n",
        "        return len(self._messages) < self._most\n",
        "tests/client/test_inbox.py::test_what_comes_after_something_was_left_out_has_no_room_until_it_is_fetched",
    ),
]
