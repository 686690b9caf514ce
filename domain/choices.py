"""Looking for a way in which conditions are true: of each that has several parts, one is tried."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from .conditions import Condition, Every, Need, Some


class OutOfSteps(Exception):
    """Whether there is a way was not found out in so many steps."""


class Steps:
    """How much may still be done to find a way."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, number: int = 1) -> None:
        """Raises ``OutOfSteps``."""
        self._left -= number
        if self._left < 0:
            raise OutOfSteps


class Wanted(NamedTuple):
    """A condition, and the number of the job whose it is."""

    owner: int
    condition: Condition


class Ledger(Protocol):
    """What was taken as true on the way."""

    def take(self, owner: int, need: Need, /) -> Iterable[Wanted] | None:
        """Take one more as true; what that makes necessary, or ``None`` if it contradicts the others."""

    def ways(self, choice: Some, /) -> Sequence[Condition]:
        """Its parts, the most promising first."""

    def mark(self) -> int:
        """How things stand, for ``undo``."""

    def undo(self, mark: int, /) -> None:
        """Take nothing as true that was not at that mark."""


Chosen: TypeAlias = dict[int, Condition]
"""Which part was taken of each condition that has several, by the condition's identity."""


def settle(wanted: Sequence[Wanted], ledger: Ledger, steps: Steps) -> Chosen | None:
    """One way in which all of it is true, each with what that makes necessary; ``None`` if there is none.

    Raises ``OutOfSteps``.
    """
    return _Settling(ledger, steps).settle(wanted)


_Chain: TypeAlias = "tuple[Wanted, _Chain] | None"
_Choices: TypeAlias = "tuple[int, Some, _Choices] | None"


class _Tried(NamedTuple):
    """A condition of which one part is tried after the other, and how things stood before."""

    owner: int
    choice: Some
    left: Iterator[Condition]
    mark: int
    open: _Choices
    later: _Chain


class _Settling:
    """All about one job is settled before the next one: so what contradicts itself is found early."""

    def __init__(self, ledger: Ledger, steps: Steps) -> None:
        self._ledger = ledger
        self._steps = steps
        self._chosen: Chosen = {}
        self._tried: list[_Tried] = []
        self._open: _Choices = None
        self._later: _Chain = None

    def settle(self, wanted: Sequence[Wanted]) -> Chosen | None:
        for each in reversed(wanted):
            self._later = (each, self._later)
        going_on = True
        while going_on and (self._open is not None or self._later is not None):
            going_on = self._take(self._next()) or self._try_another()
        return self._chosen if going_on else None

    def _next(self) -> Wanted | None:
        """What is to be taken next; ``None`` if that is to be chosen first."""
        if self._open is None and self._later is not None:
            each, self._later = self._later
            return each
        return None

    def _take(self, wanted: Wanted | None) -> bool:
        """Whether it can be taken with all that it needs; of what has several parts, one is chosen later."""
        if wanted is None:
            return self._begin_a_choice()
        left = [wanted.condition]
        owner = wanted.owner
        while left:
            self._steps.spend()
            condition = left.pop()
            match condition:
                case Need():
                    following = self._ledger.take(owner, condition)
                    if following is None:
                        return False
                    for each in following:
                        self._later = (each, self._later)
                case Every(parts=parts) | Some(parts=(_,) as parts):
                    left += reversed(parts)
                case Some():
                    self._open = (owner, condition, self._open)
        return True

    def _begin_a_choice(self) -> bool:
        """Choose the first part of the latest condition that has several; false for one that has none."""
        if self._open is None:
            return True
        owner, choice, self._open = self._open
        left = iter(self._ledger.ways(choice))
        self._tried.append(_Tried(owner, choice, left, self._ledger.mark(), self._open, self._later))
        return self._try_another()

    def _try_another(self) -> bool:
        """Take another part of the latest condition that has one left, and forget what was taken since."""
        while self._tried:
            last = self._tried[-1]
            self._ledger.undo(last.mark)
            self._open, self._later = last.open, last.later
            way = next(last.left, None)
            if way is None:
                self._tried.pop()
            else:
                self._chosen[id(last.choice)] = way
                if self._take(Wanted(last.owner, way)):
                    return True
        return False
