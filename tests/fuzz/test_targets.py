"""Every decoder and every conversation, with what a fuzzer makes up: parsed, or a documented error of ours."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .targets import CORPUS, FOUND, TARGETS, Target, inputs

_EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6)
each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def _edited(seed: bytes, edits: list[tuple[int, int]]) -> bytes:
    data = bytearray(seed)
    for at, byte in edits:
        data[at % len(data)] = byte
    return bytes(data)


def _made_up(target: Target) -> st.SearchStrategy[bytes]:
    seeds = [seed for path in inputs(CORPUS, target.name) if (seed := path.read_bytes())]
    anything = st.binary(max_size=target.largest)
    return st.one_of(anything, st.builds(_edited, st.sampled_from(seeds), _EDITS)) if seeds else anything


@each_target
def test_what_is_made_up_is_parsed_or_refused(target: Target) -> None:
    @settings(
        max_examples=target.examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(_made_up(target))
    def tries(data: bytes) -> None:
        target.run(data)

    tries()


@each_target
def test_the_corpus_is_parsed_or_refused(target: Target) -> None:
    seeds = inputs(CORPUS, target.name)
    assert seeds, "a fuzzer needs something to begin with: python -m tests.fuzz.seeds"
    for path in seeds:
        assert len(path.read_bytes()) <= target.largest
        target.run(path.read_bytes())


@each_target
def test_what_was_found_once_is_not_found_again(target: Target) -> None:
    for path in inputs(FOUND, target.name):
        target.run(path.read_bytes())
