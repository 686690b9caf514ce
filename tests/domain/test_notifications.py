"""What is told of an instance, and that each execution is told of once whatever happens on the way."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.commands import (
    Command,
    EndInstance,
    HoldJob,
    ReleaseJob,
    ReportEvent,
    ResetJob,
    SkipJob,
    SubmitJob,
)
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import (
    Cause,
    InstancePrepared,
    InstanceStarted,
    JobCompleted,
    JobFailed,
    JobInitiated,
    JobStarted,
    Recorded,
)
from jobledger.domain.instance import InstanceState, begin, replay
from jobledger.domain.instants import parse_rfc3339
from jobledger.domain.messages import Outcome, ProcessEvent
from jobledger.domain.notification_settings import (
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
    Subscription,
)
from jobledger.domain.notifications import MAX_DETAILS, Deadlines, Notification, notifications
from jobledger.domain.plan import (
    CommandJob,
    Context,
    FileJob,
    JobPlan,
    ListedJob,
    ScheduleJob,
    StartWindow,
    Trigger,
)
from jobledger.domain.topology import Topology
from jobledger.domain.watching import Watch
from jobledger.domain.wording import message_of

START, COMPLETE, ERROR, OVERDUE, RUNNING_TIME = MonitorType
INSTANCE = UUID(int=7)
EIGHT = parse_rfc3339("2026-03-02T08:00:00Z")
MINUTE = 60_000
HOURLY = Trigger(cron="0 0 * * * ?")
JOBS = (
    CommandJob(agent="host", name="load", command_line="true"),
    CommandJob(
        agent="host", name="timed", command_line="true", min_execution_minutes=2, max_execution_minutes=10
    ),
    CommandJob(agent="host", name="apart", command_line="true", target_residing_context_only=True),
    FileJob(
        agent="host",
        name="prices",
        trigger=HOURLY,
        filenames=("p.*",),
        file_path="/in",
        sla_cron="0 0 9 * * ?",
    ),
    ScheduleJob(agent="host", name="clock", trigger=HOURLY),
)
PLAN = JobPlan(
    root=Context(
        name="eod",
        jobs=tuple(ListedJob("host", job.name) for job in JOBS),
        contexts=(Context(name="inner", jobs=(ListedJob("host", "load"), ListedJob("host", "apart"))),),
    ),
    jobs=JOBS,
    window=StartWindow(zone="Europe/London"),
)
TOPOLOGY = Topology(PLAN)
UTC = Deadlines()
EVERYTHING = NotificationSettings(
    plan=PlanNotifications(monitor_types=tuple(MonitorType), to=("ops@x",), webhooks=("hook",))
)


class Night:
    """An instance that things happen to, watched from its first fact."""

    def __init__(
        self,
        told: NotificationSettings = EVERYTHING,
        *,
        at: int = EIGHT,
        deadlines: Deadlines = UTC,
        subscriptions: tuple[Subscription, ...] = (),
        prepared: bool = False,
    ) -> None:
        kind = InstancePrepared if prepared else InstanceStarted
        step = start(
            TOPOLOGY,
            instance_id=INSTANCE,
            fact=kind(plan="eod", plan_version=1),
            at=at,
            cause=Cause(command="x"),
        )
        self.settings, self.subscriptions, self.deadlines = told, subscriptions, deadlines
        self.now = at
        self.state: InstanceState = step.state
        self.log: list[Recorded] = list(step.facts)
        self.watch = Watch(step.state, deadlines)
        self.told: list[Notification] = []

    def tell(self, command: Command, *, after: int = 0) -> list[Notification]:
        """What a command, so many minutes later, gives occasion to tell."""
        self.now += after * MINUTE
        heard = isinstance(command, ReportEvent)
        cause = Cause(position=len(self.log)) if heard else Cause(command="x")
        step = advance(self.state, command, at=self.now, cause=cause)
        assert isinstance(step, Step), step
        self.state = step.state
        self.log += step.facts
        found = [each for recorded in step.facts for each in self._of(self.watch.follow(recorded))]
        self.told += found
        return found

    def ring(self, after: int) -> list[Notification]:
        """What has become due so many minutes later, without anything happening."""
        self.now += after * MINUTE
        found = self._of(self.watch.ring(self.now))
        self.told += found
        return found

    def _of(self, occasions: Sequence[object]) -> list[Notification]:
        return [
            each
            for occasion in occasions
            for each in notifications(self.watch.state, occasion, self.settings, self.subscriptions)  # type: ignore[arg-type]
            if each.channel == "email"
        ]

    def report(
        self, job: str, *, after: int = 0, number: int | None = None, **fields: object
    ) -> list[Notification]:
        event = ProcessEvent(
            agent="host",
            job=job,
            instance_id=str(INSTANCE),
            id=str(fields.pop("event_id", f"{job} {len(self.log)} {fields}")),
            initiation_id=None if number is None else f"{INSTANCE}-{number}",
            **fields,  # type: ignore[arg-type]
        )
        return self.tell(ReportEvent(event=event), after=after)

    def run(self, job: str, *, minutes: int, number: int, successful: bool = True) -> list[Notification]:
        """A whole execution."""
        began = self.now
        found = self.report(job, number=number, starting=True, fired_at=began)
        return found + self.report(
            job,
            number=number,
            after=minutes,
            fired_at=began,
            completed_at=began + minutes * MINUTE,
            successful=successful,
            return_code=0 if successful else 3,
        )


def kinds(found: Sequence[Notification]) -> list[MonitorType]:
    return [each.matter.monitor_type for each in found]


def submit(job: str, context: str = "eod") -> SubmitJob:
    return SubmitJob(job=f"host-{job}", context=context)


# --- starts, completions, failures --------------------------------------------------------------------------


def test_a_run_is_told_of_when_it_starts_and_when_it_ends() -> None:
    night = Night()
    assert night.tell(submit("load")) == []
    assert kinds(night.run("load", minutes=1, number=1)) == [START, COMPLETE]
    night.tell(submit("load"))
    assert kinds(night.run("load", minutes=1, number=2, successful=False)) == [START, ERROR]


def test_a_notification_says_all_about_the_run() -> None:
    night = Night()
    night.tell(submit("load"))
    night.report(
        "load", number=1, starting=True, fired_at=night.now, pid=99, output_path="/out", error_path="/err"
    )
    (failed,) = night.report(
        "load", number=1, after=2, return_code=3, completed_at=night.now + 2 * MINUTE, details="x" * 9000
    )
    matter = failed.matter
    assert (failed.plan, failed.instance_id, failed.channel) == ("eod", INSTANCE, "email")
    assert (matter.job, matter.job_name, matter.agent, matter.kind) == (
        "host-load",
        "load",
        "host",
        "command",
    )
    assert (matter.context, matter.contexts) == ("eod", ("eod", "inner"))
    assert (matter.status, matter.return_code, matter.pid, matter.killed) == ("ERROR", 3, 99, False)
    assert (matter.started_at, matter.finished_at) == (EIGHT, EIGHT + 2 * MINUTE)
    assert (matter.output_path, matter.error_path) == ("/out", "/err")
    assert matter.details == "x" * MAX_DETAILS
    assert message_of(matter) == "load failed with return code 3"


def test_a_failure_after_a_reset_or_a_resubmission_is_told_again() -> None:
    night = Night()
    for number in (1, 2, 3):
        night.tell(submit("load"))
        night.run("load", minutes=1, number=number, successful=False)
        if number == 1:
            night.tell(ResetJob(job="host-load", context="eod"))
    failures = [each for each in night.told if each.matter.monitor_type is ERROR]
    assert len({each.id for each in failures}) == 3


def test_what_is_reported_twice_or_late_is_told_once() -> None:
    night = Night()
    night.tell(submit("load"))
    night.report("load", number=1, starting=True, fired_at=EIGHT, event_id="s")
    assert night.report("load", number=1, starting=True, fired_at=EIGHT, event_id="s") == []
    night.report("load", number=1, return_code=3, fired_at=EIGHT, event_id="f")
    assert night.report("load", number=1, return_code=3, fired_at=EIGHT, event_id="f") == []
    assert night.report("load", number=1, starting=True, fired_at=EIGHT, event_id="late") == []
    assert Counter(kinds(night.told)) == {START: 1, ERROR: 1}


def test_a_second_report_of_the_same_start_is_the_same_notification() -> None:
    night = Night()
    night.tell(submit("load"))
    night.report("load", number=1, starting=True, fired_at=EIGHT, event_id="one")
    night.report("load", number=1, starting=True, fired_at=EIGHT + 5, event_id="two")
    assert len({each.id for each in night.told}) == 1


def test_a_failure_that_is_known_before_the_start_is_told() -> None:
    night = Night()
    night.tell(submit("load"))
    (failed,) = night.report("load", number=1, details="could not be started: no such directory\nmore")
    assert message_of(failed.matter) == "load failed: could not be started: no such directory"


def test_each_fire_of_a_schedule_is_an_execution_of_its_own() -> None:
    night = Night()
    first = night.report("clock", successful=True, fired_at=EIGHT)
    night.tell(ResetJob(job="host-clock", context="eod"))
    second = night.tell(submit("clock"))
    assert kinds(first) == kinds(second) == [COMPLETE]
    assert first[0].id != second[0].id


def test_a_job_that_is_passed_over_is_not_told_of() -> None:
    night = Night()
    assert night.report("load", successful=True, outcome=Outcome.IGNORED_DAY_OF_WEEK, fired_at=EIGHT) == []


def test_a_job_of_each_context_is_told_of_for_each_context() -> None:
    night = Night()
    for context in ("eod", "inner"):
        night.tell(submit("apart", context))
    for number, context in ((1, "eod"), (2, "inner")):
        (failed,) = night.report("apart", number=number, contexts=(context,), return_code=1)
        assert failed.matter.context == context
    assert len({each.id for each in night.told}) == 2


def test_a_shared_job_is_told_of_once_for_all_its_contexts() -> None:
    night = Night()
    night.tell(submit("load", "inner"))
    assert len(night.report("load", number=1, return_code=1)) == 1


# --- running times ------------------------------------------------------------------------------------------


def test_a_command_that_is_faster_than_its_minimum_is_told_of_when_it_ends() -> None:
    night = Night()
    night.tell(submit("timed"))
    fast = night.run("timed", minutes=1, number=1)
    assert kinds(fast) == [START, RUNNING_TIME, COMPLETE]
    assert message_of(fast[1].matter) == "timed took 1 min, its minimum is 2 min"


def test_a_command_that_is_slower_than_its_maximum_is_told_of_while_it_runs_and_not_again_at_its_end() -> (
    None
):
    night = Night()
    night.tell(submit("timed"))
    began = night.now
    night.report("timed", number=1, starting=True, fired_at=began)
    assert night.watch.next_at == began + 10 * MINUTE
    assert night.ring(after=9) == []
    (slow,) = night.ring(after=1)
    assert message_of(slow.matter) == "timed has been running for 10 min, its maximum is 10 min"
    ended = night.report("timed", number=1, after=5, fired_at=began, successful=True)
    assert kinds(ended) == [RUNNING_TIME, COMPLETE]
    assert ended[0].id == slow.id
    assert message_of(ended[0].matter) == "timed took 15 min, its maximum is 10 min"


def test_a_slow_run_is_told_of_although_nobody_was_there_when_it_became_slow() -> None:
    night = Night()
    night.tell(submit("timed"))
    began = night.now
    night.report("timed", number=1, starting=True, fired_at=began)
    failed = night.report("timed", number=1, after=15, fired_at=began, return_code=1)
    assert kinds(failed) == [RUNNING_TIME, ERROR]


def test_a_run_within_its_limits_and_a_fast_failure_are_not_told_of_as_unusual() -> None:
    night = Night()
    night.tell(submit("timed"))
    assert kinds(night.run("timed", minutes=5, number=1)) == [START, COMPLETE]
    night.tell(submit("timed"))
    assert kinds(night.run("timed", minutes=1, number=2, successful=False)) == [START, ERROR]


def test_the_next_run_has_its_own_time() -> None:
    night = Night()
    for number in (1, 2):
        night.tell(submit("timed"))
        began = night.now
        night.report("timed", number=number, starting=True, fired_at=began)
        night.ring(after=11)
        night.report("timed", number=number, fired_at=began, successful=True)
    slow = [each.id for each in night.told if each.matter.monitor_type is RUNNING_TIME]
    assert len(set(slow)) == 2


# --- overdue files ------------------------------------------------------------------------------------------


def test_a_file_that_has_not_come_by_its_agreed_time_is_overdue() -> None:
    night = Night()
    assert night.watch.next_at == EIGHT + 60 * MINUTE
    assert night.ring(after=59) == []
    (overdue,) = night.ring(after=1)
    assert (
        message_of(overdue.matter) == "the file of prices has not come: it was due at 2026-03-02 09:00:00 GMT"
    )
    assert (overdue.matter.file_path, overdue.matter.filenames) == ("/in", ("p.*",))
    assert night.ring(after=600) == []


def test_the_tolerance_counts_from_the_agreed_time() -> None:
    night = Night(deadlines=Deadlines(tolerance_ms=5 * MINUTE))
    assert night.ring(after=64) == []
    assert kinds(night.ring(after=1)) == [OVERDUE]


def test_the_agreed_time_is_the_first_one_after_the_instance_was_due_to_start() -> None:
    night = Night(at=EIGHT + 90 * MINUTE)
    assert night.watch.next_at == EIGHT + 25 * 60 * MINUTE


def test_the_agreed_time_is_of_the_plans_time_zone() -> None:
    summer = parse_rfc3339("2026-07-01T06:00:00Z")
    assert Night(at=summer).watch.next_at == parse_rfc3339("2026-07-01T08:00:00Z")


def test_a_file_that_comes_in_time_is_not_overdue_even_when_that_is_heard_of_late() -> None:
    night = Night()
    came = night.report("prices", after=90, successful=True, fired_at=EIGHT + 59 * MINUTE)
    assert kinds(came) == [COMPLETE]
    assert night.ring(after=600) == []


def test_a_file_that_comes_late_was_overdue_whether_or_not_somebody_was_there_to_notice() -> None:
    night = Night()
    came = night.report("prices", after=90, successful=True, fired_at=EIGHT + 61 * MINUTE)
    assert kinds(came) == [OVERDUE, COMPLETE]
    noticed = Night()
    (before,) = noticed.ring(after=60)
    assert came[0].id == before.id


def test_a_file_that_is_overdue_when_the_instance_ends_is_told_of() -> None:
    night = Night()
    assert kinds(night.tell(EndInstance(), after=90)) == [OVERDUE]
    assert night.watch.next_at is None


def test_anything_that_happens_later_in_the_instance_shows_that_a_file_is_overdue() -> None:
    night = Night()
    assert kinds(night.tell(submit("load"), after=61)) == [OVERDUE]


def test_a_late_report_of_another_job_does_not_say_that_a_file_has_not_come() -> None:
    night = Night()
    night.tell(submit("load"), after=5)
    ended = night.report("load", after=90, number=1, successful=True, fired_at=EIGHT + 6 * MINUTE)
    assert kinds(ended) == [COMPLETE], "the report of the file may be the next of those that waited"
    assert night.watch.next_at == EIGHT + 60 * MINUTE, "the clock still has to ask"
    came = night.report("prices", successful=True, fired_at=EIGHT + 59 * MINUTE)
    assert OVERDUE not in kinds(came)


def test_a_file_that_has_come_and_is_reset_is_not_overdue_any_more() -> None:
    night = Night()
    night.report("prices", after=5, successful=True, fired_at=EIGHT + 5 * MINUTE)
    night.tell(ResetJob(job="host-prices", context="eod"))
    assert night.ring(after=600) == []


def test_nothing_is_due_of_an_instance_that_has_not_started() -> None:
    night = Night(prepared=True)
    assert night.watch.next_at is None
    assert night.ring(after=600) == []


# --- whom ---------------------------------------------------------------------------------------------------


def test_what_is_said_for_a_job_in_a_context_names_that_context() -> None:
    told = NotificationSettings.of(
        None, [JobNotification(job="load", monitor_type=ERROR, context="inner", to=("owner@x",))]
    )
    night = Night(told)
    night.tell(submit("load"))
    (failed,) = night.run("load", minutes=1, number=1, successful=False)
    assert (failed.said_for, failed.matter.context) == ("inner", "inner")


def test_a_webhook_is_told_once_whoever_names_it() -> None:
    subscription = Subscription(webhook="hook", monitor_types=frozenset({ERROR}))
    night = Night()
    night.tell(submit("load"))
    night.report("load", number=1, starting=True, fired_at=EIGHT)
    before = night.watch.state
    step = advance(before, RefuseLoad, at=night.now, cause=Cause(command="x"))
    assert isinstance(step, Step)
    occasions = night.watch.follow(step.facts[0])
    found = [
        each.channel
        for occasion in occasions
        for each in notifications(night.watch.state, occasion, EVERYTHING, (subscription,))
    ]
    assert found == ["email", "webhook:hook"]


RefuseLoad = ReportEvent(
    event=ProcessEvent(
        agent="host", job="load", instance_id=str(INSTANCE), initiation_id=f"{INSTANCE}-1", return_code=1
    )
)


@pytest.mark.parametrize(
    ("plans", "told"), [(None, True), (frozenset({"eod"}), True), (frozenset({"other"}), False)]
)
def test_a_subscription_is_of_every_plan_or_of_some(plans: frozenset[str] | None, told: bool) -> None:
    night = Night()
    night.tell(submit("load"))
    step = advance(night.state, RefuseLoad, at=night.now, cause=Cause(command="x"))
    assert isinstance(step, Step)
    (occasion,) = night.watch.follow(step.facts[0])
    subscriptions = (
        Subscription(webhook="all", monitor_types=frozenset({ERROR}), plans=plans),
        Subscription(webhook="starts", monitor_types=frozenset({START})),
    )
    found = [
        each.channel
        for each in notifications(night.watch.state, occasion, NotificationSettings(), subscriptions)
    ]
    assert found == (["webhook:all"] if told else [])


# --- whatever happens ---------------------------------------------------------------------------------------

_NAMES = [job.name for job in JOBS]
_events = st.tuples(
    st.just("report"),
    st.sampled_from(_NAMES),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
    st.integers(-30, 0),
)
_commands = st.tuples(
    st.sampled_from(["submit", "reset", "hold", "release", "skip"]), st.sampled_from(_NAMES)
)
_COMMANDS = {
    "submit": SubmitJob,
    "reset": ResetJob,
    "hold": HoldJob,
    "release": ReleaseJob,
    "skip": SkipJob,
}
_again = st.tuples(st.just("again"), st.integers(0, 10))
_steps = st.lists(
    st.tuples(st.integers(0, 20), st.one_of(_events, _commands, _again)), min_size=1, max_size=25
)


def _played(steps: Sequence[tuple[int, tuple[object, ...]]]) -> list[Recorded]:
    """The log of an instance that anything was told to, in any order, some of it again."""
    step = start(
        TOPOLOGY,
        instance_id=INSTANCE,
        fact=InstanceStarted(plan="eod", plan_version=1),
        at=EIGHT,
        cause=Cause(command="x"),
    )
    state, log, now = step.state, list(step.facts), EIGHT
    said: list[Command] = []
    for minutes, (what, *rest) in steps:
        now += minutes * MINUTE
        command = _command(state, now, str(what), rest, said)
        if command is None:
            continue
        said.append(command)
        answer = advance(state, command, at=now, cause=Cause(command="x"))
        if isinstance(answer, Step):
            state = answer.state
            log += answer.facts
    return log


def _command(
    state: InstanceState, now: int, what: str, rest: Sequence[object], said: Sequence[Command]
) -> Command | None:
    match what, rest:
        case "again", [int(index)]:
            return said[index % len(said)] if said else None
        case "report", [str(job), bool(starting), bool(successful), int(back), int(minutes)]:
            number = state.initiations - back
            return ReportEvent(
                event=ProcessEvent(
                    agent="host",
                    job=job,
                    instance_id=str(INSTANCE),
                    initiation_id=f"{INSTANCE}-{number}" if number > 0 else None,
                    starting=starting,
                    successful=successful,
                    fired_at=now + minutes * MINUTE,
                    completed_at=None if starting else now,
                )
            )
        case kind, [str(job)]:
            contexts = next(unit.contexts for unit in TOPOLOGY.units if unit.job.name == job)
            of = {
                "submit": SubmitJob,
                "reset": ResetJob,
                "hold": HoldJob,
                "release": ReleaseJob,
                "skip": SkipJob,
            }
            return of[kind](job=f"host-{job}", context=contexts[0])
    return None


def _told_by(
    log: Sequence[Recorded], *, restart_before: frozenset[int] = frozenset(), ringing: bool = False
) -> list[Notification]:
    """What following the log tells, by somebody who forgets all they know before some of the facts."""
    watch = Watch(begin(TOPOLOGY, log[0]), Deadlines())
    found: list[Notification] = []
    for recorded in log[1:]:
        if recorded.position in restart_before:
            watch = Watch(replay(TOPOLOGY, log[: recorded.position - 1]), Deadlines())
        occasions = watch.ring(recorded.at) if ringing else []
        occasions += watch.follow(recorded)
        found += [each for one in occasions for each in notifications(watch.state, one, EVERYTHING)]
    return found


@settings(deadline=None, max_examples=300)
@given(steps=_steps, restarts=st.frozensets(st.integers(1, 60)))
def test_what_is_told_follows_from_the_log_whoever_follows_it_and_however_often_they_forget(
    steps: list[tuple[int, tuple[object, ...]]], restarts: frozenset[int]
) -> None:
    log = _played(steps)
    straight = {each.id for each in _told_by(log)}
    assert {each.id for each in _told_by(log, restart_before=restarts)} == straight
    assert {each.id for each in _told_by(log, restart_before=restarts, ringing=True)} >= straight


@settings(deadline=None, max_examples=300)
@given(steps=_steps)
def test_each_execution_that_fails_is_told_once_on_each_channel(
    steps: list[tuple[int, tuple[object, ...]]],
) -> None:
    log = _played(steps)
    commands = {f"host-{job.name}" for job in JOBS if isinstance(job, CommandJob)}
    executions = set()
    latest: dict[tuple[str, str | None], int] = {}
    for recorded in log:
        fact = recorded.fact
        # A report may name an initiation that nobody here made; the next that names none is of it.
        reported = isinstance(fact, JobInitiated | JobStarted | JobCompleted | JobFailed)
        if reported and fact.initiation is not None:
            latest[fact.job, fact.context] = fact.initiation
        if isinstance(fact, JobFailed):
            number = fact.initiation or latest.get((fact.job, fact.context))
            by_initiation = fact.job in commands and number is not None
            executions.add((fact.job, fact.context, number if by_initiation else f"at {recorded.position}"))
    told = {each.id: each for each in _told_by(log) if each.matter.monitor_type is ERROR}
    assert Counter(each.channel for each in told.values()) == Counter(
        {"email": len(executions), "webhook:hook": len(executions)} if executions else {}
    )
