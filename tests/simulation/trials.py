"""One seed or case tried: what came of it, and how much happened on the way."""

import faulthandler
import re
import time
import traceback
from collections import Counter

import msgspec
from cases import Case, case_of
from checks import Violation
from world import World, live_through

HUNG_SECONDS = 300
"""A case takes a second or two. One that takes so long waits for something that never happens."""

_VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


class Trial(msgspec.Struct, kw_only=True):
    """What became of one case."""

    seed: int
    failure: str | None = None
    """What was violated, with its trace; ``None``: all is well."""
    after_ms: int = 0
    """How long the world had lived when it failed."""
    seconds: float = 0.0
    steps: int = 0
    kinds: dict[str, int] = {}
    facts: dict[str, int] = {}
    answers: dict[str, int] = {}
    digest: str = ""
    """Of the history: two runs of one case give the same."""
    trace: list[str] = []

    @property
    def signature(self) -> str | None:
        """What kind of failure it is: two with the same are taken for one."""
        if self.failure is None:
            return None
        return _VARYING.sub("#", self.failure.splitlines()[0])[:50]


def try_seed(seed: int) -> Trial:
    """Try the case of a seed."""
    return try_case(case_of(seed))


def try_case(case: Case) -> Trial:
    """Live through a case; whatever goes wrong is in the answer."""
    faulthandler.dump_traceback_later(HUNG_SECONDS, exit=True)
    began = time.perf_counter()
    failure = None
    world: World | None = None
    try:
        world = live_through(case)
    except Violation as violation:
        world, failure = violation.world, str(violation)
    except Exception as error:  # noqa: BLE001  a fault of the simulation is a failure too
        failure = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    trial = Trial(seed=case.seed, failure=failure, seconds=time.perf_counter() - began)
    if world is not None:
        trial.steps = world.loop.steps
        trial.kinds = dict(world.loop.kinds)
        trial.facts = dict(world.checks.facts)
        trial.answers = dict(world.answers)
        trial.after_ms = world.loop.now_ms - case.start_ms
        trial.digest = world.checks.digest()
        if failure is not None:
            trial.trace = [
                f"+{at / 1000 - case.start_ms:.3f} ms {who}: {what}" for at, who, what in world.loop.trace
            ]
    return trial


class Totals:
    """Of many trials."""

    def __init__(self) -> None:
        self.seeds = 0
        self.steps = 0
        self.seconds = 0.0
        self.kinds: Counter[str] = Counter()
        self.facts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.failed: list[Trial] = []

    def add(self, trial: Trial) -> None:
        self.seeds += 1
        self.steps += trial.steps
        self.seconds += trial.seconds
        self.kinds.update(trial.kinds)
        self.facts.update(trial.facts)
        self.answers.update(trial.answers)
        if trial.failure is not None:
            self.failed.append(trial)
