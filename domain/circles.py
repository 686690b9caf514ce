"""Which jobs can come to run although others wait for them too, and which wait for themselves in a circle."""

from collections.abc import Callable, Iterable, Mapping

from .plan import JobIdentifier
from .unmet import AllOf, AnyOf, Lacking, Unmet, Wait


def grounded(
    by_themselves: Iterable[int],
    waits: Mapping[int, tuple[Wait, ...]],
    unit_of: Callable[[str, JobIdentifier], int],
) -> set[int]:
    """The jobs that can come to run when those do that can ``by_themselves``.

    A job can when one of its dependencies lacks nothing but jobs that can. Each lack is looked at once for
    each job that it needs.
    """
    grounding = _Grounding()
    for unit, dependencies in waits.items():
        for wait in dependencies:
            grounding.add(unit, wait, unit_of)
    grounding.settle(by_themselves)
    return grounding.found


class _Grounding:
    """Counts, for each part of what a dependency lacks, how many of its parts are still missing."""

    def __init__(self) -> None:
        self.found: set[int] = set()
        self._missing: list[int] = []
        self._above: list[int] = []
        """Of each part, the part that it belongs to, or ``-1 - unit`` of the job that it is for."""
        self._needing: dict[int, list[int]] = {}
        self._waiting: list[int] = []

    def add(self, unit: int, wait: Wait, unit_of: Callable[[str, JobIdentifier], int]) -> None:
        left: list[tuple[Unmet, int]] = [(wait.lacks, -1 - unit)]
        while left:
            part, above = left.pop()
            match part:
                case AllOf(parts=parts) | AnyOf(parts=parts):
                    number = self._part(len(parts) if isinstance(part, AllOf) else 1, above)
                    left += [(each, number) for each in parts]
                case Lacking(job=job):
                    self._needing.setdefault(unit_of(wait.context, job), []).append(above)
                case _:
                    self._arrive(above)

    def _part(self, missing: int, above: int) -> int:
        self._missing.append(missing)
        self._above.append(above)
        return len(self._missing) - 1

    def settle(self, units: Iterable[int]) -> None:
        for unit in units:
            self._arrive(-1 - unit)
        while self._waiting:
            for above in self._needing.get(self._waiting.pop(), ()):
                self._arrive(above)

    def _arrive(self, above: int) -> None:
        """One of the parts that something needs is there."""
        while above >= 0:
            self._missing[above] -= 1
            if self._missing[above]:
                return
            above = self._above[above]
        unit = -1 - above
        if unit not in self.found:
            self.found.add(unit)
            self._waiting.append(unit)
