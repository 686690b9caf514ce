"""Makes a case that fails smaller, as long as it fails in the same way."""

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
from cases import SECOND, Case, Operation
from generated_plans import is_valid, without_job
from jobledger.domain.plan import JobPlan
from trials import Trial, try_case
from virtual_network import Weather

Try = Callable[[Case], Trial]


def shrink(case: Case, *, seconds: float = 120.0, attempt: Try = try_case) -> Case:
    """The smallest case found in that time; the case itself if it does not fail."""
    first = attempt(case)
    if first.signature is None:
        return case
    return _Shrinking(case, first, time.monotonic() + seconds, attempt).run()


class _Shrinking:
    def __init__(self, case: Case, first: Trial, until: float, attempt: Try) -> None:
        self.case = case
        self._signature = first.signature
        self._after_ms = first.after_ms
        self._until = until
        self._attempt = attempt

    def run(self) -> Case:
        self._cut_off()
        size = -1
        while size != (size := self._size()) and time.monotonic() < self._until:
            self._without_operations()
            self._simpler()
            self._without_jobs()
        return self.case

    def _size(self) -> int:
        return len(self.case.to_json())

    def _take(self, case: Case) -> bool:
        """Whether it fails in the same way; then it is the case from now on."""
        if time.monotonic() > self._until:
            return False
        trial = self._attempt(case)
        if trial.signature != self._signature:
            return False
        self.case, self._after_ms = case, trial.after_ms
        return True

    def _with(self, operations: Sequence[Operation]) -> Case:
        return msgspec.structs.replace(self.case, operations=tuple(operations))

    def _cut_off(self) -> None:
        """What was yet to come had no part in it."""
        self._take(self._with([each for each in self.case.operations if each.at_ms <= self._after_ms]))

    def _without_operations(self) -> None:
        """Leave out half of them, then quarters, down to each alone."""
        length = max(1, len(self.case.operations) // 2)
        while time.monotonic() < self._until:
            at = 0
            while at < len(self.case.operations):
                kept = [*self.case.operations[:at], *self.case.operations[at + length :]]
                if not self._take(self._with(kept)):
                    at += length
            if length == 1:
                return
            length //= 2

    def _simpler(self) -> None:
        case = self.case
        for simpler in (
            msgspec.structs.replace(case, weather=Weather()),
            *(
                msgspec.structs.replace(case, weather=msgspec.structs.replace(case.weather, **{name: 0.0}))
                for name in Weather.__struct_fields__
            ),
            msgspec.structs.replace(case, wire=False),
            msgspec.structs.replace(case, sources=False),
            msgspec.structs.replace(case, notifications=False),
            msgspec.structs.replace(case, secrets=False),
            msgspec.structs.replace(case, max_jobs=None),
            msgspec.structs.replace(case, time_zone="UTC"),
            msgspec.structs.replace(case, lasts_ms=self._last_ms() + SECOND),
        ):
            if simpler != self.case:
                self._take(simpler)
        self._with_fewer_plans()

    def _last_ms(self) -> int:
        return max((each.at_ms for each in self.case.operations), default=0)

    def _with_fewer_plans(self) -> None:
        """Those that are never pushed are not needed."""
        pushes = [each.with_["plan"] for each in self.case.operations if each.what == "push"]
        kept = sorted({number % len(self.case.plans) for number in pushes})
        if not kept or len(kept) == len(self.case.plans):
            return
        renumbered = [
            msgspec.structs.replace(
                each, with_={"plan": kept.index(each.with_["plan"] % len(self.case.plans))}
            )
            if each.what == "push"
            else each
            for each in self.case.operations
        ]
        plans = tuple(self.case.plans[number] for number in kept)
        self._take(msgspec.structs.replace(self.case, plans=plans, operations=tuple(renumbered)))

    def _without_jobs(self) -> None:
        for number in range(len(self.case.plans)):
            for smaller in self._smaller(number):
                plans = [*self.case.plans]
                plans[number] = smaller
                self._take(msgspec.structs.replace(self.case, plans=tuple(plans)))

    def _smaller(self, number: int) -> Iterator[JobPlan]:
        """The plan without one of its jobs, for each of them; what cannot be pushed is no plan."""
        identifiers = {
            each.identifier for context in self.case.plans[number].root.walk() for each in context.jobs
        }
        for identifier in sorted(identifiers):
            smaller = without_job(self.case.plans[number], identifier)
            if is_valid(smaller, self.case.interval_multiple):
                yield smaller
