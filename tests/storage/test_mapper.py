"""Every fact that was ever stored stays readable, whatever becomes of the program."""

import json
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import msgspec
import pytest
from jobledger.domain.facts import (
    SCHEMA_VERSION,
    AgentsSynchronised,
    Cause,
    ClockSetBack,
    DependantsFired,
    DroppedOrder,
    ErrorAcknowledged,
    EventIgnored,
    EventKept,
    EventParked,
    FireSkipped,
    GlobalEventRaised,
    InitiationDropped,
    InitiationKept,
    InstanceDue,
    InstanceEnded,
    InstanceFact,
    InstancePrepared,
    InstanceReset,
    InstanceStarted,
    JobCompleted,
    JobEnabled,
    JobFailed,
    JobHeld,
    JobInitiated,
    JobLockQueued,
    JobPassedOver,
    JobReleased,
    JobReset,
    JobSkipped,
    JobStarted,
    KillRequested,
    LockDefined,
    LockFact,
    LockGranted,
    LockReleased,
    LockRequested,
    LockReset,
    LockWithdrawn,
    NextDropped,
    NextPrepared,
    NotificationsSet,
    ParameterSourceRead,
    ParametersSet,
    PlanDeleted,
    PlanDeletionBegun,
    PlanDisabled,
    PlanEnabled,
    PlanFact,
    PlanPushed,
    Recorded,
    ResetDropped,
    ResetOrdered,
    RunsUntilEnded,
    SchedulesDisabled,
    SchedulesEnabled,
    SourceParametersTaken,
    StartDeferred,
    StartMoved,
    StartSkipped,
)
from jobledger.domain.messages import Catalyst, DryRun, Outcome, ProcessEvent
from jobledger.domain.notification_settings import (
    ForType,
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
)
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Parameter,
    ScheduleJob,
    StartWindow,
    Trigger,
)
from jobledger.storage.mapper import FactMapper, UnreadableFact

PAST_LOGS = Path(__file__).parent / "past_logs"
STREAM = UUID("2f1d6a52-0c1b-4b8e-9a53-0f9a4ddc6f11")
CAUSE = Cause(position=7, command="HoldJob", by="ann", source="10.1.2.3", reason="known issue")
PLAN = JobPlan(
    root=Context(
        name="eod",
        description="end of day",
        jobs=(ListedJob("host", "load"), ListedJob("host", "report", "prints it")),
        dependencies=(
            Dependency("host-load", Grouping(all_of=("START-go",))),
            Dependency(
                "host-report",
                Grouping(
                    any_of=("host-load", Grouping(none_of=("host-x",))), nested=Grouping(all_of=("a-b",))
                ),
            ),
            Dependency("host-alone"),
        ),
        contexts=(Context(name="inner"),),
        parameters=(Parameter("date", default="today"), Parameter("desk", value="fx")),
        locks=(Lock("db", 2, exclusive=True, participants=(LockParticipant("eod", "host-load", 2),)),),
    ),
    jobs=(
        CommandJob(
            agent="host",
            name="load",
            contexts=("eod",),
            command_line="echo é",
            successful_return_codes=(0, 3),
            timeout_minutes=5,
            parameters=(Parameter("p"),),
            days_of_week=(1, 7),
            held_in=("eod",),
        ),
        ScheduleJob(agent="host", name="at-six", trigger=Trigger(cron="0 0 6 * * ?", passthrough={"k": "v"})),
        FileJob(
            agent="host",
            name="file",
            trigger=Trigger(blackout_ranges=((1, 2), (3, 4))),
            filenames=("*.csv",),
        ),
        EventJob.listed(EventKind.START, "go"),
    ),
    window=StartWindow(cron="0 0 5 * * ?", zone="Europe/London", time_to_live_ms=60_000),
    environment_group="uk",
    concurrent=True,
)

FACTS: tuple[Any, ...] = (
    InstanceStarted(
        plan="eod",
        plan_version=3,
        due_at=5,
        ends_at=60_005,
        agents=("host",),
        environment_group="uk",
        parameters={"date": "2026-03-29"},
        dry_run=DryRun(min_ms=1, max_ms=9, error_percentage=2.5),
        schedules_disabled=True,
        source_parameters={"desk": "fx"},
        zone="Europe/London",
        business_date="2026-03-27",
    ),
    InstancePrepared(plan="eod", plan_version=3, due_at=5, until_ended=True, commands_held=True),
    JobHeld(job="host-load", context="eod"),
    JobReleased(job="host-load"),
    InitiationKept(job="host-load", catalyst=Catalyst(job="host-x", context="eod"), within="eod"),
    InitiationDropped(job="host-load", context="eod"),
    JobSkipped(job="host-load"),
    JobEnabled(job="host-load"),
    JobPassedOver(job="host-load", catalyst=Catalyst(job="host-x")),
    JobReset(job="host-load", context="eod"),
    ErrorAcknowledged(job="host-load", ticket="OPS-42"),
    DependantsFired(job="host-load"),
    JobLockQueued(
        job="host-load",
        lock="db",
        ticket=7,
        parameters={"p": "1"},
        catalyst=Catalyst(job="host-x"),
        by_hand=True,
        within="inner",
    ),
    ParametersSet(parameters={"p": "2"}, context="inner", agents=("host",)),
    SourceParametersTaken(parameters={"desk": "fx"}, agents=("host",)),
    SchedulesDisabled(agents=("host",)),
    SchedulesEnabled(agents=("host",)),
    RunsUntilEnded(agents=("host",)),
    JobInitiated(
        job="host-load",
        context="eod",
        lock_ticket=7,
        initiation=1,
        agent="host",
        contexts=("eod", "inner"),
        parameters={"p": "ünï"},
        catalyst=Catalyst(job="host-x", event_id="e1", return_code=0, output_path="/out"),
        by_hand=True,
        unset=("q",),
        unexpanded=("p",),
    ),
    JobStarted(
        job="host-load", initiation=1, event_id="e2", fired_at=1, pid=4711, host="h", output_path="/o"
    ),
    JobCompleted(
        job="host-load",
        initiation=1,
        completed_at=2,
        return_code=3,
        outcome=Outcome.IGNORED_DAY_OF_WEEK,
        details="not today",
    ),
    JobFailed(job="host-load", context="inner", return_code=-9, killed=True, details="killed"),
    FireSkipped(job="host-at-six", reason="blackout", due_at=9, event_id="e3"),
    EventIgnored(reason="duplicate", job="host-load", event_id="e2"),
    GlobalEventRaised(job="GLOBAL_EVENT-all", name="all", environment_group="uk"),
    KillRequested(job="host-load", initiation=1, agent="host", pid=4711, force=True),
    InstanceEnded(reason="window closed", agents=("host",)),
    EventParked(error="KeyError: 'job'", parked_event_id="e4"),
    PlanPushed(version=2, plan=PLAN, documents={"eod/plan.json": b"\x00\xff{}"}, previous_agents=("old",)),
    InstanceDue(instance_id=STREAM, version=2, due_at=5),
    StartSkipped(due_at=1, through=9, count=3, reason="window passed", detail="3 in a row"),
    ParameterSourceRead(parameters={"desk": "fx"}),
    LockDefined(name="db", count=2, exclusive=True, environment_group="uk"),
    LockRequested(ticket=7, lock="db", instance_id=STREAM, job="host-load", context="eod", count=2),
    LockGranted(ticket=7),
    LockWithdrawn(ticket=8),
    LockReleased(ticket=7),
    LockReset(lock="db", dropped=(9, 11)),
    NotificationsSet(
        notifications=NotificationSettings(
            plan=PlanNotifications(
                monitor_types=(MonitorType.ERROR, MonitorType.OVERDUE),
                to=("${oncall}",),
                webhooks=("incidents",),
                by_type={MonitorType.OVERDUE: ForType(cc=("desk@example.org",), subject_file="late.txt")},
            ),
            jobs=(
                JobNotification(
                    job="load",
                    monitor_type=MonitorType.START,
                    context="eod",
                    bcc=("x@example.org",),
                    body="{{ job }} began",
                    html=True,
                    variables={"EMAIL_BODY_TEXT": "it began"},
                ),
            ),
        ),
        documents={"notification/eod.json": b"{}"},
    ),
    StartMoved(due_at=86_400_005, ends_at=86_460_005, business_date="2026-03-30"),
    ResetOrdered(
        successor=STREAM,
        parameters={"date": "2026-03-29"},
        context_parameters={"inner": {"p": "2"}},
        commands_held=True,
        due_at=5,
        business_date="2026-03-27",
        dry_run=DryRun(fixed_ms=1),
    ),
    InstanceStarted(
        plan="eod",
        plan_version=3,
        context_parameters={"inner": {"p": "2"}},
        instead_of=UUID("7a7c7a1e-94a5-4f5b-9c7e-3f6f0f0a2b11"),
    ),
    InstanceEnded(reason="replaced"),
    AgentsSynchronised(plan="eod", version=2, agents=("host",), previous_agents=("old",)),
    PlanEnabled(),
    PlanDisabled(),
    NextPrepared(
        instance_id=STREAM,
        version=2,
        due_at=5,
        replaces=UUID("7a7c7a1e-94a5-4f5b-9c7e-3f6f0f0a2b11"),
        dropped=(DroppedOrder(order="HoldJob", reason="no such job", job="host-old", context="eod"),),
    ),
    NextDropped(instance_id=STREAM, dropped=(DroppedOrder(order="RunUntilEnded", reason="no start"),)),
    StartDeferred(due_at=5),
    StartSkipped(due_at=1, through=9, count=1000, reason="plan disabled", at_least=True),
    InstanceReset(instance_id=STREAM, previous=UUID("7a7c7a1e-94a5-4f5b-9c7e-3f6f0f0a2b11"), version=2),
    ResetDropped(previous=STREAM),
    ClockSetBack(accounted_through=5),
    PlanDeletionBegun(),
    PlanDeleted(plan="eod", agents=("host",)),
    EventKept(event=ProcessEvent(agent="host", job="load", instance_id="", plan="eod", return_code=3)),
)


def _recorded(fact: Any, position: int = 1) -> Recorded:
    return Recorded(
        originator_id=STREAM, originator_version=position, at=1_774_745_400_000, cause=CAUSE, fact=fact
    )


def _names() -> set[str]:
    return {
        each.__name__
        for each in (*get_args(InstanceFact), *get_args(PlanFact), *get_args(LockFact), EventKept)
    }


def test_the_facts_of_these_tests_are_of_every_kind() -> None:
    assert {type(fact).__name__ for fact in FACTS} == _names()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_reads_back_as_it_was(fact: Any) -> None:
    mapper = FactMapper()
    recorded = _recorded(fact)
    topic, state = mapper.encode(recorded)
    assert topic == f"{type(fact).__name__}:{SCHEMA_VERSION}"
    assert mapper.decode(STREAM, 1, topic, state) == recorded
    assert mapper.to_domain_event(mapper.to_stored_event(recorded)) == recorded
    assert mapper.instant(state) == recorded.at


def test_a_fact_with_nothing_but_what_it_must_have_reads_back() -> None:
    mapper = FactMapper()
    recorded = Recorded(
        originator_id=STREAM, originator_version=1, at=-1, cause=Cause(), fact=JobStarted(job="a-b")
    )
    topic, state = mapper.encode(recorded)
    assert mapper.decode(STREAM, 1, topic, state) == recorded
    assert len(state) < 50


def test_what_is_stored_is_msgpack_that_says_what_it_is_to_other_programs() -> None:
    _, state = FactMapper().encode(_recorded(JobStarted(job="host-load", pid=5)))
    at, cause, fact = msgspec.msgpack.decode(state)
    assert at == 1_774_745_400_000
    assert cause["by"] == "ann"
    assert fact == {"type": "JobStarted", "job": "host-load", "pid": 5}


# --- logs of the past ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PAST_LOGS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_log_of_a_past_version_reads_today(path: Path) -> None:
    """One file per version, written by that version and never changed since."""
    mapper = FactMapper()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for position, line in enumerate(lines, 1):
        recorded = mapper.decode(STREAM, position, line["topic"], bytes.fromhex(line["state"]))
        assert json.loads(msgspec.json.encode(recorded)) == line["reads"], line["topic"]


def test_there_is_a_log_of_every_version_with_facts_of_every_kind() -> None:
    for version in range(1, SCHEMA_VERSION + 1):
        path = PAST_LOGS / f"version-{version}.jsonl"
        assert path.exists(), f"keep a log of version {version}: {write_past_log.__name__} writes it"
        topics = {json.loads(line)["topic"] for line in path.read_text().splitlines()}
        if version == SCHEMA_VERSION:
            assert topics == {f"{name}:{version}" for name in _names()}


def write_past_log() -> None:
    """Keep a log of the present version; to be run once, when its schema is final."""
    mapper = FactMapper()
    lines = []
    for position, fact in enumerate(FACTS, 1):
        recorded = _recorded(fact, position)
        topic, state = mapper.encode(recorded)
        reads = json.loads(msgspec.json.encode(recorded))
        lines.append(json.dumps({"topic": topic, "state": state.hex(), "reads": reads}) + "\n")
    PAST_LOGS.mkdir(exist_ok=True)
    (PAST_LOGS / f"version-{SCHEMA_VERSION}.jsonl").write_text("".join(lines))


# --- upcasting ----------------------------------------------------------------------------------------------


class Moved(msgspec.Struct, frozen=True, tag=True):
    """A fact with a history: ``place`` became ``where`` in version 2, and ``kilometres`` ``metres`` in 3."""

    where: str
    metres: int


def _rename(data: dict[str, Any]) -> dict[str, Any]:
    return {"where": data.pop("place"), **data}


def _to_metres(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "metres": data.pop("kilometres") * 1000}


def _with_history(version: int = 3) -> FactMapper:
    upcasts = {("Moved", 1): _rename, ("Moved", 2): _to_metres}
    return FactMapper(schema_version=version, upcasts=upcasts, types=(Moved, JobStarted))


def _stored(fact: object) -> bytes:
    return msgspec.msgpack.encode((5, Cause(by="ann"), fact))


def test_an_old_fact_is_brought_to_the_present_one_version_at_a_time() -> None:
    mapper = _with_history()
    first = _stored({"type": "Moved", "place": "here", "kilometres": 2})
    second = _stored({"type": "Moved", "where": "there", "kilometres": 3})
    third = _stored({"type": "Moved", "where": "yonder", "metres": 4})
    assert mapper.decode(STREAM, 1, "Moved:1", first).fact == Moved("here", 2000)
    assert mapper.decode(STREAM, 2, "Moved:2", second).fact == Moved("there", 3000)
    assert mapper.decode(STREAM, 3, "Moved:3", third).fact == Moved("yonder", 4)
    decoded = mapper.decode(STREAM, 1, "Moved:1", first)
    assert (decoded.at, decoded.cause, decoded.position) == (5, Cause(by="ann"), 1)


def test_a_kind_of_fact_that_never_changed_needs_no_upcasts() -> None:
    stored = _stored({"type": "JobStarted", "job": "a-b"})
    assert _with_history().decode(STREAM, 1, "JobStarted:1", stored).fact == JobStarted(job="a-b")


@pytest.mark.parametrize(
    ("topic", "state", "told"),
    [
        ("Moved:4", b"", "stored in version 4 .* up to version 3"),
        ("Vanished:1", b"", "no fact is called Vanished:1"),
        ("Moved", b"", "no fact is called Moved"),
        ("Moved:x", b"", "no fact is called Moved:x"),
        ("Moved:3", b"", "fact 7 of .* does not read"),
        ("Moved:3", b"\xc1garbage", "does not read"),
        ("Moved:3", _stored({"type": "Moved", "where": 5, "metres": 4}), "does not read: .*where"),
        ("Moved:1", _stored({"type": "Moved", "place": 5, "kilometres": 1}), "does not read"),
        ("Moved:1", _stored({"type": "Moved", "kilometres": 1}), "does not read"),
        ("Moved:1", _stored("no map"), "does not read"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_the_reason(topic: str, state: bytes, told: str) -> None:
    with pytest.raises(UnreadableFact, match=told):
        _with_history().decode(STREAM, 7, topic, state)


def test_what_is_no_fact_is_not_stored() -> None:
    with pytest.raises(TypeError, match="Cause is no fact"):
        FactMapper().encode(_recorded(Cause()))


def test_mappers_can_be_told_of_another_stream_than_the_one_that_was_written() -> None:
    mapper = FactMapper()
    topic, state = mapper.encode(_recorded(JobStarted(job="a-b")))
    other = uuid4()
    assert mapper.decode(other, 9, topic, state).originator_id == other
