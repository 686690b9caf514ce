"""Which jobs some order of completions starts, where jobs must also not have completed.

Without ``not`` it is enough to see what each job needs, one after the other. With it, the order matters: a
job that waits for ``b`` and for ``a`` not to have completed never starts if ``b`` itself starts after ``a``.
So a way is looked for to choose among each job's alternatives such that the begins and the ends of jobs can
be put into an order: a job begins after the end of those that it needs, before the end of those that it must
not have had, and ends after it began.

What starts from outside can start again and fail, so it is in nobody's way. The same is assumed of a job that
is repeatable. Nobody's order by hand is counted on, and an event job that completes at once is thought to
take its time: what is found here never starts by itself, and in doubt a job is taken to start.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .choices import Chosen, OutOfSteps, Steps, Wanted, settle
from .conditions import Condition, Every, Need, Some, size

_STEPS_AT_LEAST = 250_000
_STEPS_FOR_EACH_PART = 5
"""So that also a plan of ten thousand jobs that all say ``not`` is accepted in a second or two."""


@dataclass(frozen=True, slots=True)
class Waits:
    """A job that only others can start."""

    starts: Condition
    repeatable: bool
    rank: int
    """The place in an order in which jobs might start if no job stood in the way of another."""


def never_starting(waiting: Mapping[int, Waits]) -> list[int]:
    """Those of the jobs that wait which no order of completions starts.

    Jobs that are not among them start from outside. One that waits for a job that is found here, and for
    nothing else that cannot be, is not found as well.
    """
    search = _Search(dict(waiting))
    with suppress(OutOfSteps):
        search.run()
    return search.found


class _Search:
    """First whether all jobs start in one order; then about those one by one of which this is not known."""

    def __init__(self, waiting: dict[int, Waits]) -> None:
        self.found: list[int] = []
        self._waiting = waiting
        self._steps = Steps(
            _STEPS_AT_LEAST + _STEPS_FOR_EACH_PART * sum(size(each.starts) for each in waiting.values())
        )
        self._preferred: Chosen = {}
        """What was chosen where the most promising way was none."""

    def run(self) -> None:
        """Raises ``OutOfSteps``."""
        apart: set[int] = set()
        """Jobs that start, but not in the order in which others do."""
        known_to_start: set[int] = set()
        together = self._by_rank(self._waiting)
        while (job := self._first_in_a_circle(together)) is not None:
            if job in known_to_start:
                apart |= self._held_up_by(job)
                together = [each for each in together if each not in apart]
            elif self._starts(job):
                known_to_start.add(job)
            else:
                together.remove(job)
        for job in self._by_rank(apart - known_to_start):
            self._starts(job)

    def _by_rank(self, jobs: Iterable[int]) -> list[int]:
        return sorted(jobs, key=lambda each: self._waiting[each].rank)

    def _starts(self, job: int) -> bool:
        """Whether the job starts in some order; if not, it is taken to start from outside from now on."""
        order = _Order(self._waiting, self._preferred, self._steps)
        chosen = settle([Wanted(job, self._waiting[job].starts)], order, self._steps)
        if chosen is None:
            self.found.append(job)
            del self._waiting[job]
            return False
        self._preferred.update(chosen)
        return True

    def _first_in_a_circle(self, ranked: list[int]) -> int | None:
        """The first job with which those before it do not all start in one order any more."""
        fine, wrong = 0, len(ranked) + 1
        middle = len(ranked)
        while wrong - fine > 1:
            if self._start_in_one_order(ranked[:middle]):
                fine = middle
            else:
                wrong = middle
            middle = (fine + wrong) // 2
        return ranked[fine] if fine < len(ranked) else None

    def _start_in_one_order(self, jobs: list[int]) -> bool:
        order = _AllAtOnce(self._waiting, self._preferred, self._steps)
        wanted = [Wanted(job, self._waiting[job].starts) for job in jobs]
        return settle(wanted, order, self._steps) is not None and not order.has_circle()

    def _held_up_by(self, job: int) -> set[int]:
        """The job and all that may need it, directly or not."""
        needing: defaultdict[int, list[int]] = defaultdict(list)
        for each, waits in self._waiting.items():
            for needed in _needed_by(waits.starts):
                needing[needed].append(each)
        found = {job}
        left = [job]
        while left:
            for each in needing.get(left.pop(), ()):
                self._steps.spend()
                if each not in found:
                    found.add(each)
                    left.append(each)
        return found


def _needed_by(condition: Condition) -> Iterator[int]:
    if not isinstance(condition, Need):
        for part in condition.parts:
            yield from _needed_by(part)
    elif condition.satisfied:
        yield condition.job


class _AllAtOnce:
    """What begins before what ends, with nothing said yet about whether that can be."""

    def __init__(self, waiting: Mapping[int, Waits], preferred: Chosen, steps: Steps) -> None:
        self._waiting = waiting
        self._preferred = preferred
        self._steps = steps
        self._known: dict[tuple[int, int], bool] = {}
        self._after: defaultdict[int, list[int]] = defaultdict(list)
        self._before: defaultdict[int, list[int]] = defaultdict(list)
        self._taken: list[tuple[tuple[int, int], tuple[int, int] | None]] = []

    def take(self, owner: int, need: Need) -> Iterable[Wanted] | None:
        known = self._known.get((owner, need.job))
        if known is not None:
            return () if known == need.satisfied else None
        self._known[owner, need.job] = need.satisfied
        edge = self._edge(owner, need)
        self._taken.append(((owner, need.job), edge))
        if edge is None:
            return ()
        first, then = edge
        self._after[first].append(then)
        self._before[then].append(first)
        return self._following(first, then, need)

    def _following(self, _first: int, _then: int, _need: Need) -> Iterable[Wanted] | None:
        """What one more pair makes necessary: nothing, as all jobs are wanted anyway."""
        return ()

    def _edge(self, owner: int, need: Need) -> tuple[int, int] | None:
        other, own = self._waiting.get(need.job), self._waiting[owner]
        if other is None:
            return None
        if need.satisfied:
            # A loop of repeatable jobs is one that somebody starts by hand.
            looping = other.repeatable and own.repeatable
            return None if looping else (_end(need.job), _begin(owner))
        return None if other.repeatable else (_begin(owner), _end(need.job))

    def ways(self, choice: Some) -> Sequence[Condition]:
        self._steps.spend(len(choice.parts))
        first = self._preferred.get(id(choice))
        return sorted(choice.parts, key=lambda each: -1 if each is first else self._rank(each))

    def _rank(self, condition: Condition) -> int:
        match condition:
            case Need(job=job, satisfied=True) if job in self._waiting:
                return self._waiting[job].rank
            case Every(parts=parts):
                return max(map(self._rank, parts), default=0)
            case Some(parts=parts):
                return min(map(self._rank, parts), default=0)
            case _:
                return 0

    def mark(self) -> int:
        return len(self._taken)

    def undo(self, mark: int) -> None:
        while len(self._taken) > mark:
            known, edge = self._taken.pop()
            del self._known[known]
            if edge is not None:
                first, then = edge
                self._after[first].pop()
                self._before[then].pop()

    def has_circle(self) -> bool:
        """Whether a begin or an end comes before itself."""
        jobs = {node // 2 for node in (*self._before, *self._after)}
        among = [node for job in jobs for node in (_begin(job), _end(job))]
        missing = {node: len(self._before.get(node, ())) + _is_end(node) for node in among}
        ready = [node for node, count in missing.items() if not count]
        while ready:
            self._steps.spend()
            for then in self._then(ready.pop()):
                missing[then] -= 1
                if not missing[then]:
                    ready.append(then)
        return any(missing.values())

    def _then(self, node: int) -> Iterator[int]:
        if not _is_end(node):
            yield node + 1
        yield from self._after.get(node, ())


class _Order(_AllAtOnce):
    """What begins before what ends, without a circle, with what the jobs need to start themselves."""

    def __init__(self, waiting: Mapping[int, Waits], preferred: Chosen, steps: Steps) -> None:
        super().__init__(waiting, preferred, steps)
        self._needed: dict[int, int] = {}
        """Jobs that must start, with how much was taken before that was known."""

    def undo(self, mark: int) -> None:
        super().undo(mark)
        while self._needed and next(reversed(self._needed.values())) > mark:
            self._needed.popitem()

    def _following(self, first: int, then: int, need: Need) -> Iterable[Wanted] | None:
        if self._comes_before(then, first):
            return None
        if not need.satisfied or need.job in self._needed:
            return ()
        self._needed[need.job] = len(self._taken)
        return [Wanted(need.job, self._waiting[need.job].starts)]

    def _comes_before(self, first: int, then: int) -> bool:
        """Whether one is before the other already; looked for from the one that was known last, mostly."""
        seen = {then}
        left = [then]
        while left:
            node = left.pop()
            self._steps.spend()
            if node == first:
                return True
            earlier = [*self._before.get(node, ()), *([node - 1] if _is_end(node) else [])]
            for each in earlier:
                if each not in seen:
                    seen.add(each)
                    left.append(each)
        return False


def _begin(job: int) -> int:
    return 2 * job


def _end(job: int) -> int:
    return 2 * job + 1


def _is_end(node: int) -> bool:
    return bool(node % 2)
