"""Whether a grouping can hold at all."""

from collections.abc import Iterable, Sequence

from .choices import OutOfSteps, Steps, Wanted, settle
from .conditions import Condition, Need, Some, condition_of
from .plan import Grouping, JobIdentifier

_MOST_STEPS = 20_000


def can_hold(grouping: Grouping) -> bool:
    """Whether some outcome of its jobs makes the grouping hold.

    It never does when it, or a part that it needs, consists of ``not`` alone or of nothing, or demands of one
    job that it is both satisfied and not. A grouping is given the benefit of the doubt when that takes very
    long to find out.
    """
    if not grouping.none_of and grouping.nested is None and _names_jobs_alone(grouping):
        return bool(grouping.all_of or grouping.any_of)
    numbers: dict[JobIdentifier, int] = {}
    condition = condition_of(grouping, lambda job: numbers.setdefault(job, len(numbers)))
    try:
        return settle([Wanted(0, condition)], _Outcome(), Steps(_MOST_STEPS)) is not None
    except OutOfSteps:
        return True


def _names_jobs_alone(grouping: Grouping) -> bool:
    return not any(isinstance(each, Grouping) for each in (*grouping.all_of, *grouping.any_of))


class _Outcome:
    """An outcome of some jobs at one moment."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def take(self, _owner: int, need: Need) -> Iterable[Wanted] | None:
        return () if self._known.setdefault(need.job, need.satisfied) == need.satisfied else None

    def ways(self, choice: Some) -> Sequence[Condition]:
        return choice.parts

    def mark(self) -> int:
        return len(self._known)

    def undo(self, mark: int) -> None:
        while len(self._known) > mark:
            self._known.popitem()
