"""Reads scenario files: plans, what is told to them, and what must follow. README.md has the grammar."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from jobledger.domain.instants import Instant, parse_rfc3339
from jobledger.domain.messages import DryRun
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
    Lock,
    LockParticipant,
    Member,
    Parameter,
    ScheduleJob,
    StartWindow,
    Trigger,
)
from jobledger.domain.standings import with_standings

AGENT = "host"
"""Where jobs run that name no agent."""

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_EVENT_KINDS = {kind.name.lower(): kind for kind in EventKind}
KINDS = frozenset({"command", "schedule", "file", *_EVENT_KINDS})
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class ScenarioMistake(Exception):
    """The file does not read; says the line and what is wrong with it."""


@dataclass(frozen=True)
class Push:
    """A plan, given to the scheduler where it stands in the story."""

    number: int
    plan: JobPlan
    line: str


@dataclass(frozen=True)
class Tell:
    """Something that happens, or that somebody does."""

    number: int
    words: tuple[str, ...]
    line: str


@dataclass(frozen=True)
class Expect:
    """What must have followed from the step before it."""

    number: int
    words: tuple[str, ...]
    line: str


Step: TypeAlias = Push | Tell | Expect


@dataclass(frozen=True)
class Scenario:
    """One file."""

    name: str
    remark: str
    """The rule that it shows."""
    steps: tuple[Step, ...]


def read(path: Path) -> Scenario:
    """The scenario in a file; raises ``ScenarioMistake``."""
    lines = path.read_text().splitlines()
    remark = lines[0].removeprefix("#").strip() if lines and lines[0].startswith("#") else ""
    if not remark:
        raise ScenarioMistake(f"{path.name}: the first line is a remark that says the rule")
    reader = _Reader()
    for number, raw in enumerate(lines, 1):
        try:
            reader.take(number, raw)
        except (ScenarioMistake, ValueError, IndexError, KeyError) as error:
            raise ScenarioMistake(f"{path.name}, line {number}: {error}: {raw.strip()}") from error
    return Scenario(path.stem, remark, tuple(reader.steps()))


class _Reader:
    """Gathers lines into plans, tells and expectations."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._draft: _PlanDraft | None = None

    def take(self, number: int, raw: str) -> None:
        line = _without_remark(raw)
        if not line:
            return
        words = tuple(shlex.split(line.strip()))
        if line[0].isspace() and words[0] != "->":
            if self._draft is None:
                raise ScenarioMistake("an indented line belongs to a plan or a context")
            self._draft.take(words, line.strip())
        elif words[0] == "plan":
            self._close()
            self._draft = _PlanDraft(number, words[1])
        elif words[0] == "context":
            if self._draft is None or len(words) != 4 or words[2] != "in":
                raise ScenarioMistake("write context NAME in PARENT, after a plan")
            self._draft.begin_context(words[1], words[3])
        else:
            self._close()
            if words[0] == "->":
                self._steps.append(Expect(number, words[1:], line.strip()))
            else:
                self._steps.append(Tell(number, words, line.strip()))

    def steps(self) -> list[Step]:
        self._close()
        return self._steps

    def _close(self) -> None:
        if self._draft is not None:
            draft, self._draft = self._draft, None
            self._steps.append(Push(draft.number, draft.plan(), f"plan {draft.name}"))


def _without_remark(raw: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", raw).rstrip()


@dataclass
class _ContextDraft:
    name: str
    parent: str | None
    jobs: list[str] = field(default_factory=list)
    rules: list[tuple[str, str | None]] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    locks: list[tuple[str, ...]] = field(default_factory=list)


class _PlanDraft:
    """A plan as its lines come in; rules are resolved at the end, when every job is known."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self._contexts = [_ContextDraft(name, None)]
        self._jobs: dict[str, Job] = {}
        self._fields: dict[str, Any] = {}
        self._window: dict[str, Any] = {}
        self._without_template: set[str] = set()

    def begin_context(self, name: str, parent: str) -> None:
        if parent not in {each.name for each in self._contexts}:
            raise ScenarioMistake(f"there is no context {parent} above")
        self._contexts.append(_ContextDraft(name, parent))

    def take(self, words: tuple[str, ...], line: str) -> None:
        context = self._contexts[-1]
        if words[0] in KINDS:
            self._add_job(context, words)
        elif len(words) > 1 and words[1] == "after":
            context.rules.append((words[0], line.split(" after ", 1)[1]))
        elif words[1:] == ("from", "outside"):
            context.rules.append((words[0], None))
        elif words[0] == "parameters":
            context.parameters += _parameters(words[1:])
        elif words[0] == "lock":
            context.locks.append(words)
        elif context.parent is None:
            self._take_option(words)
        else:
            raise ScenarioMistake("this says nothing of a context")

    def _add_job(self, context: _ContextDraft, words: tuple[str, ...]) -> None:
        without_template = words[-2:] == ("without", "template")
        words = words[:-2] if without_template else words
        job = read_job(words)
        context.jobs.append(job.name)
        if without_template:
            self._without_template.add(job.name)
        known = self._jobs.setdefault(job.name, job)
        if known != job and len(words) > 2:
            raise ScenarioMistake(f"{job.name} is described above; list it again by kind and name alone")

    def _take_option(self, words: tuple[str, ...]) -> None:
        match words:
            case ["group", name]:
                self._fields["environment_group"] = name
            case ["concurrent"]:
                self._fields["concurrent"] = True
            case ["ends", "on", "completion"]:
                self._fields["end_on_completion"] = True
            case ["disabled"]:
                self._fields["disabled"] = True
            case ["schedules", "disabled"]:
                self._fields["schedules_disabled"] = True
            case ["agents", "hear", "at", "the", "next", "start"]:
                self._fields["delay_agent_synchronisation"] = True
            case ["starts", *cron, "lives", duration]:
                self._window["cron"] = _cron(cron)
                self._window["time_to_live_ms"] = duration_ms(duration)
            case ["lives", duration]:
                self._window["time_to_live_ms"] = duration_ms(duration)
            case ["zone", name]:
                self._window["zone"] = name
            case ["working", "days"]:
                self._window["working_days"] = True
            case ["blackout", "cron", *cron]:
                self._window["blackout_expressions"] = (
                    *self._window.get("blackout_expressions", ()),
                    " ".join(cron),
                )
            case ["blackout", "from", begin_date, begin_time, "to", end_date, end_time]:
                span = instant(begin_date, begin_time), instant(end_date, end_time)
                self._window["blackout_ranges"] = (*self._window.get("blackout_ranges", ()), span)
            case _:
                raise ScenarioMistake("this says nothing of a plan")

    def plan(self) -> JobPlan:
        described = [job for name, job in self._jobs.items() if name not in self._without_template]
        try:
            root = self._context(self._contexts[0])
            return JobPlan(
                root=root,
                jobs=with_standings(root, described),
                window=StartWindow(**self._window),
                **self._fields,
            )
        except (KeyError, IndexError) as error:
            raise ScenarioMistake(f"plan {self.name}: {error} is not known there") from error

    def _context(self, draft: _ContextDraft) -> Context:
        return Context(
            name=draft.name,
            jobs=tuple(ListedJob(self._jobs[name].agent, name) for name in draft.jobs),
            dependencies=tuple(
                Dependency(self._identifier(name), None if rule is None else self._grouping(rule))
                for name, rule in draft.rules
            ),
            contexts=tuple(self._context(each) for each in self._contexts if each.parent == draft.name),
            parameters=tuple(draft.parameters),
            locks=tuple(self._lock(words, draft) for words in draft.locks),
        )

    def _identifier(self, name: str) -> str:
        """Of a job of the plan; one that the plan does not have would run on the usual agent."""
        job = self._jobs.get(name)
        return f"{AGENT}-{name}" if job is None else job.identifier

    def _grouping(self, text: str) -> Grouping:
        return _Expression(text, self._identifier).read()

    def _lock(self, words: tuple[str, ...], draft: _ContextDraft) -> Lock:
        match words:
            case ["lock", name, "count", count, *rest]:
                exclusive = rest[:1] == ["exclusive"]
                named = rest[1:] if exclusive else rest
            case _:
                raise ScenarioMistake("write lock NAME count N [exclusive] JOB[=COUNT] …")
        participants = []
        for each in named:
            job, _, taken = each.partition("=")
            job, _, context = job.partition("@")
            participants.append(
                LockParticipant(context or draft.name, self._identifier(job), int(taken) if taken else 1)
            )
        return Lock(name, int(count), exclusive, tuple(participants))


def read_job(words: Sequence[str]) -> Job:
    """The job that a line describes."""
    kind, name, *rest = words
    options = _JobOptions(rest)
    if kind == "command":
        return options.command(name)
    if kind == "schedule":
        return ScheduleJob(name=name, trigger=Trigger(cron="0 0 7 * * ?"), **options.common())
    if kind == "file":
        trigger = Trigger(cron="0 * * * * ?")
        return FileJob(name=name, trigger=trigger, filenames=("x",), **options.common())
    event = EventJob.listed(_EVENT_KINDS[kind], name)
    options.agent = event.agent
    return EventJob(name=name, kind=event.kind, **options.common())


class _JobOptions:
    """What follows a job's name."""

    def __init__(self, words: list[str]) -> None:
        self.agent = AGENT
        self._flags: dict[str, Any] = {}
        self._places: dict[str, tuple[str, ...]] = {}
        self._parameters: tuple[Parameter, ...] = ()
        left = list(words)
        while left:
            left = self._take(left)

    def _take(self, words: list[str]) -> list[str]:
        match words:
            case ["on", agent, *rest]:
                self.agent = agent
            case ["repeatable", *rest]:
                self._flags["repeatable"] = True
            case ["here", "only", *rest]:
                self._flags["target_residing_context_only"] = True
            case ["runs", text, *rest]:
                self._flags["command_line"] = text
            case ["codes", codes, *rest]:
                self._flags["successful_return_codes"] = tuple(int(each) for each in codes.split(","))
            case ["days", days, *rest]:
                self._flags["days_of_week"] = tuple(_DAYS.index(each) + 1 for each in days.split(","))
            case ["minutes", low_high, *rest]:
                low, _, high = low_high.partition("-")
                self._flags["min_execution_minutes"] = int(low)
                self._flags["max_execution_minutes"] = int(high)
            case ["held" | "skipped" as flag, "in", contexts, *rest]:
                self._places[f"{flag}_in"] = tuple(contexts.split(","))
            case ["parameters", *rest]:
                self._parameters = _parameters(rest)
                return []
            case _:
                raise ScenarioMistake(f"{words[0]} says nothing of a job")
        return rest

    def common(self) -> dict[str, Any]:
        if self._flags or self._parameters:
            raise ScenarioMistake("only a command can have these")
        return {"agent": self.agent, **self._places}

    def command(self, name: str) -> CommandJob:
        fields = {"command_line": "true", **self._flags, **self._places}
        return CommandJob(agent=self.agent, name=name, parameters=self._parameters, **fields)


class _Expression:
    """``a and b``, ``a or b``, ``not c``, parentheses, and ``with ( … )`` for a nested grouping.

    All that stands beside each other becomes one grouping: ``a and b or c`` is all of a and b, or c.
    """

    def __init__(self, text: str, identifier: Any) -> None:
        self._tokens = re.findall(r"[()]|[^\s()]+", text)
        self._identifier = identifier

    def read(self) -> Grouping:
        grouping = self._level()
        if self._tokens:
            raise ScenarioMistake(f"{self._tokens[0]} is left over")
        return grouping

    def _level(self) -> Grouping:
        members: dict[str, list[Member]] = {"and": [], "or": [], "not": []}
        nested: Grouping | None = None
        first: Member | None = None
        if self._tokens[0] not in {"not", "with"}:
            first = self._member()
            joint = self._tokens[0] if self._tokens and self._tokens[0] in {"and", "or"} else "and"
            members[joint].append(first)
        while self._tokens and self._tokens[0] != ")":
            word = self._tokens.pop(0)
            if word == "with":
                nested = self._parenthesis()
                continue
            if word == "and" and self._tokens[0] == "not":
                word = self._tokens.pop(0)
            members[word].append(self._member())
        return Grouping(
            all_of=tuple(members["and"]),
            any_of=tuple(members["or"]),
            none_of=tuple(members["not"]),
            nested=nested,
        )

    def _member(self) -> Member:
        if self._tokens[0] == "(":
            return self._parenthesis()
        name: str = self._identifier(self._tokens.pop(0))
        return name

    def _parenthesis(self) -> Grouping:
        if self._tokens.pop(0) != "(":
            raise ScenarioMistake("a parenthesis is missing")
        inside = self._level()
        if not self._tokens or self._tokens.pop(0) != ")":
            raise ScenarioMistake("a parenthesis is not closed")
        return inside


def _parameters(words: Sequence[str]) -> tuple[Parameter, ...]:
    """``name=default``, or a name alone for one that has no default."""
    pairs = (each.partition("=") for each in words)
    return tuple(Parameter(name, default if equals else None) for name, equals, default in pairs)


def _cron(words: Sequence[str]) -> str:
    """``at HH:MM`` for every day, or a cron expression."""
    match words:
        case ["at", time]:
            hours, minutes = time.split(":")
            return f"0 {int(minutes)} {int(hours)} * * ?"
        case ["cron", *fields]:
            return " ".join(fields)
    raise ScenarioMistake("write starts at HH:MM lives DURATION, or starts cron … lives DURATION")


def duration_ms(text: str) -> int:
    """``90s``, ``30m``, ``4h``, ``2d``, or several of them without a space."""
    parts = re.findall(r"(-?\d+)(ms|s|m|h|d)", text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ScenarioMistake(f"{text} is no duration")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in parts)


def instant(date: str, time: str) -> Instant:
    """A date and a time of day, in UTC."""
    return parse_rfc3339(f"{date}T{time if time.count(':') == 2 else f'{time}:00'}Z")


def pairs_in(words: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in words)}


def dry_run_in(words: list[str]) -> tuple[list[str], DryRun]:
    """``fixed 5s``, ``from 1s to 9s``, ``errors 30``, ``in error``, ``failing a,b``: what follows ``dry``."""
    fields: dict[str, Any] = {}
    while words:
        match words:
            case ["fixed", duration, *rest]:
                fields["fixed_ms"] = duration_ms(duration)
            case ["from", low, "to", high, *rest]:
                fields["min_ms"], fields["max_ms"] = duration_ms(low), duration_ms(high)
            case ["errors", percent, *rest]:
                fields["error_percentage"] = float(percent)
            case ["in", "error", *rest]:
                fields["error"] = True
            case ["failing", jobs, *rest]:
                fields["jobs_in_error"] = tuple(f"{AGENT}-{job}" for job in jobs.split(","))
            case _:
                break
        words = rest
    return words, DryRun(**fields)
