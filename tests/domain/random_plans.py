"""Plans of any shape for property tests: nested contexts, shared jobs, groupings to some depth."""

from collections.abc import Sequence

from hypothesis import strategies as st
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    Job,
    JobPlan,
    ListedJob,
    Member,
    ScheduleJob,
    Trigger,
)

AGENT = "host"


def groupings(jobs: Sequence[str]) -> st.SearchStrategy[Grouping]:
    """Of any shape, also of those that mean nothing or contradict themselves."""
    members = st.sampled_from(jobs)
    return st.recursive(
        _level(members, st.none()), lambda inner: _level(members | inner, st.none() | inner), max_leaves=5
    )


def _level(members: st.SearchStrategy[Member], nested: st.SearchStrategy) -> st.SearchStrategy[Grouping]:
    some = st.lists(members, max_size=2).map(tuple)
    return st.builds(Grouping, all_of=some, any_of=some, none_of=some, nested=nested)


def _groupings(names: list[str]) -> st.SearchStrategy[Grouping]:
    members = st.lists(st.sampled_from(names), min_size=1, max_size=3).map(tuple)
    nothing: st.SearchStrategy[tuple[str, ...]] = st.just(())
    flat = st.one_of(
        st.builds(Grouping, all_of=members, none_of=st.one_of(nothing, nothing, members)),
        st.builds(Grouping, any_of=members),
        st.builds(Grouping, all_of=members, any_of=members),
    )
    return st.recursive(
        flat,
        lambda inner: st.one_of(
            st.builds(Grouping, all_of=members, nested=inner),
            st.builds(Grouping, nested=inner),
            st.builds(lambda names, group: Grouping(all_of=(*names, group)), members, inner),
            st.builds(lambda group, other: Grouping(any_of=(group, other)), inner, inner),
        ),
        max_leaves=3,
    )


@st.composite
def plans(draw: st.DrawFn) -> JobPlan:
    """A plan whose dependencies are all between jobs of one context."""
    count = draw(st.integers(1, 8))
    jobs = [draw(_jobs(f"job{number}")) for number in range(count)]
    shape = draw(st.lists(st.integers(0, 3), min_size=0, max_size=3))
    names = ["root", *(f"child{number}" for number in range(len(shape)))]
    listed: dict[str, list[Job]] = {
        name: draw(st.lists(st.sampled_from(jobs), unique_by=lambda job: job.identifier, max_size=6))
        for name in names
    }
    contexts: dict[str, Context] = {}
    for number in reversed(range(len(names))):
        children = tuple(
            contexts.pop(names[index + 1])
            for index, parent in enumerate(shape)
            if min(parent, index) == number and names[index + 1] in contexts
        )
        contexts[names[number]] = Context(
            name=names[number],
            jobs=tuple(ListedJob(job.agent, job.name) for job in listed[names[number]]),
            dependencies=draw(_dependencies(listed[names[number]])),
            contexts=children,
        )
    return JobPlan(root=contexts["root"], jobs=tuple(jobs))


@st.composite
def _dependencies(draw: st.DrawFn, jobs: list[Job]) -> tuple[Dependency, ...]:
    dependants = [job.identifier for job in jobs if not isinstance(job, ScheduleJob)]
    names = [job.identifier for job in jobs]
    if not dependants or len(names) < 2:
        return ()
    chosen = draw(st.lists(st.sampled_from(dependants), max_size=4))
    dependencies = []
    for dependant in chosen:
        others = [name for name in names if name != dependant]
        dependencies.append(Dependency(dependant, draw(st.one_of(st.none(), _groupings(others)))))
    return tuple(dependencies)


@st.composite
def _jobs(draw: st.DrawFn, name: str) -> Job:
    kind = draw(st.sampled_from(["command", "command", "command", "schedule", "global", "local"]))
    if kind == "schedule":
        return ScheduleJob(agent=AGENT, name=name, trigger=Trigger(cron="0 0 7 * * ?"))
    if kind == "global":
        return EventJob.listed(EventKind.GLOBAL, name)
    if kind == "local":
        return EventJob.listed(EventKind.LOCAL, name)
    return CommandJob(
        agent=AGENT,
        name=name,
        command_line="true",
        target_residing_context_only=draw(st.sampled_from([False, False, False, True])),
        repeatable=draw(st.sampled_from([False, False, False, True])),
        held_in=draw(st.sampled_from([(), (), (), ("root", "child0")])),
        skipped_in=draw(st.sampled_from([(), (), (), ("root", "child1")])),
    )
