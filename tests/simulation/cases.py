"""What a simulated world is given: its plans, its weather, all that people and misfortune do to it.

A case is drawn from its seed alone. It is data, so that it can be made smaller, written down and run again.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from generated_plans import GLOBAL_EVENTS, GROUPS, LOCKS, ZONES, another_version, random_plan
from generated_settings import secretive_plan, telling_plan
from jobledger.domain.plan import JobPlan
from virtual_network import Weather

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000

JOB_ORDERS = (
    "hold",
    "release",
    "skip",
    "enable",
    "submit",
    "reset",
    "reset-downstream",
    "acknowledge",
    "fire-dependants",
    "kill",
)
CONTEXT_ORDERS = ("hold", "release", "skip", "enable")
INSTANCE_ORDERS = ("parameters", "disable schedules", "enable schedules", "run until ended")

MISFORTUNES = frozenset(
    {
        "crash dashboard",
        "crash dashboard at commit",
        "kill at work",
        "stop dashboard",
        "database full",
        "database unreadable",
        "commits in doubt",
        "crash agent",
        "crash agent at disk call",
        "crash agent at move",
        "stop agent",
        "power loss",
        "disk full",
        "disk error",
        "cut off",
        "stall",
        "clock jump",
    }
)
"""What is done to a world and not in it."""
ORDERS_AHEAD = (
    *["hold", "skip"] * 3,
    *["release", "enable", "parameters", "parameters"],
    *["hold context", "release context", "skip context", "enable context"],
    *["disable schedules", "enable schedules", "run until ended", "end"],
)
"""What is ordered about instances that have not started."""

STARTS = (
    1_796_536_800_000,  # 2026-12-06T06:00Z, nothing special
    1_774_742_100_000,  # 2026-03-28T23:55Z, the night in which Europe sets its clocks forward
    1_792_886_100_000,  # 2026-10-24T23:55Z, and back
    1_772_952_900_000,  # 2026-03-08T06:55Z, New York forward
    1_798_761_300_000,  # 2026-12-31T23:55Z, the end of a year
    1_835_481_300_000,  # 2028-02-29T23:55Z, the end of a leap day
)


class Operation(msgspec.Struct, frozen=True):
    """Something that is done to the world at a moment after its beginning."""

    at_ms: int
    what: str
    with_: dict[str, Any] = msgspec.field(default={}, name="with")

    def __str__(self) -> str:
        return f"+{self.at_ms} ms {self.what} {self.with_}"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A world and its history."""

    seed: int
    start_ms: int
    lasts_ms: int
    time_zone: str = "UTC"
    agents: tuple[str, ...] = ("anna",)
    wire: bool = False
    max_jobs: int | None = None
    weather: Weather = Weather()
    interval_multiple: float = 1.0
    """How many times the start interval of a plan that runs one at a time its instances may live."""
    sources: bool = False
    """Plans have parameters from files."""
    notifications: bool = False
    """People are told of what happens, as the plans say."""
    subscribed: bool = True
    """A webhook is told of everything, whatever the plans say."""
    secrets: bool = False
    """Some values of parameters are encrypted."""
    plans: tuple[JobPlan, ...]
    """Pushed by operations; two of one name are two versions of one plan."""
    operations: tuple[Operation, ...]

    def to_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> "Case":
        return msgspec.json.decode(data, type=cls)


def case_of(seed: int) -> Case:
    """The case of a seed."""
    chance = random.Random(f"case {seed}")
    agents = ("anna", "bert", "carl")[: chance.choice([1, 1, 2, 2, 3])]
    lasts_ms = chance.choice([MINUTE, 3 * MINUTE, 3 * MINUTE, 10 * MINUTE])
    start_ms = chance.choice(STARTS)
    interval_multiple = chance.choice([1.0, 1.0, 4.0])
    plans = _plans(chance, agents, interval_multiple, start_ms)
    storm = chance.choice([0.0, 0.3, 1.0, 1.0])
    deeds = [*_pushes(chance, plans, lasts_ms), *_deeds(chance, plans, agents, lasts_ms)]
    operations = [*deeds, *_misfortunes(chance, agents, deeds, lasts_ms, storm)]
    case = Case(
        seed=seed,
        start_ms=start_ms,
        lasts_ms=lasts_ms,
        time_zone=chance.choice(ZONES),
        agents=agents,
        wire=chance.random() < 0.3,
        max_jobs=chance.choice([None, None, None, 1, 2]),
        weather=Weather(
            lost_requests=chance.choice([0, 0.02, 0.2]) * storm,
            lost_answers=chance.choice([0, 0.02, 0.2]) * storm,
            repeated=chance.choice([0, 0.05, 0.2]) * storm,
            late=chance.choice([0, 0.02, 0.1]) * storm,
        ),
        interval_multiple=interval_multiple,
        sources=chance.random() < 0.3,
        notifications=chance.random() < 0.3,
        plans=plans,
        operations=tuple(sorted(operations, key=lambda each: each.at_ms)),
    )
    # Drawn for themselves, so that the rest of each world is as it was before there was any of this.
    case = _telling(case, random.Random(f"told {seed}")) if case.notifications else case
    return _with_secrets(case, random.Random(f"secrets {seed}"))


def _telling(case: Case, chance: random.Random) -> Case:
    """The case with plans that say themselves who is to be told, and that change their mind."""
    plans = [telling_plan(chance, plan) for plan in case.plans]
    operations = [*case.operations]
    if chance.random() < 0.5:
        plans.append(telling_plan(chance, chance.choice(plans)))
        again = Operation(chance.randrange(case.lasts_ms), "push", {"plan": len(plans) - 1})
        operations = sorted([*operations, again], key=lambda each: each.at_ms)
    return msgspec.structs.replace(
        case, plans=tuple(plans), operations=tuple(operations), subscribed=chance.random() < 0.5
    )


def _with_secrets(case: Case, chance: random.Random) -> Case:
    if chance.random() >= 0.3:
        return case
    plans = tuple(secretive_plan(chance, plan) for plan in case.plans)
    return msgspec.structs.replace(case, plans=plans, secrets=True)


def _plans(
    chance: random.Random, agents: tuple[str, ...], multiple: float, begin_ms: int
) -> tuple[JobPlan, ...]:
    def drawn(name: str, *, large: bool = False) -> JobPlan:
        return random_plan(chance, name, agents, large=large, interval_multiple=multiple, begin_ms=begin_ms)

    names = [f"plan{number}" for number in range(chance.choice([1, 2, 3, 4]))]
    large = chance.random() < 0.08
    plans = [drawn(name, large=large) for name in names]
    while chance.random() < 0.5:
        before = chance.choice(plans)
        other = drawn(before.name)
        plans.append(another_version(chance, before, other, multiple) if chance.random() < 0.6 else other)
    return tuple(plans)


def _pushes(chance: random.Random, plans: tuple[JobPlan, ...], lasts_ms: int) -> list[Operation]:
    seen: set[str] = set()
    found = []
    for number, plan in enumerate(plans):
        first = plan.name not in seen
        seen.add(plan.name)
        at_ms = chance.randrange(5 * SECOND) if first else chance.randrange(lasts_ms)
        found.append(Operation(at_ms, "push", {"plan": number}))
    return found


Deed = Callable[[random.Random], dict[str, Any]]


def _pick(chance: random.Random) -> int:
    """Of whatever there is then: the number modulo how much there is."""
    return chance.randrange(1000)


def _deeds(
    chance: random.Random, plans: tuple[JobPlan, ...], agents: tuple[str, ...], lasts_ms: int
) -> list[Operation]:
    """What people and other systems do."""
    names = sorted({plan.name for plan in plans})
    deeds: dict[str, tuple[int, Deed]] = {
        "start": (
            12,
            lambda c: {
                "plan": c.choice(names),
                "until_ended": c.random() < 0.3,
                "dry": c.random() < 0.15,
                "held": c.random() < 0.1,
                "given": c.random() < 0.3,
            },
        ),
        "push": (4, lambda c: {"plan": c.randrange(len(plans))}),
        "enable": (4, lambda c: {"plan": c.choice(names)}),
        "disable": (2, lambda c: {"plan": c.choice(names)}),
        "delete": (2, lambda c: {"plan": c.choice(names)}),
        "reset": (
            5,
            lambda c: {"instance": _pick(c), "same": c.random() < 0.5, "held": c.random() < 0.2},
        ),
        "order ahead": (
            18,
            lambda c: {"instance": _pick(c), "unit": _pick(c), "order": c.choice(ORDERS_AHEAD)},
        ),
        "source says": (4, lambda c: {"plan": c.choice(names), "readable": c.random() < 0.8}),
        "refresh parameters": (1, lambda c: {}),
        "submit": (25, lambda c: {"instance": _pick(c), "unit": _pick(c)}),
        "order about a job": (
            35,
            lambda c: {
                "instance": _pick(c),
                "unit": _pick(c),
                "order": c.choice([*JOB_ORDERS, *["whatever is permitted"] * 10]),
                "flag": c.random() < 0.5,
            },
        ),
        "order about a context": (
            6,
            lambda c: {"instance": _pick(c), "context": _pick(c), "order": c.choice(CONTEXT_ORDERS)},
        ),
        "order about an instance": (
            5,
            lambda c: {"instance": _pick(c), "context": _pick(c), "order": c.choice(INSTANCE_ORDERS)},
        ),
        "reset lock": (1, lambda c: {"lock": c.choice(LOCKS), "group": c.choice(GROUPS)}),
        "end": (3, lambda c: {"instance": _pick(c)}),
        "report": (
            20,
            lambda c: {
                "instance": _pick(c),
                "unit": _pick(c),
                "starting": c.random() < 0.3,
                "successful": c.random() < 0.8,
                "named": c.random() < 0.5,
                "times": c.choice([1, 1, 2, 5]),
            },
        ),
        "stray report": (2, lambda c: {"kind": c.choice(["instance", "job", "context", "text"])}),
        "garbage": (1, lambda c: {"instance": _pick(c)}),
        "global event": (
            6,
            lambda c: {
                "name": c.choice(GLOBAL_EVENTS),
                "everywhere": c.random() < 0.5,
                "group": c.choice(GROUPS),
            },
        ),
        "resubmit": (2, lambda c: {"letter": _pick(c)}),
        "discard": (1, lambda c: {"letter": _pick(c)}),
        "file": (
            12,
            lambda c: {
                "agent": c.choice(agents),
                "job": c.randrange(9),
                "name": c.choice(["a.csv", "b.csv", "a2.csv", "deep/a.csv"]),
                "size": c.randrange(1000),
            },
        ),
    }
    return _drawn(chance, deeds, chance.choice([5, 30, 100, 250]), lasts_ms)


def _misfortunes(
    chance: random.Random, agents: tuple[str, ...], deeds: list[Operation], lasts_ms: int, storm: float
) -> list[Operation]:
    def down(c: random.Random) -> int:
        return c.choice([0, SECOND, 10 * SECOND, 90 * SECOND])

    sites = ("dashboard", *agents)
    misfortunes: dict[str, tuple[int, Deed]] = {
        "crash dashboard": (6, lambda c: {"down_ms": down(c)}),
        "crash dashboard at commit": (
            8,
            lambda c: {"commits": c.randint(1, 20), "after": c.random() < 0.5, "down_ms": down(c)},
        ),
        "kill at work": (
            16,
            lambda c: {
                "site": c.choice(("dashboard", *sites)),
                "steps": c.choice([3, 10, 30, 100, 300]),
                "down_ms": down(c),
            },
        ),
        "stop dashboard": (2, lambda c: {"down_ms": down(c)}),
        "database full": (3, lambda c: {"for_ms": c.choice([100, SECOND, 20 * SECOND])}),
        "database unreadable": (2, lambda c: {"for_ms": c.choice([100, SECOND, 5 * SECOND])}),
        "commits in doubt": (4, lambda c: {"commits": c.randint(1, 5)}),
        "crash agent": (6, lambda c: {"agent": c.choice(agents), "down_ms": down(c)}),
        "crash agent at disk call": (
            8,
            lambda c: {"agent": c.choice(agents), "calls": c.randint(1, 40), "down_ms": down(c)},
        ),
        "crash agent at move": (
            2,
            lambda c: {"agent": c.choice(agents), "moves": c.randint(1, 3), "down_ms": down(c)},
        ),
        "stop agent": (2, lambda c: {"agent": c.choice(agents), "down_ms": down(c)}),
        "power loss": (3, lambda c: {"agent": c.choice(agents), "down_ms": down(c)}),
        "disk full": (
            3,
            lambda c: {"agent": c.choice(agents), "for_ms": c.choice([100, SECOND, 20 * SECOND])},
        ),
        "disk error": (3, lambda c: {"agent": c.choice(agents), "calls": c.randint(1, 40)}),
        "cut off": (4, lambda c: {"site": c.choice(sites), "for_ms": c.choice([SECOND, 40 * SECOND])}),
        "stall": (
            4,
            lambda c: {"site": c.choice(sites), "for_ms": c.choice([200, 5 * SECOND, 45 * SECOND])},
        ),
        "clock jump": (
            2,
            lambda c: {
                "site": c.choice(sites),
                "by_ms": c.choice([-HOUR, -MINUTE, -5 * SECOND, 5 * SECOND, MINUTE, HOUR, 25 * HOUR]),
            },
        ),
    }
    number = round(chance.choice([2, 6, 15, 40]) * storm)
    assert misfortunes.keys() == MISFORTUNES
    return _drawn(chance, misfortunes, number, lasts_ms, near=[each.at_ms for each in deeds])


def _drawn(
    chance: random.Random,
    kinds: dict[str, tuple[int, Deed]],
    number: int,
    lasts_ms: int,
    near: Sequence[int] = (),
) -> list[Operation]:
    """Many of what happens, happens close to something else: nothing goes wrong while nothing goes on."""
    names = list(kinds)
    weights = [weight for weight, _ in kinds.values()]
    found: list[Operation] = []
    for what in chance.choices(names, weights, k=number):
        others = near or [each.at_ms for each in found[-3:]]
        if others and chance.random() < 0.6:
            at_ms = chance.choice(others) + chance.choice([chance.randrange(20), chance.randrange(400)])
        else:
            at_ms = chance.randrange(lasts_ms)
        found.append(Operation(min(at_ms, lasts_ms), what, kinds[what][1](chance)))
    return found
