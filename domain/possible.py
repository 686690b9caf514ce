"""Whether a grouping can hold at all."""

from typing import NamedTuple

from .plan import Grouping, JobIdentifier, Member

_Jobs = frozenset[JobIdentifier]
_NO_JOBS: _Jobs = frozenset()


class _Demands(NamedTuple):
    """What is true whenever a grouping holds: these jobs are satisfied, those are not."""

    satisfied: _Jobs
    unsatisfied: _Jobs

    @property
    def contradictory(self) -> bool:
        return not self.satisfied.isdisjoint(self.unsatisfied)

    def with_all(self, other: "_Demands") -> "_Demands":
        return _Demands(self.satisfied | other.satisfied, self.unsatisfied | other.unsatisfied)


def can_hold(grouping: Grouping) -> bool:
    """Whether some outcome of its jobs makes the grouping hold.

    It never does when it, or a part that it needs, consists of ``not`` alone or of nothing, or demands of one
    job that it is both satisfied and not.
    """
    return _demands(grouping) is not None


def _demands(grouping: Grouping) -> _Demands | None:
    """What the grouping demands, or ``None`` when it can never hold."""
    common = _Demands(
        _NO_JOBS, frozenset(each for each in grouping.none_of if not isinstance(each, Grouping))
    )
    if grouping.nested is not None:
        nested = _demands(grouping.nested)
        if nested is None:
            return None
        common = common.with_all(nested)
    if not (grouping.all_of or grouping.any_of):
        return None if grouping.nested is None or common.contradictory else common
    alternatives = [_demands_of(each) for each in grouping.any_of]
    if grouping.all_of:
        alternatives.append(_demands_of_all(grouping.all_of))
    possible = [
        each
        for each in alternatives
        if each is not None
        and not each.contradictory
        and each.satisfied.isdisjoint(common.unsatisfied)
        and each.unsatisfied.isdisjoint(common.satisfied)
    ]
    if not possible or common.contradictory:
        return None
    either = _Demands(
        frozenset.intersection(*(each.satisfied for each in possible)),
        frozenset.intersection(*(each.unsatisfied for each in possible)),
    )
    return common.with_all(either)


def _demands_of(member: Member) -> _Demands | None:
    if isinstance(member, Grouping):
        return _demands(member)
    return _Demands(frozenset((member,)), _NO_JOBS)


def _demands_of_all(members: tuple[Member, ...]) -> _Demands | None:
    satisfied: set[JobIdentifier] = set()
    unsatisfied: set[JobIdentifier] = set()
    for member in members:
        if isinstance(member, Grouping):
            demands = _demands(member)
            if demands is None:
                return None
            satisfied |= demands.satisfied
            unsatisfied |= demands.unsatisfied
        else:
            satisfied.add(member)
    return _Demands(frozenset(satisfied), frozenset(unsatisfied))
