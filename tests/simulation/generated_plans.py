"""Plans of any shape, drawn from a plain stream of chance: every kind of job, groupings of any depth."""

import random
from itertools import count

import msgspec
from jobledger.domain.instants import Instant
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    Job,
    JobIdentifier,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Member,
    Parameter,
    ScheduleJob,
    StartWindow,
    Trigger,
)
from jobledger.domain.possible import can_hold
from jobledger.domain.validation import validate
from virtual_launcher import Command

GLOBAL_EVENTS = ("rates", "close", "holiday")
LOCKS = ("tape", "licence", "all")
GROUPS = (None, None, "night", "NIGHT", "day")
ZONES = ("UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe")
_ATTEMPTS = 1_000


def random_plan(
    chance: random.Random,
    name: str,
    agents: tuple[str, ...],
    *,
    large: bool = False,
    interval_multiple: float = 1.0,
    begin_ms: Instant = 0,
) -> JobPlan:
    """A plan that is valid; blackouts of one night are around ``begin_ms``."""
    for _ in range(_ATTEMPTS):
        plan = _Draft(chance, name, agents, large=large, begin_ms=begin_ms).plan()
        if is_valid(plan, interval_multiple):
            return plan
    raise AssertionError("no valid plan was drawn; the generator does not know the rules any more")


def another_version(chance: random.Random, plan: JobPlan, draft: JobPlan, multiple: float) -> JobPlan:
    """The plan with some of what another has, as people change plans: little by little."""
    changed = plan
    for name in chance.sample(_CHANGED, chance.choice([1, 1, 2])):
        changed = msgspec.structs.replace(changed, **{name: getattr(draft, name)})
    jobs = sorted({each.identifier for context in plan.root.walk() for each in context.jobs})
    if len(jobs) > 1 and chance.random() < 0.4:
        changed = without_job(changed, chance.choice(jobs))
    return changed if is_valid(changed, multiple) else draft


_CHANGED = (
    "window",
    "concurrent",
    "end_on_completion",
    "disabled",
    "schedules_disabled",
    "environment_group",
)


def is_valid(plan: JobPlan, interval_multiple: float) -> bool:
    """Whether a dashboard takes it."""
    problems = validate(plan, start_interval_multiple=interval_multiple)
    return not any(problem.severity == "error" for problem in problems)


class _Draft:
    def __init__(
        self, chance: random.Random, name: str, agents: tuple[str, ...], *, large: bool, begin_ms: Instant
    ) -> None:
        self.chance = chance
        self.name = name
        self.agents = agents
        self.begin_ms = begin_ms
        self.most_jobs = 40 if large else 9
        self.most_contexts = 8 if large else 4
        self.contexts = count()

    def plan(self) -> JobPlan:
        chance = self.chance
        jobs = [self._job(number) for number in range(chance.randint(1, self.most_jobs))]
        root = self._context(self.name, jobs, depth=0)
        if chance.random() < 0.5:
            root = msgspec.structs.replace(root, locks=self._locks(root, jobs))
        listed = {each.identifier for context in root.walk() for each in context.jobs}
        templates = tuple(
            job
            for job in jobs
            if job.identifier in listed and not (isinstance(job, EventJob) and chance.random() < 0.5)
        )
        window, overlaps = self._window()
        return JobPlan(
            root=root,
            jobs=templates,
            window=window,
            environment_group=chance.choice(GROUPS),
            concurrent=overlaps or chance.random() < 0.3,
            end_on_completion=chance.random() < 0.5,
            disabled=chance.random() < 0.03,
            schedules_disabled=chance.random() < 0.05,
            delay_agent_synchronisation=chance.random() < 0.15,
        )

    # --- jobs -----------------------------------------------------------------------------------------------

    def _job(self, number: int) -> Job:
        weights = [30, 60, 10, 0, 0, 0, 0, 0] if number == 0 else [60, 5, 5, 10, 6, 3, 3, 4]
        kind = self.chance.choices(
            ["command", "schedule", "file", "global", "local", "start", "terminal", "bridging"], weights
        )[0]
        name = f"job{number}"
        agent = self.chance.choice(self.agents)
        match kind:
            case "command":
                return self._command(agent, name)
            case "schedule":
                return ScheduleJob(agent=agent, name=name, trigger=self._trigger())
            case "file":
                return self._file_job(agent, name)
            case "global":
                return EventJob.listed(EventKind.GLOBAL, self.chance.choice(GLOBAL_EVENTS))
            case _:
                return EventJob.listed(EventKind[kind.upper()], name)

    def _command(self, agent: str, name: str) -> CommandJob:
        chance = self.chance
        command = Command(
            longest_ms=chance.choice([5, 200, 3_000, 15_000]),
            fails=chance.choice([0, 0, 0, 0.1, 0.5, 1]),
            cannot_start=chance.choice([0, 0, 0, 0, 0.3]),
            vanishes=chance.choice([0, 0, 0, 0, 0, 0.2]),
        )
        return CommandJob(
            agent=agent,
            name=name,
            command_line=command.script(),
            successful_return_codes=chance.choice([(), (), (), (0, 1, 2, 3)]),
            target_residing_context_only=chance.random() < 0.2,
            repeatable=chance.random() < 0.15,
            days_of_week=chance.choice([(), (), (), (), (2, 4, 6)]),
            parameters=chance.choice([(), (Parameter("DATE", "2026"), Parameter("SIZE"))]),
            held_in=chance.choice([(), (), (), (), (self.name, f"{self.name}.0.0")]),
            skipped_in=chance.choice([(), (), (), (), (self.name, f"{self.name}.0.1")]),
        )

    def _trigger(self) -> Trigger:
        chance = self.chance
        return Trigger(
            cron=chance.choice(["0/15 * * * * ?", "5/30 * * * * ?", "0 * * * * ?", "0 0/5 * * * ?"]),
            zone=chance.choice([None, *ZONES]),
            persistent_recovery=chance.random() < 0.8,
            recovery_tolerance_ms=chance.choice([0, 30_000, 30 * 60_000]),
            blackout_expressions=chance.choice([(), (), (), ("30-59 * * * * ?",)]),
            drop_event_on_blackout=chance.random() < 0.3,
        )

    def _file_job(self, agent: str, name: str) -> FileJob:
        chance = self.chance
        folder = f"/in/{name}"
        return FileJob(
            agent=agent,
            name=name,
            trigger=Trigger(cron=chance.choice(["0/10 * * * * ?", "0/20 * * * * ?"])),
            file_path=folder,
            filenames=(chance.choice([".*", "a.*"]),),
            move_directory=chance.choice([None, f"/done/{name}"]),
            min_file_age_seconds=chance.choice([0, 0, 5]),
            sla_cron=chance.choice([None, None, "0 * * * * ?"]),
            directory_depth=chance.choice([1, 2]),
        )

    def _locks(self, root: Context, jobs: list[Job]) -> tuple[Lock, ...]:
        """Each command job takes part in one lock at most."""
        chance = self.chance
        commands = {job.identifier for job in jobs if isinstance(job, CommandJob)}
        named = chance.sample(LOCKS, chance.randint(1, len(LOCKS)))
        taken: dict[str, list[LockParticipant]] = {name: [] for name in named}
        lock_of: dict[JobIdentifier, str] = {}
        for context in root.walk():
            for listed in context.jobs:
                if listed.identifier in commands and chance.random() < 0.7:
                    name = lock_of.setdefault(listed.identifier, chance.choice(named))
                    count = chance.choice([1, 1, 1, 2, 4])
                    taken[name].append(LockParticipant(context.name, listed.identifier, count))
        return tuple(
            Lock(
                name=name,
                count=chance.choice([1, 1, 2, 3]),
                exclusive=name == "all" or chance.random() < 0.1,
                participants=tuple(participants),
            )
            for name, participants in taken.items()
        )

    # --- contexts -------------------------------------------------------------------------------------------

    def _context(self, name: str, jobs: list[Job], depth: int) -> Context:
        chance = self.chance
        share = 0.8 if depth == 0 else 0.4
        listed = [job for at, job in enumerate(jobs) if chance.random() < share or (not at and not depth)]
        listed = list({job.identifier: job for job in listed}.values())
        children = []
        while depth < 3 and chance.random() < 0.4 and next(self.contexts) < self.most_contexts:
            child = f"{self.name}.{depth}.{next(self.contexts)}"
            children.append(self._context(child, jobs, depth + 1))
        return Context(
            name=name,
            jobs=tuple(ListedJob(job.agent, job.name) for job in listed),
            dependencies=tuple(self._dependencies(listed)),
            contexts=tuple(children),
            parameters=chance.choice([(), (), (Parameter("DATE", value="20260101"),)]),
        )

    def _dependencies(self, listed: list[Job]) -> list[Dependency]:
        """Only on jobs before: no cycle, whatever is combined."""
        chance = self.chance
        found = []
        for at, job in enumerate(listed):
            if isinstance(job, ScheduleJob | FileJob) or not at or chance.random() < 0.2:
                continue
            before = [each.identifier for each in listed[:at] if each.identifier != job.identifier]
            for _ in range(chance.choice([1, 1, 1, 2])):
                if before:
                    found.append(Dependency(job.identifier, self._possible(before)))
        if chance.random() < 0.3 and listed:
            found.append(Dependency(listed[0].identifier, None))
        return found

    def _possible(self, names: list[JobIdentifier]) -> Grouping:
        grouping = self._grouping(names, 0)
        return grouping if can_hold(grouping) else Grouping(all_of=(self.chance.choice(names),))

    def _grouping(self, names: list[JobIdentifier], depth: int) -> Grouping:
        chance = self.chance
        shape = chance.choices(["and", "or", "both", "nested", "not"], [40, 20, 10, 15, 15])[0]
        nested = self._grouping(names, depth + 1) if shape == "nested" and depth < 4 else None
        return Grouping(
            all_of=self._members(names, depth) if shape in {"and", "both", "not", "nested"} else (),
            any_of=self._members(names, depth) if shape in {"or", "both"} else (),
            none_of=tuple(chance.sample(names, 1)) if shape == "not" else (),
            nested=nested,
        )

    def _members(self, names: list[JobIdentifier], depth: int) -> tuple[Member, ...]:
        chance = self.chance
        members: list[Member] = list(chance.sample(names, min(len(names), chance.randint(1, 3))))
        if depth < 4 and chance.random() < 0.15:
            members.append(self._grouping(names, depth + 1))
        return tuple(members)

    def _window(self) -> tuple[StartWindow, bool]:
        """When it starts, and whether its instances overlap."""
        chance = self.chance
        if chance.random() < 0.2:
            return StartWindow(), False
        interval = chance.choice([(20, "0/20 * * * * ?"), (60, "0 * * * * ?"), (300, "0 0/5 * * * ?")])
        seconds, cron = interval
        lives_s = chance.choice([seconds // 2, seconds - 1, seconds * 2, seconds * 3, seconds * 10])
        window = StartWindow(
            cron=chance.choice([cron, cron, cron, cron, None]),
            zone=chance.choice([None, *ZONES]),
            time_to_live_ms=lives_s * 1000,
            blackout_expressions=chance.choice([(), (), (), (), ("0 * * * * ?",), ("30-59 * * * * ?",)]),
            blackout_ranges=chance.choice([(), (), (), self._dark_for_a_while()]),
        )
        return window, lives_s >= seconds and chance.random() < 0.5

    def _dark_for_a_while(self) -> tuple[tuple[Instant, Instant], ...]:
        begin = self.begin_ms + self.chance.randrange(180_000)
        return ((begin, begin + self.chance.choice([1, 30_000, 120_000])),)


def without_job(plan: JobPlan, identifier: JobIdentifier) -> JobPlan:
    """The plan without one job, for a smaller case; dependencies on it go with it."""

    def pruned(grouping: Grouping | None) -> Grouping | None:
        if grouping is None:
            return None
        kept = {name: tuple(_kept(getattr(grouping, name))) for name in ("all_of", "any_of", "none_of")}
        return Grouping(**kept, nested=pruned(grouping.nested))

    def _kept(members: tuple[Member, ...]) -> list[Member]:
        found: list[Member] = []
        for each in members:
            if isinstance(each, Grouping):
                inner = pruned(each)
                if inner is not None and list(inner.identifiers()):
                    found.append(inner)
            elif each != identifier:
                found.append(each)
        return found

    def context(tree: Context) -> Context:
        dependencies = [
            Dependency(each.dependant, pruned(each.grouping))
            for each in tree.dependencies
            if each.dependant != identifier
        ]
        return msgspec.structs.replace(
            tree,
            jobs=tuple(each for each in tree.jobs if each.identifier != identifier),
            dependencies=tuple(
                each for each in dependencies if each.grouping is None or list(each.grouping.identifiers())
            ),
            contexts=tuple(context(each) for each in tree.contexts),
        )

    return msgspec.structs.replace(
        plan,
        root=context(plan.root),
        jobs=tuple(each for each in plan.jobs if each.identifier != identifier),
    )
