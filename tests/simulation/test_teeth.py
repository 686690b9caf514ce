"""A simulation that does not notice faults proves nothing: each of these is put in, and must be found."""

import pytest
from mutants import MUTANTS
from trials import try_seed

MOST_SEEDS = 300
LOOK_FIRST = (3, 48, 64, 95, 240, 561)
"""Seeds that find the rarer ones; the others are found by almost any."""


def test_the_seeds_that_are_to_find_faults_find_none_without_them() -> None:
    for seed in range(10):
        assert try_seed(seed).failure is None


@pytest.mark.parametrize("what", MUTANTS)
def test_a_fault_is_found(what: str) -> None:
    with MUTANTS[what]():
        for seed in (*LOOK_FIRST, *range(MOST_SEEDS)):
            if try_seed(seed).failure is not None:
                return
    pytest.fail(f"not found in {MOST_SEEDS} seeds: {what}")
