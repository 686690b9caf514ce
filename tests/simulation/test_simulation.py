"""Simulated worlds hold what is promised; each seed is one of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import Case, case_of
from shrinking import shrink
from trials import Totals, try_case, try_seed

SECONDS = float(os.environ.get("JOBLEDGER_SIMULATION_SECONDS", "5"))
FIRST_SEED = int(os.environ.get("JOBLEDGER_SEED", "0"))
HERE = Path(__file__).parent
FOUND = sorted((HERE / "found").glob("*.json"))


def test_simulated_worlds_hold_what_is_promised() -> None:
    """``JOBLEDGER_SIMULATION_SECONDS`` says for how long, ``JOBLEDGER_SEED`` from which seed on."""
    until = time.monotonic() + SECONDS
    totals = Totals()
    seed = FIRST_SEED
    while time.monotonic() < until:
        trial = try_seed(seed)
        totals.add(trial)
        if trial.failure is not None:
            smaller = shrink(case_of(seed), seconds=60)
            steps = "\n".join(try_case(smaller).trace[-40:])
            pytest.fail(
                f"seed {seed}: {trial.failure}\n\nmade smaller, to be put into {HERE / 'found'}:\n"
                f"{smaller.to_json().decode()}\n\nits last steps:\n{steps}"
            )
        seed += 1
    print(f"seeds {FIRST_SEED} to {seed - 1}: {totals.steps} events, {sum(totals.facts.values())} facts")


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.stem.replace("-", " "))
def test_what_was_found_once_does_not_come_back(file: Path) -> None:
    trial = try_case(Case.from_json(file.read_bytes()))
    assert trial.failure is None, trial.failure


def test_a_seed_gives_the_same_history_again() -> None:
    for seed in (1, 2, 3):
        first, second = try_seed(seed), try_seed(seed)
        assert first.digest == second.digest, f"seed {seed}"
        assert first.steps == second.steps


def test_a_case_is_data_and_lives_through_being_written_down() -> None:
    case = case_of(7)
    assert Case.from_json(case.to_json()) == case
    assert try_case(Case.from_json(case.to_json())).digest == try_case(case).digest


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_gives_the_same_history_however_sets_are_ordered(hash_seed: str, tmp_path: Path) -> None:
    """Nothing that is decided depends on the order of a set, which differs from process to process."""
    case = tmp_path / "case.json"
    case.write_bytes(case_of(5).to_json())
    told = subprocess.run(
        [sys.executable, str(HERE / "run.py"), "--case", str(case)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert try_case(case_of(5)).digest in told
