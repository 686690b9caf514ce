"""Plays a scenario on a stage and compares what must follow with what did."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import takewhile
from typing import Any

from jobledger.domain.instants import Instant
from jobledger.domain.messages import Outcome, ProcessEvent
from jobledger.domain.plan import EventJob, JobPlan
from scenario_agents import Order, StandInAgent
from scenario_cast import Cast, Told
from scenario_commands import ON_CONTEXTS, ON_INSTANCES, ON_JOBS
from scenario_expectations import Expectations
from scenario_language import (
    Expect,
    Push,
    Scenario,
    ScenarioMistake,
    Tell,
    dry_run_in,
    duration_ms,
    instant,
    pairs_in,
)
from scenario_stage import (
    BEGINNING,
    Beginning,
    Command,
    Fresh,
    PlanOrder,
    Refusal,
    Revision,
    Stage,
    revised,
)

_DAY_MS = 86_400_000
_STEP_MS = 1000
"""How much later each line of a story is than the one before."""


@dataclass
class Happening:
    """One line, and what was expected and found there."""

    number: int
    line: str
    found: list[str] = field(default_factory=list)
    wrong: bool = False


@dataclass
class Execution:
    """One run of a job, as its agent knows it."""

    initiation_id: str | None
    contexts: tuple[str, ...]
    fired_at: Instant
    pid: int | None = None


def play(
    scenario: Scenario, stage: Stage, between: Callable[["Play"], None] | None = None
) -> list[Happening]:
    """What happened at each line; none is wrong when all went as expected.

    ``between`` is called before every line that tells something; the story goes on as if it had not been.
    """
    playing = Play(scenario, stage, between)
    playing.run()
    return playing.happenings


def trace(happenings: Sequence[Happening]) -> str:
    """The story, with what was found beside what was expected."""
    width = min(60, max((len(each.line) for each in happenings), default=0) + 2)
    rows = []
    for each in happenings:
        mark = "!!" if each.wrong else "  "
        line = f"  {each.line}" if each.line.startswith("->") else each.line
        first, *more = each.found or [""]
        rows.append(f"{mark} {each.number:>4}  {line:<{width}}  | {first}".rstrip())
        rows.extend(f"{'':>9}{'':<{width}}  | {text}" for text in more)
    return "\n".join(rows)


class Play:
    """One scenario on one stage."""

    def __init__(
        self, scenario: Scenario, stage: Stage, between: Callable[["Play"], None] | None = None
    ) -> None:
        self._scenario = scenario
        self._between = between
        self.stage = stage
        self.cast = Cast(stage)
        self.happenings: list[Happening] = []
        self.now = BEGINNING
        self._clock_is_set = False
        self._announced: set[str] = set()
        self._compatible: set[str] = set()
        self._events = 0
        self._pids: dict[str, str] = {}
        self._fired: dict[tuple[str, ...], Instant] = {}
        self._sent: list[tuple[ProcessEvent, ...]] = []
        self._last: tuple[ProcessEvent, ...] = ()
        self.refusal: Refusal | None = None
        self.problems: list[str] = []
        self.listed: list[str] = []
        """What a question of the last step was answered with."""

    # --- the story ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play every line."""
        told = [each for each in self._scenario.steps if isinstance(each, Tell)]
        begun_by_hand = {each.words[1] for each in told if each.words[0] == "begin"}
        opened = False
        for place, step in enumerate(self._scenario.steps):
            if isinstance(step, Tell) and not opened and step.words[0] not in {"clock", "agent"}:
                opened = True
                self._begin_by_themselves(begun_by_hand)
            happening = Happening(step.number, step.line)
            self.happenings.append(happening)
            try:
                self._take(step, happening)
                happening.wrong |= self._is_unexpected(place)
            except ScenarioMistake as mistake:
                raise ScenarioMistake(f"{self._scenario.name}, line {step.number}: {mistake}") from mistake
        contradictions = self.stage.contradictions()
        if contradictions:
            self.happenings.append(Happening(0, "-> live is replayed", contradictions, wrong=True))

    def _begin_by_themselves(self, begun_by_hand: set[str]) -> None:
        """One instance of each plan without a clock is there from the beginning, unless a line begins one."""
        for plan in self.cast.plans.values():
            if plan.window.cron is None and plan.name not in begun_by_hand and not plan.disabled:
                self._move_clock(self.now + _STEP_MS)
                self.stage.begin(Beginning(plan.name))
        self.cast.look()

    def _is_unexpected(self, place: int) -> bool:
        """Whether the step was refused and the story says nothing of that."""
        if isinstance(self._scenario.steps[place], Expect):
            return False
        following = takewhile(lambda step: isinstance(step, Expect), self._scenario.steps[place + 1 :])
        expected = {step.words[0] for step in following if isinstance(step, Expect)}
        refused = self.refusal is not None and "refused" not in expected
        return refused or (bool(self.problems) and "invalid" not in expected)

    def _take(self, step: Push | Tell | Expect, happening: Happening) -> None:
        if isinstance(step, Expect):
            for expected, found in Expectations(self).pairs(step.words):
                happening.found.append(found)
                happening.wrong |= expected != found
            return
        if self._between is not None:
            self._between(self)
            self.cast.look()
        self._forget()
        if isinstance(step, Push):
            self._push(step.plan)
        else:
            self._tell(step.words)
        self.cast.look()
        happening.found = [*self._told_of_refusals(), *self.cast.news()]

    def _told_of_refusals(self) -> Iterator[str]:
        if self.refusal is not None:
            yield f"refused: {self.refusal.reason}"
        yield from self.problems
        if self.listed:
            yield f"answered: {' '.join(self.listed)}"

    def _forget(self) -> None:
        self.refusal = None
        self.problems = []
        self.listed = []
        self.cast.forget()

    def _push(self, plan: JobPlan) -> None:
        for job in plan.jobs:
            if not isinstance(job, EventJob) and job.agent not in self._announced:
                self._announced.add(job.agent)
                self.stage.agent(job.agent, compatible=job.agent in self._compatible)
        self.problems = self.stage.push(plan)
        if not self.problems:
            self.cast.know(plan)

    def _tell(self, words: tuple[str, ...]) -> None:
        if words[0] not in {"clock", "at", "wait", "down", "agent"}:
            self._move_clock(self.now + _STEP_MS)
        teller = _TELLERS.get(words[0])
        if teller is None:
            raise ScenarioMistake(f"nobody can tell {words[0]!r}")
        teller(self, words)

    def _move_clock(self, to: Instant) -> None:
        if to < self.now:
            raise ScenarioMistake("the clock never goes back")
        self.now = to
        self.stage.set_clock(to)

    def _moment(self, words: Sequence[str]) -> Instant:
        """``HH:MM`` for the next such time, or a date before it."""
        if len(words) == 2:
            return instant(words[0], words[1])
        day = self.now - self.now % _DAY_MS
        at = day + instant("1970-01-01", words[0])
        return at if at >= self.now else at + _DAY_MS

    # --- time and the world ---------------------------------------------------------------------------------

    def _tell_clock(self, words: tuple[str, ...]) -> None:
        match words:
            case ["clock" | "at", *moment]:
                self._move_clock(self._moment(moment))
            case ["wait", duration]:
                self._move_clock(self.now + duration_ms(duration))

    def _tell_restart(self, words: tuple[str, ...]) -> None:
        match words:
            case ["restart"]:
                self.stage.restart(self.now)
            case ["down", "until", *moment]:
                self.now = self._moment(moment)
                self.stage.restart(self.now)
            case _:
                raise ScenarioMistake("write restart, or down until TIME")

    def _tell_agent(self, words: tuple[str, ...]) -> None:
        match words:
            case ["agent", name, "compatible"]:
                self._compatible.add(name)
            case ["agent", name, "away"]:
                self._agent(name).reachable = False
            case ["agent", name, "back"]:
                self._agent(name)
            case ["agent", name, "refuses", *jobs]:
                self._agent(name).refuses.update(jobs)
            case _:
                raise ScenarioMistake("write agent NAME compatible, away, back, or refuses JOB …")

    def _agent(self, name: str) -> StandInAgent:
        return self.stage.agent(name, compatible=name in self._compatible)

    # --- instances ------------------------------------------------------------------------------------------

    def _tell_begin(self, words: tuple[str, ...]) -> None:
        plan, rest = words[1], list(words[2:])
        fields: dict[str, Any] = {}
        while rest:
            match rest:
                case ["until", "ended", *rest]:
                    fields["until_ended"] = True
                case ["commands", "held", *rest]:
                    fields["commands_held"] = True
                case ["for", day, *rest]:
                    fields["business_date"] = date.fromisoformat(day)
                case ["dry", *rest]:
                    rest, fields["dry_run"] = dry_run_in(rest)
                case ["with", *given]:
                    fields["parameters"], rest = pairs_in(given), []
                case _:
                    raise ScenarioMistake(
                        "write begin PLAN [until ended] [commands held] [for DATE] [dry …] [with …]"
                    )
        self.refusal = self.stage.begin(Beginning(plan, **fields))

    def _tell_reset_instance(self, words: tuple[str, ...]) -> None:
        rest = list(words[1:])
        named = rest and rest[0] not in {"same", "commands", "with"}
        label = rest.pop(0) if named else self.cast.only_instance()
        fields: dict[str, Any] = {}
        while rest:
            match rest:
                case ["same", "parameters", *rest]:
                    fields["same_parameters"] = True
                case ["commands", "held", *rest]:
                    fields["commands_held"] = True
                case ["with", *given]:
                    fields["parameters"], rest = pairs_in(given), []
                case _:
                    raise ScenarioMistake(
                        "write reset-instance [INSTANCE] [same parameters] [commands held] [with …]"
                    )
        self.refusal = self.stage.reset(self.cast.id_of(label), Fresh(**fields))

    def _tell_plan_order(self, words: tuple[str, ...]) -> None:
        (plan,), author = _author(words[1:])
        self.refusal = self.stage.order(PlanOrder(words[0].removesuffix("-plan"), plan, **author))

    def _tell_command(self, words: tuple[str, ...]) -> None:
        verb = words[0]
        rest, author = _author(words[1:])
        rest, options = _options(rest)
        if verb == "set":
            self._set_parameters(rest, author)
        elif verb in ON_INSTANCES:
            label = rest[0] if rest else self.cast.only_instance()
            self._ask(label, Command(verb, options=options, **author))
        else:
            told = self.cast.told(rest)
            identifier, context = self.cast.standing(told)
            self._ask(told.instance, Command(verb, context, identifier, options, **author))

    def _set_parameters(self, words: list[str], author: dict[str, str]) -> None:
        given = [each for each in words if "=" in each]
        place = dict(zip(words[len(given) :: 2], words[len(given) + 1 :: 2], strict=True))
        label = place.get("of", self.cast.only_instance())
        command = Command("set", place.get("in"), options={"parameters": pairs_in(given)}, **author)
        self._ask(label, command)

    def _tell_preview(self, words: tuple[str, ...]) -> None:
        told = self.cast.told(words[1:])
        identifier, context = self.cast.standing(told)
        command = Command("fire-dependants", context, identifier)
        answer = self.stage.preview(self.cast.id_of(told.instance), command)
        if isinstance(answer, Refusal):
            self.refusal = answer
        else:
            self.listed = [self.cast.name_of(each, told.instance) for each in answer] or ["nothing"]

    def _ask(self, label: str, command: Command) -> None:
        self.refusal = self.stage.command(self.cast.id_of(label), command)

    # --- what agents report ---------------------------------------------------------------------------------

    def _tell_start(self, words: tuple[str, ...]) -> None:
        told, run, rest = self._execution(words[1:])
        if rest:
            raise ScenarioMistake("write start JOB [in CONTEXT] [of INSTANCE] [run N]")
        self._report(told, run, starting=True, pid=run.pid)

    def _tell_finish(self, words: tuple[str, ...]) -> None:
        told, run, rest = self._execution(words[1:])
        common: dict[str, Any] = {"completed_at": self.now, "pid": run.pid}
        match rest:
            case ["ok"]:
                self._report(told, run, successful=True, return_code=0, **common)
            case ["ok", code]:
                self._report(told, run, successful=True, return_code=int(code), **common)
            case ["failed", code]:
                self._report(told, run, return_code=int(code), **common)
            case ["killed"]:
                self._report(told, run, return_code=143, killed=True, **common)
            case ["not", "today"]:
                outcome = Outcome.IGNORED_DAY_OF_WEEK
                self._report(told, run, successful=True, outcome=outcome, **common)
            case _:
                raise ScenarioMistake("write finish JOB … ok, failed CODE, killed, or not today")

    def _tell_fire(self, words: tuple[str, ...]) -> None:
        told, rest = self.cast.told_at(words[1:])
        run = Execution(None, () if told.context is None else (told.context,), self.now)
        match rest:
            case []:
                self._report(told, run, successful=True)
            case ["by", "hand"]:
                self._report(told, run, successful=True, manual=True)
            case ["in", "blackout"]:
                self._report(told, run, successful=True, outcome=Outcome.IGNORED_IN_BLACKOUT)
            case _:
                raise ScenarioMistake("write fire JOB [by hand | in blackout]")

    def _tell_skip_fire(self, words: tuple[str, ...]) -> None:
        told, rest = self.cast.told_at(words[1:])
        run = Execution(None, (), self.now)
        self._report(told, run, outcome=Outcome.FIRE_SKIPPED, details=" ".join(rest))

    def _tell_raise(self, words: tuple[str, ...]) -> None:
        match words:
            case ["raise", name]:
                self.stage.raise_global(name, None)
            case ["raise", name, "group", group]:
                self.stage.raise_global(name, group)
            case _:
                raise ScenarioMistake("write raise EVENT [group NAME]")

    def _tell_reset_lock(self, words: tuple[str, ...]) -> None:
        match words:
            case ["reset-lock", name]:
                self.stage.reset_lock(name, None)
            case ["reset-lock", name, "group", group]:
                self.stage.reset_lock(name, group)
            case _:
                raise ScenarioMistake("write reset-lock NAME [group GROUP]")

    def _tell_revision(self, words: tuple[str, ...]) -> None:
        match words:
            case [_, "disable-schedules" | "enable-schedules" as verb, plan]:
                revision = Revision(verb)
            case [_, verb, job, *rest] if rest[:1] in ([], ["in"]):
                plan = self.cast.plan_with(job)
                identifier = self.cast.job(Told("", job), self.cast.plans[plan]).identifier
                revision = Revision(verb, identifier, tuple(rest[1].split(",")) if rest else None)
            case _:
                raise ScenarioMistake("write from-now-on hold JOB [in CONTEXT,…], or disable-schedules PLAN")
        self.refusal = self.stage.revise(plan, revision)
        answer = revised(self.cast.plans[plan], revision)
        if isinstance(answer, JobPlan):
            self.cast.know(answer)

    def _tell_source(self, words: tuple[str, ...]) -> None:
        plan, *given = words[1:]
        self.stage.source(plan, {} if given == ["nothing"] else pairs_in(given))

    def _tell_again(self, words: tuple[str, ...]) -> None:
        if not self._last:
            raise ScenarioMistake("nothing was reported before that could come again")
        times = int(words[1]) if len(words) > 1 else 1
        for _ in range(times):
            self._send(self._last)

    def _execution(self, words: Sequence[str]) -> tuple[Told, Execution, list[str]]:
        """The run that is meant: the latest that the agent was told of, unless ``run N`` names another."""
        told, rest = self.cast.told_at(words)
        number = 0
        if rest[:1] == ["run"]:
            number, rest = int(rest[1]), rest[2:]
        instance_id = self.cast.id_of(told.instance)
        runs = [
            order.initiation
            for order in self.stage.orders()
            if order.initiation is not None
            and order.instance_id == instance_id
            and order.initiation.job == told.name
            and (told.context is None or told.context in order.initiation.contexts)
        ]
        if number > len(runs):
            raise ScenarioMistake(f"{told.name} was initiated {len(runs)} times, not {number}")
        if not runs:
            contexts = () if told.context is None else (told.context,)
            key = (instance_id, told.name, *contexts)
            return told, Execution(None, contexts, self._fired.setdefault(key, self.now)), rest
        run = runs[number - 1]
        pid = int(run.id.rpartition("-")[2]) + 1000
        self._pids[f"pid {pid}"] = run.id
        fired_at = self._fired.setdefault((run.id,), self.now)
        return told, Execution(run.id, run.contexts, fired_at, pid), rest

    def initiation_of(self, order: Order) -> str:
        """The initiation that a kill means: agents of the compatible kind are told the process alone."""
        return self._pids.get(order.initiation_id, order.initiation_id)

    def _report(self, told: Told, run: Execution, **given: Any) -> None:
        job = self.cast.job(told)
        self._events += 1
        compatible = job.agent in self._compatible
        event = ProcessEvent(
            agent=job.agent,
            job=job.name,
            instance_id=self.cast.id_of(told.instance),
            plan=told.instance.partition("#")[0],
            contexts=run.contexts,
            fired_at=run.fired_at,
            id=None if compatible else f"event-{self._events}",
            initiation_id=None if compatible else run.initiation_id,
            **given,
        )
        self._send((event,))

    def _send(self, events: tuple[ProcessEvent, ...]) -> None:
        self._last = events
        self._sent.append(events)
        self.stage.report(events, compatible=any(each.agent in self._compatible for each in events))

    # --- what may happen at any time and must change nothing ------------------------------------------------

    def restart(self) -> None:
        """The scheduler stops and starts again."""
        self.stage.restart(self.now)

    def report_everything_again(self) -> None:
        """All that agents have reported so far comes once more, the latest first."""
        for events in reversed(self._sent):
            self.stage.report(events, compatible=any(each.agent in self._compatible for each in events))


_TELLERS: dict[str, Callable[[Play, tuple[str, ...]], None]] = {
    "clock": Play._tell_clock,
    "at": Play._tell_clock,
    "wait": Play._tell_clock,
    "restart": Play._tell_restart,
    "down": Play._tell_restart,
    "agent": Play._tell_agent,
    "begin": Play._tell_begin,
    "start": Play._tell_start,
    "finish": Play._tell_finish,
    "fire": Play._tell_fire,
    "skip-fire": Play._tell_skip_fire,
    "raise": Play._tell_raise,
    "again": Play._tell_again,
    "source": Play._tell_source,
    "from-now-on": Play._tell_revision,
    "reset-lock": Play._tell_reset_lock,
    "preview": Play._tell_preview,
    "reset-instance": Play._tell_reset_instance,
    **dict.fromkeys(["enable-plan", "disable-plan", "delete-plan"], Play._tell_plan_order),
    **dict.fromkeys([*ON_JOBS, *ON_CONTEXTS, *ON_INSTANCES], Play._tell_command),
}


def _author(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """``by WHO`` and ``because REASON`` at the end of a command, and the words without them."""
    rest, author = list(words), {}
    if "because" in rest:
        at = rest.index("because")
        author["reason"] = " ".join(rest[at + 1 :])
        rest = rest[:at]
    if rest[-2:-1] == ["by"] and rest[-1] != "force":
        author["by"] = rest[-1]
        rest = rest[:-2]
    return rest, author


def _options(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """What some commands say beside the job that they mean, and the words without that."""
    options: dict[str, Any] = {}
    match words:
        case [*rest, "ticket", ticket]:
            options["ticket"] = ticket
        case [*rest, "by", "force"]:
            options["force"] = True
        case _:
            rest = list(words)
    if "with" in rest:
        at = rest.index("with")
        options["parameters"] = pairs_in(rest[at + 1 :])
        rest = rest[:at]
    if rest[-2:] == ["and", "submit"]:
        options["submit"] = True
        rest = rest[:-2]
    return rest, options
