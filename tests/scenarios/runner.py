"""Reads a scenario and plays it against the pure core."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from jobledger.domain.commands import Command, EndInstance, Refused, ReportEvent, SubmitJob
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import (
    Cause,
    EventIgnored,
    FireSkipped,
    GlobalEventRaised,
    InstanceStarted,
    JobInitiated,
    Recorded,
)
from jobledger.domain.instance import InstanceState
from jobledger.domain.messages import Outcome, ProcessEvent
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    Job,
    JobPlan,
    ListedJob,
    Parameter,
    ScheduleJob,
    Trigger,
)
from jobledger.domain.topology import Topology

AGENT = "host"
INSTANCE = UUID(int=1)
_KINDS = ("command", "schedule", "file", *(kind.name.lower() for kind in EventKind))


class ScenarioMistake(Exception):
    """The file does not read; says the line."""


@dataclass
class Scenario:
    """A plan, and what is told to an instance of it."""

    plan: JobPlan
    steps: list[tuple[int, str]]


@dataclass
class _Draft:
    name: str
    parent: str | None
    jobs: list[Job] = field(default_factory=list)
    rules: list[tuple[str, str]] = field(default_factory=list)


def read(path: Path) -> Scenario:
    """The scenario of a file."""
    drafts: dict[str, _Draft] = {}
    steps: list[tuple[int, str]] = []
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        words = line.split()
        if words[0] == "context":
            current = _Draft(words[1], words[3] if len(words) > 3 else None)
            drafts[current.name] = current
        elif not steps and words[0] in _KINDS:
            current.jobs.append(_job(words))
        elif not steps and "after" in words:
            current.rules.append((words[0], line.split(" after ", 1)[1]))
        else:
            steps.append((number, line))
    jobs = {job.identifier: job for draft in drafts.values() for job in draft.jobs}
    names = {job.name: job for job in jobs.values()}
    root = next(iter(drafts.values()))
    return Scenario(JobPlan(root=_context(root, drafts, names), jobs=tuple(jobs.values())), steps)


def _job(words: list[str]) -> Job:
    kind, name, rest = words[0], words[1], " ".join(words[2:])
    if kind == "command":
        given = re.findall(r"(\w+)=(\S+)", rest)
        return CommandJob(
            agent=AGENT,
            name=name,
            command_line="true",
            repeatable="repeatable" in rest,
            target_residing_context_only="here only" in rest,
            parameters=tuple(Parameter(key, value) for key, value in given),
        )
    if kind == "schedule":
        return ScheduleJob(agent=AGENT, name=name, trigger=Trigger(cron="0 0 7 * * ?"))
    if kind == "file":
        return FileJob(agent=AGENT, name=name, trigger=Trigger(cron="0 * * * * ?"), filenames=("x",))
    return EventJob.listed(EventKind[kind.upper()], name)


def _context(draft: _Draft, drafts: dict[str, _Draft], names: dict[str, Job]) -> Context:
    return Context(
        name=draft.name,
        jobs=tuple(ListedJob(job.agent, job.name) for job in draft.jobs),
        dependencies=tuple(
            Dependency(names[dependant].identifier, _grouping(text, names)) for dependant, text in draft.rules
        ),
        contexts=tuple(_context(d, drafts, names) for d in drafts.values() if d.parent == draft.name),
    )


def _grouping(text: str, names: dict[str, Job]) -> Grouping:
    tokens = re.findall(r"[()]|[^\s()]+", text)

    def one() -> str | Grouping:
        token = tokens.pop(0)
        if token != "(":
            return names[token].identifier
        inside = expression()
        tokens.pop(0)
        return inside

    def expression() -> Grouping:
        members: dict[str, list[str | Grouping]] = {"and": [], "or": [], "not": []}
        joint = "and"
        if tokens[0] != "not":
            first = one()
            joint = tokens[0] if tokens and tokens[0] in {"and", "or"} else "and"
            members[joint].append(first)
        while tokens and tokens[0] != ")":
            word = tokens.pop(0)
            if word == "and" and tokens[0] == "not":
                word = tokens.pop(0)
            members[word].append(one())
        return Grouping(
            all_of=tuple(members["and"]), any_of=tuple(members["or"]), none_of=tuple(members["not"])
        )

    return expression()


class CorePlay:
    """One instance of the scenario's plan in the pure core."""

    def __init__(self, plan: JobPlan) -> None:
        self.topology = Topology(plan)
        self.names = {unit.job.name: unit for unit in self.topology.units}
        fact = InstanceStarted(plan=plan.name, plan_version=1, agents=plan.agents())
        step = start(
            self.topology, instance_id=INSTANCE, fact=fact, at=0, cause=Cause(command="StartInstance")
        )
        self.state: InstanceState = step.state
        self.before: InstanceState = step.state
        self.facts: tuple[Recorded, ...] = ()
        self.refused = False
        self._last: Command | None = None
        self._now = 0

    def tell(self, line: str) -> None:
        """Play one line that tells something."""
        command = self._last if line == "again" else self._command(line)
        if command is None:
            raise ScenarioMistake("nothing was told before that could come again")
        self._last = command
        self._now += 1
        self.before = self.state
        answer = advance(self.state, command, at=self._now, cause=Cause(position=self._now))
        self.refused = isinstance(answer, Refused)
        self.facts = answer.facts if isinstance(answer, Step) else ()
        self.state = answer.state if isinstance(answer, Step) else self.state

    def _command(self, line: str) -> Command:
        words = line.split()
        context = words[words.index("in") + 1] if "in" in words else None
        match words:
            case ["end"]:
                return EndInstance()
            case ["submit", name, *_]:
                unit = self.names[name]
                return SubmitJob(job=unit.identifier, context=context or unit.contexts[0])
            case ["start", name, *_]:
                return self._report(name, context, starting=True)
            case ["finish", name, "ok", *_]:
                return self._report(name, context, successful=True, return_code=0)
            case ["finish", name, "failed", code, *_]:
                return self._report(name, context, return_code=int(code))
            case ["fire", name, *_]:
                return self._report(name, context, successful=True)
            case ["skip-fire", name, *reason]:
                return self._report(name, None, outcome=Outcome.FIRE_SKIPPED, details=" ".join(reason))
            case _:
                raise ScenarioMistake(f"cannot tell {line!r}")

    def _report(self, name: str, context: str | None, **given: object) -> ReportEvent:
        units = [self.topology.units[i] for i in self.topology.by_identifier[self.names[name].identifier]]
        unit = next((each for each in units if context in each.contexts), units[0])
        number = self.state.job(unit.index).initiation
        event = ProcessEvent(
            agent=unit.job.agent,
            job=name,
            instance_id=str(INSTANCE),
            contexts=(context,) if context else (),
            initiation_id=self.state.initiation_id(number) if number else None,
            fired_at=self._now,
            id=f"event-{self._now}",
            **given,  # type: ignore[arg-type]
        )
        return ReportEvent(event=event)

    def expect(self, line: str) -> Iterator[tuple[str, str]]:
        """Pairs of what was expected and what is, for one ``->`` line."""
        word, _, rest = line.partition(" ")
        match word:
            case "initiates":
                yield rest.strip(), " ".join(self.initiated())
            case "nothing":
                yield "nothing", " ".join(self.initiated()) or self._changed()
            case "status":
                for pair in rest.split(","):
                    name, _, status = pair.strip().rpartition(" ")
                    yield f"{name} {status}", f"{name} {self.status(name)}"
            case "ignored":
                yield rest, ", ".join(f.fact.reason for f in self.facts if isinstance(f.fact, EventIgnored))
            case "skipped":
                yield rest, ", ".join(f.fact.reason for f in self.facts if isinstance(f.fact, FireSkipped))
            case "raises":
                yield rest, " ".join(f.fact.name for f in self.facts if isinstance(f.fact, GlobalEventRaised))
            case "refused":
                yield "refused", "refused" if self.refused else "accepted"
            case _:
                raise ScenarioMistake(f"cannot expect {line!r}")

    def initiated(self) -> list[str]:
        """Names of the jobs that the last step initiated."""
        found = (each.fact for each in self.facts)
        units = (self.topology.unit_of(f.job, f.context) for f in found if isinstance(f, JobInitiated))
        return [unit.job.name for unit in units if unit is not None]

    def status(self, name: str) -> str:
        """The status of a job, of ``job in context``, of a context, or of the instance."""
        job, _, context = name.partition(" in ")
        if context:
            unit = self.topology.unit_in(context, self.names[job].identifier)
            assert unit is not None
            return self.state.job(unit.index).status.value
        if name in self.names:
            return self.state.job(self.names[name].index).status.value
        if name == "instance":
            return self.state.status
        return self.state.context_status(self.topology.context_index[name]).value

    def _changed(self) -> str:
        return "nothing" if self.state.jobs == self.before.jobs else "statuses changed"


def play(scenario: Scenario) -> list[str]:
    """Every line where what is differs from what was expected."""
    stage = CorePlay(scenario.plan)
    differences = []
    for number, line in scenario.steps:
        if not line.startswith("->"):
            stage.tell(line)
            continue
        for expected, found in stage.expect(line.removeprefix("->").strip()):
            if expected != found:
                differences.append(f"line {number}: expected {expected!r}, found {found!r}")
    return differences
