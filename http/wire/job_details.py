"""A job with all that is known of it: what it is, what it waits for and what would become of it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ...domain.instance import InstanceState
from ...domain.plan import Grouping, JobIdentifier, Member
from ...domain.secret_values import covered
from ...domain.topology import Unit
from ...domain.unmet import unmet
from .lock_views import WaitView
from .parameter_views import ParameterView, parameter_views
from .views import HolderView, JobView, job_view


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A job, or a grouping, that a dependency speaks of."""

    holds: bool
    """Whether the job is satisfied, or the grouping holds."""
    identifier: str | None = None
    status: str | None = None
    grouping: "GroupingView | None" = None


class GroupingView(msgspec.Struct, frozen=True, kw_only=True):
    """Holds when what is nested does, all of ``all_of`` or any of ``any_of``, and none of ``none_of``."""

    holds: bool
    all_of: tuple[MemberView, ...] = ()
    any_of: tuple[MemberView, ...] = ()
    none_of: tuple[MemberView, ...] = ()
    nested: "GroupingView | None" = None


class DependencyView(msgspec.Struct, frozen=True, kw_only=True):
    """What starts the job, in one of its contexts."""

    context: str
    grouping: GroupingView


class JobDetails(JobView, frozen=True, kw_only=True):
    """A job with all that is known of it."""

    contexts: tuple[str, ...]
    """All in which it stands as one and the same job."""
    initiation_id: str | None
    """By which its agent knows its latest run."""
    template: dict[str, Any]
    """The job as its plan has it; secrets are covered."""
    parameters: tuple[ParameterView, ...]
    """What an initiation would carry now, and from where."""
    dependencies: tuple[DependencyView, ...]
    """Each can start it; none: it starts from outside, or by hand."""
    lock_wait: WaitView | None
    """Why it waits for its lock."""


def job_details(
    state: InstanceState,
    unit: Unit,
    context: str,
    *,
    lock_wait: WaitView | None,
    holders: tuple[HolderView, ...],
) -> JobDetails:
    """Everything about a job but why, with the parameters that it gets in one of its contexts."""
    number = state.job(unit.index).initiation
    return JobDetails(
        **msgspec.structs.asdict(job_view(state, unit, holders)),
        contexts=unit.contexts,
        initiation_id=state.initiation_id(number) if number else None,
        template=covered(msgspec.to_builtins(unit.job)),
        parameters=parameter_views(state, unit, context),
        dependencies=tuple(_dependencies(state, unit)),
        lock_wait=lock_wait,
    )


def _dependencies(state: InstanceState, unit: Unit) -> Iterator[DependencyView]:
    for number in unit.dependencies:
        dependency = state.topology.dependencies[number]
        grouping = _grouping(state, dependency.context, dependency.grouping)
        yield DependencyView(context=dependency.context, grouping=grouping)


def _grouping(state: InstanceState, context: str, grouping: Grouping) -> GroupingView:
    def members(listed: tuple[Member, ...]) -> tuple[MemberView, ...]:
        return tuple(_member(state, context, each) for each in listed)

    return GroupingView(
        holds=unmet(grouping, lambda job: _satisfied(state, context, job)) is None,
        all_of=members(grouping.all_of),
        any_of=members(grouping.any_of),
        none_of=members(grouping.none_of),
        nested=None if grouping.nested is None else _grouping(state, context, grouping.nested),
    )


def _member(state: InstanceState, context: str, member: Member) -> MemberView:
    if isinstance(member, Grouping):
        inner = _grouping(state, context, member)
        return MemberView(holds=inner.holds, grouping=inner)
    unit = state.topology.unit_in(context, member)
    status = None if unit is None else state.job(unit.index).status.value
    return MemberView(holds=_satisfied(state, context, member), identifier=member, status=status)


def _satisfied(state: InstanceState, context: str, job: JobIdentifier) -> bool:
    unit = state.topology.unit_in(context, job)
    return unit is not None and state.job(unit.index).bearing.satisfied
