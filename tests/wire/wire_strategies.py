"""Values of the domain as they may travel, and JSON that merely looks like them."""

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from jobledger.domain.messages import Catalyst, DryRun, Initiation, Outcome, ProcessEvent, ProvisionedJobs
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
    Job,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Member,
    Parameter,
    ScheduleJob,
    StartupControl,
    StartWindow,
    Trigger,
)
from jobledger.domain.standings import with_standings

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""For machines that do other things beside: how long an example takes says nothing there."""

texts = st.text(max_size=12)
filled = st.text(min_size=1, max_size=12).filter(lambda text: text != "@class")
"""A key of that name says the Java class of an object, and is none of its fields."""
optional = st.none() | filled
instants = st.none() | st.integers(1, 4 * 10**12)
numbers = st.integers(-(2**31), 2**31)
flags = st.booleans()
agents = st.sampled_from(["agent", "scheduler-agent", "a"])


def tuples_of(items: st.SearchStrategy, size: int = 3, *, unique_by: Callable | None = None):
    return st.lists(items, max_size=size, unique_by=unique_by).map(tuple)


names = filled
parameters = tuples_of(
    st.builds(Parameter, name=filled, default=st.none() | texts, value=st.none() | texts),
    unique_by=lambda parameter: parameter.name,
)
minutes = st.none() | st.integers(0, 10**6)
cron = st.none() | st.sampled_from(["0 0 7 ? * *", "0 0/5 * * * ?", "no cron at all"])
ranges = st.dictionaries(st.integers(0, 10**13), st.integers(0, 10**13), max_size=2).map(
    lambda found: tuple(found.items())
)
between_contexts = tuples_of(
    st.sampled_from(
        ["{}", '{"contextIdentifier":"a","logicalGrouping":{"and":[{"identifier":"b"}]},"more":null}']
    )
)
triggers = st.builds(
    Trigger,
    cron=cron,
    zone=optional,
    group=optional,
    ignore_misfire=flags,
    eager=flags,
    max_eager_callbacks=numbers,
    persistent_recovery=flags,
    recovery_tolerance_ms=numbers,
    passthrough=st.dictionaries(filled, texts, max_size=2),
    blackout_expressions=tuples_of(texts),
    blackout_ranges=ranges,
    drop_event_on_blackout=flags,
)


def _common(contexts: st.SearchStrategy) -> dict[str, st.SearchStrategy]:
    return {
        "agent": agents,
        "name": names,
        "description": texts,
        "display_name": texts,
        "contexts": contexts,
        "startup": st.sampled_from(StartupControl),
        "held_in": contexts,
        "skipped_in": contexts,
    }


def command_jobs(contexts: st.SearchStrategy) -> st.SearchStrategy[CommandJob]:
    return st.builds(
        CommandJob,
        **_common(contexts),
        command_line=texts,
        working_directory=optional,
        successful_return_codes=tuples_of(st.integers(-255, 255)),
        min_execution_minutes=minutes,
        max_execution_minutes=minutes,
        timeout_minutes=minutes,
        parameters=parameters,
        days_of_week=tuples_of(st.integers(1, 7)),
        target_residing_context_only=flags,
        participates_in_lock=flags,
        repeatable=flags,
        shell=optional,
    )


def jobs(contexts: st.SearchStrategy) -> st.SearchStrategy[Job]:
    common = _common(contexts)
    schedules = st.builds(ScheduleJob, **common, trigger=triggers)
    files = st.builds(
        FileJob,
        **common,
        trigger=triggers,
        file_path=optional,
        filenames=tuples_of(texts),
        move_directory=optional,
        encoding=optional,
        min_file_age_seconds=numbers,
        directory_depth=numbers,
        include_header=flags,
        include_trailer=flags,
        sort_by_modified=flags,
        sort_ascending=flags,
        log_matched_filenames=flags,
        ignore_rename_whilst_scanning=flags,
        sla_cron=optional,
    )
    events = st.one_of(
        st.builds(EventJob, **(common | {"agent": st.just(kind.value), "kind": st.just(kind)}))
        for kind in EventKind
    )
    return st.one_of(command_jobs(contexts), schedules, files, events)


def groupings(members: st.SearchStrategy[str]) -> st.SearchStrategy[Grouping]:
    def wider(inner: st.SearchStrategy[Grouping]) -> st.SearchStrategy[Grouping]:
        return _grouping(members | inner, st.none() | inner)

    return st.recursive(_grouping(members, st.none()), wider, max_leaves=4)


def _grouping(members: st.SearchStrategy[Member], nested: st.SearchStrategy) -> st.SearchStrategy[Grouping]:
    listed = tuples_of(members, 2)
    return st.builds(Grouping, all_of=listed, any_of=listed, none_of=listed, nested=nested).filter(
        lambda grouping: grouping != Grouping()
    )


_monitor_types = st.sampled_from(MonitorType)
_recipients = {name: tuples_of(texts) for name in ("to", "cc", "bcc", "webhooks")}
_words = dict.fromkeys(("subject", "body"), texts)
_files = dict.fromkeys(("subject_file", "body_file"), texts)
_for_types = st.builds(
    ForType,
    **{name: st.none() | tuples_of(texts) for name in ("to", "cc", "bcc")},
    **{name: st.none() | texts for name in (*_words, *_files)},
).filter(lambda each: each != ForType())
notification_settings = st.builds(
    NotificationSettings.of,
    st.none()
    | st.builds(
        PlanNotifications,
        monitor_types=tuples_of(_monitor_types, unique_by=lambda each: each),
        **_recipients,
        **_words,
        html=flags,
        by_type=st.dictionaries(_monitor_types, _for_types, max_size=2),
    ),
    st.lists(
        st.builds(
            JobNotification,
            job=filled,
            monitor_type=_monitor_types,
            agent=texts,
            context=texts,
            **_recipients,
            **_words,
            **_files,
            html=flags,
            variables=st.dictionaries(filled, texts, max_size=2),
        ),
        max_size=4,
    ),
)


@st.composite
def plans(draw: st.DrawFn) -> JobPlan:
    """A plan in the order in which documents give it back, valid or not."""
    context_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    found = draw(
        st.lists(
            jobs(tuples_of(st.sampled_from(context_names), unique_by=lambda name: name)),
            max_size=5,
            unique_by=lambda job: job.identifier,
        )
    )
    root = _context(draw, context_names, found)
    window = StartWindow(
        cron=draw(cron),
        zone=draw(optional),
        time_to_live_ms=draw(numbers),
        working_days=draw(flags),
        blackout_expressions=draw(tuples_of(texts)),
        blackout_ranges=draw(ranges),
    )
    return JobPlan(
        root=root,
        jobs=with_standings(root, found),
        window=window,
        environment_group=draw(optional),
        concurrent=draw(flags),
        end_on_completion=draw(flags),
        disabled=draw(flags),
        schedules_disabled=draw(flags),
        delay_agent_synchronisation=draw(flags),
        notifications=draw(notification_settings),
    )


def _context(draw: st.DrawFn, context_names: list[str], found: list[Job]) -> Context:
    name, *below = context_names
    chosen = draw(st.lists(st.sampled_from(found), unique_by=id, max_size=4)) if found else []
    identifiers = [job.identifier for job in chosen]
    dependencies: tuple[Dependency, ...] = ()
    locks: tuple[Lock, ...] = ()
    if identifiers:
        one = st.sampled_from(identifiers)
        dependencies = draw(
            tuples_of(
                st.builds(Dependency, dependant=one, grouping=st.none() | groupings(one)),
                unique_by=lambda each: each,
            )
        )
        participants = tuples_of(
            st.builds(LockParticipant, context=st.just(name), job=one, count=numbers),
            unique_by=lambda each: each,
        )
        locks = draw(
            tuples_of(
                st.builds(Lock, name=texts, count=numbers, exclusive=flags, participants=participants), 2
            )
        )
    split = draw(st.integers(0, len(below)))
    children = [part for part in (below[:split], below[split:]) if part]
    return Context(
        name=name,
        description=draw(texts),
        jobs=tuple(ListedJob(job.agent, job.name, draw(texts)) for job in chosen),
        dependencies=dependencies,
        contexts=tuple(_context(draw, part, found) for part in children),
        parameters=draw(parameters),
        locks=locks,
        context_dependencies=draw(between_contexts),
    )


process_events = st.builds(
    ProcessEvent,
    agent=filled,
    job=filled,
    instance_id=filled,
    plan=texts,
    id=optional.filter(lambda text: text != "0"),
    initiation_id=optional,
    contexts=tuples_of(texts),
    starting=flags,
    successful=flags,
    outcome=st.sampled_from(Outcome),
    return_code=st.none() | numbers,
    pid=st.none() | st.integers(1, 2**31),
    user=optional,
    host=optional,
    group=st.none() | st.from_regex(r"[a-z]([a-z ]{0,6}[a-z])?", fullmatch=True),
    command_line=optional,
    fired_at=instants,
    next_fire_at=instants,
    completed_at=instants,
    output_path=optional,
    error_path=optional,
    details=optional,
    skipped=flags,
    dry_run=flags,
    resubmitted=flags,
    killed=flags,
    manual=flags,
)
dry_runs = st.builds(
    DryRun,
    fixed_ms=st.none() | st.integers(1, 10**9),
    min_ms=numbers,
    max_ms=numbers,
    error_percentage=st.floats(0, 100),
    error=flags,
)
initiations = st.builds(
    Initiation,
    id=filled,
    agent=filled,
    job=filled,
    plan=filled,
    instance_id=filled,
    contexts=tuples_of(texts),
    parameters=st.dictionaries(filled, texts, max_size=3),
    secrets=tuples_of(filled, 2),
    template=st.none() | command_jobs(tuples_of(filled, unique_by=lambda name: name)),
    catalyst=st.none()
    | st.builds(
        Catalyst,
        job=filled,
        event_id=optional.filter(lambda text: text != "0"),
        return_code=st.none() | numbers,
        output_path=optional,
    ),
    skipped=flags,
    dry_run=st.none() | dry_runs,
)
provisions = st.builds(
    ProvisionedJobs,
    plan=filled,
    jobs=tuples_of(
        jobs(tuples_of(filled, unique_by=lambda name: name)).filter(lambda job: not isinstance(job, EventJob))
    ),
)

_FIELDS_OF_DOCUMENTS = """
name description contexts scheduledJobs jobDependencies contextParameters jobLocks identifier agentName
jobName jobDescription startupControlType skippedContexts heldContexts jobIdentifier logicalGrouping and or
not defaultValue value lockCount exclusiveJobLock jobs timeWindowStart contextTtlMilliseconds timezone
blackoutWindowCronExpressions blackoutWindowDateTimeRanges environmentGroup ableToRunConcurrently disabled
contextName childContextNames displayName ordinal commandLine workingDirectory successfulReturnCodes
minExecutionTime maxExecutionTime daysOfWeekToRun targetResidingContextOnly jobRepeatable templateName
replacementPairs replacementToken jobPlanParameterName cronExpression timeZone jobGroup ignoreMisfire
maxEagerCallbacks recoveryTolerance passthroughProperties filePath filenames minFileAgeSeconds directoryDepth
id startTime projectedEndTime status contextInstanceId returnCode successful outcome pid fireTime jobStarting
internalEventDrivenJob catalystEvent dryRun dryRunParameters jobErrorPercentage initiationId contextTemplate
schedulerJobs contextProfiles emailNotificationDetails emailNotificationContext plan agent start cron zone
time_to_live blackout parameters command schedule file event after all any none locks count held skipped days
class @class templateJob monitorType monitorTypes emailSendTo emailSendToByMonitorType childContextName
emailSubjectNotificationTemplate emailNotificationTemplateParameters webhooks html notifications
"""
FIELDS = _FIELDS_OF_DOCUMENTS.split()

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["java.util.ArrayList", "org.ikasan.GlobalEventJobImpl", "agent", "GLOBAL_EVENT", "a-b"]),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=8),
    max_leaves=25,
)
