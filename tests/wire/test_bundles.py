import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    JobPlan,
    ListedJob,
    LockParticipant,
    Parameter,
    ScheduleJob,
)
from jobledger.domain.validation import validate
from jobledger.http.wire.bundle_writing import new_documents
from jobledger.http.wire.bundles import (
    Bundle,
    pack,
    read_documents,
    read_json,
    read_zip,
    split_contexts,
    write_zip,
)
from jobledger.http.wire.documents import WireError, WireProblem
from wire_fixtures import files_in, real_document, zip_of
from wire_strategies import plans, unhurried

AT = 1_700_000_000_000


def context(name: str = "plan", **fields: object) -> dict[str, object]:
    return {"name": name, **fields}


def command(name: str, agent: str = "agent", **fields: object) -> dict[str, object]:
    return {
        "agentName": agent,
        "jobName": name,
        "identifier": f"{agent}-{name}",
        "commandLine": "x",
        **fields,
    }


def listing(name: str, agent: str = "agent", **fields: object) -> dict[str, object]:
    return {"agentName": agent, "jobName": name, "identifier": f"{agent}-{name}", **fields}


def bundle(root: dict[str, object], *jobs: object, **others: object) -> Bundle:
    return read_json(json.dumps({"contextTemplate": root, "schedulerJobs": jobs, **others}).encode())


def documents(root: dict[str, object], *jobs: dict[str, object], **more: object) -> dict[str, bytes]:
    files: dict[str, object] = {"context/plan.json": root}
    files |= {f"jobs/internal/{number}.json": job for number, job in enumerate(jobs)}
    return {path: json.dumps(value).encode() for path, value in (files | more).items()}


def problems_of(raw: bytes | dict[str, bytes]) -> list[WireProblem]:
    with pytest.raises(WireError) as refused:
        _ = read_zip(raw) if isinstance(raw, bytes) else read_documents(raw)
    return refused.value.problems


# --- real bundles -------------------------------------------------------------------------------------------


def test_a_real_bundle_is_read_whole_and_is_valid() -> None:
    found = read_zip(real_document("MyFirstJobPlan.zip"))
    plan = found.plan
    assert [each.name for each in plan.root.walk()] == [
        "MyFirstJobPlan",
        "ScriptProcessingContext",
        "MyGlobalEventContext",
    ]
    assert len(plan.jobs) == 9
    assert [problem for problem in validate(plan) if problem.severity == "error"] == []
    by_name = {job.name: job for job in plan.jobs}
    first = by_name["SampleCommandExecutionJob1"]
    assert isinstance(first, CommandJob)
    assert first.contexts == ("MyFirstJobPlan", "ScriptProcessingContext")
    assert first.parameters == (Parameter("sample_param", "sample default value"),)
    assert isinstance(by_name["7amScheduledEvent"], ScheduleJob)
    assert isinstance(by_name["GlobalEventJob1"], EventJob)
    assert [lock.name for lock in plan.root.locks] == ["MyFirstLock"]
    assert len(plan.root.contexts[0].dependencies) == 5, "the dependency that stands twice counts once"
    assert any("start window" in warning.message for warning in found.warnings)


def test_a_real_bundle_is_exported_byte_for_byte() -> None:
    raw = real_document("MyFirstJobPlan.zip")
    found = read_zip(raw)
    exported = write_zip(found.plan, found.documents, AT)
    assert files_in(exported) == files_in(raw)
    assert read_zip(exported) == found


def test_a_real_bundle_with_changed_defaults_keeps_what_is_not_known_here() -> None:
    found = read_zip(real_document("MyFirstJobPlan.zip"))
    held = tuple(
        msgspec.structs.replace(job, held_in=job.contexts) if isinstance(job, CommandJob) else job
        for job in found.plan.jobs
    )
    plan = msgspec.structs.replace(found.plan, jobs=held, disabled=True)
    exported = write_zip(plan, found.documents, AT)
    assert read_zip(exported).plan == plan
    written = json.loads(files_in(exported)["context/MyFirstJobPlan.json"])
    assert written["treeViewExpandLevel"] == 1
    assert written["contexts"][1]["timeWindowStart"] == "* * 1 ? * * *"
    assert written["disabled"] is True


@pytest.mark.parametrize("document", ["agent-context-instance.json", "job-context-instance.json"])
def test_the_tree_of_a_real_instance_is_a_tree_of_a_plan(document: str) -> None:
    value = json.loads(real_document(document))
    root = value if "name" in value else next(iter(value.values()))
    found = bundle(root)
    assert len(list(found.plan.root.walk())) == 17
    assert any("another context" in problem.message for problem in validate(found.plan))


# --- there and back -----------------------------------------------------------------------------------------


@given(plans())
@unhurried
def test_a_plan_that_was_exported_is_read_back_the_same(plan: JobPlan) -> None:
    found = read_documents(new_documents(plan))
    assert found.plan == plan
    exported = write_zip(plan, found.documents, AT)
    assert read_zip(exported) == found


@given(plans(), plans())
@settings(unhurried, max_examples=50)
def test_a_plan_written_over_the_documents_of_another_is_read_back_the_same(
    plan: JobPlan, old: JobPlan
) -> None:
    assert read_zip(write_zip(plan, new_documents(old), AT)).plan == plan


def test_the_order_of_files_in_a_zip_makes_no_difference() -> None:
    root = context(scheduledJobs=[listing("b"), listing("a")])
    files = documents(root, command("a"), command("b"), command("c"))
    backwards = dict(reversed(files.items()))
    assert read_documents(files) == read_documents(backwards)


def test_an_export_is_the_same_bytes_each_time() -> None:
    found = bundle(context(scheduledJobs=[listing("a")]), command("a"))
    assert write_zip(found.plan, found.documents, AT) == write_zip(found.plan, found.documents, AT)


def test_a_bundle_in_one_document_exports_to_a_zip_with_all_that_it_had() -> None:
    found = bundle(
        context(scheduledJobs=[listing("a")], useDisplayName=True),
        command("a", ordinal=3),
        contextProfiles=[{"profileName": "mine", "owner": "me"}],
        emailNotificationDetails=[{"jobName": "a", "monitorType": "ERROR"}],
        emailNotificationContext={"contextName": "plan", "emailSendTo": ["x@example.org"]},
    )
    files = files_in(write_zip(found.plan, found.documents, AT))
    assert set(files) == {
        "context/plan.json",
        "jobs/internal/a.json",
        "profiles/mine.json",
        "notification_details/a.json",
        "notification/plan.json",
    }
    assert json.loads(files["context/plan.json"])["useDisplayName"] is True
    assert json.loads(files["jobs/internal/a.json"])["ordinal"] == 3
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found


def test_type_wrappers_everywhere_make_no_difference() -> None:
    root = context(scheduledJobs=[listing("a")], contexts=[context("child")])
    typed = [
        "org.ikasan.ContextBundleImpl",
        {
            "contextTemplate": [
                "org.ikasan.ContextTemplateImpl",
                root
                | {
                    "contexts": [
                        "java.util.ArrayList",
                        [["org.ikasan.ContextTemplateImpl", context("child")]],
                    ]
                },
            ],
            "schedulerJobs": [
                "java.util.ArrayList",
                [
                    [
                        "org.ikasan.SolrInternalEventDrivenJobImpl",
                        command("a", skippedContexts={"@class": "x.Y"}),
                    ]
                ],
            ],
        },
    ]
    assert read_json(json.dumps(typed).encode()).plan == bundle(root, command("a")).plan


# --- tolerance ----------------------------------------------------------------------------------------------


def test_nulls_and_missing_fields_count_as_nothing() -> None:
    nothing = dict.fromkeys(
        ["description", "contexts", "scheduledJobs", "jobDependencies", "jobLocks", "contextParameters"]
    )
    nothing |= dict.fromkeys(
        ["blackoutWindowCronExpressions", "contextTtlMilliseconds", "timezone", "disabled"]
    )
    assert bundle(context(**nothing)).plan == JobPlan(root=Context(name="plan"))


def test_an_identifier_that_disagrees_is_made_anew_wherever_it_stands() -> None:
    root = context(
        scheduledJobs=[listing("a", identifier="old-a"), listing("b")],
        jobDependencies=[
            {"jobIdentifier": "agent-b", "logicalGrouping": {"and": ["old-a", {"identifier": "template-a"}]}}
        ],
        jobLocks=[
            {"name": "lock", "jobs": {"plan": [{"identifier": "old-a"}, listing("b", identifier="?")]}}
        ],
    )
    plan = bundle(root, command("a", identifier="template-a"), command("b")).plan
    assert plan.root.dependencies == (Dependency("agent-b", Grouping(all_of=("agent-a", "agent-a"))),)
    assert [each.job for each in plan.root.locks[0].participants] == ["agent-a", "agent-b"]


def test_an_old_identifier_never_wins_over_the_job_that_really_has_it() -> None:
    root = context(
        scheduledJobs=[listing("a", identifier="agent-b"), listing("b")],
        jobDependencies=[{"jobIdentifier": "agent-a", "logicalGrouping": {"and": ["agent-b"]}}],
    )
    plan = bundle(root, command("a", identifier="agent-b"), command("b")).plan
    assert plan.root.dependencies == (Dependency("agent-a", Grouping(all_of=("agent-b",))),)


def test_a_listing_of_the_identifier_alone_is_told_by_its_template() -> None:
    plan = bundle(context(scheduledJobs=[{"identifier": "agent-a"}]), command("a")).plan
    assert plan.root.jobs == (ListedJob("agent", "a"),)


def test_a_member_with_an_identifier_and_a_grouping_requires_both() -> None:
    root = context(
        scheduledJobs=[listing(name) for name in "abc"],
        jobDependencies=[
            {
                "jobIdentifier": "agent-a",
                "logicalGrouping": {
                    "or": [{"identifier": "agent-b", "logicalGrouping": {"or": [{"identifier": "agent-c"}]}}]
                },
            }
        ],
    )
    grouping = bundle(root).plan.root.dependencies[0].grouping
    assert grouping == Grouping(any_of=(Grouping(all_of=("agent-b",), nested=Grouping(any_of=("agent-c",))),))


def test_an_empty_grouping_is_none() -> None:
    root = context(
        scheduledJobs=[listing("a")],
        jobDependencies=[
            {"jobIdentifier": "agent-a", "logicalGrouping": {"and": [], "or": None, "logicalGrouping": {}}}
        ],
    )
    assert bundle(root).plan.root.dependencies == (Dependency("agent-a"),)


def test_holds_and_skips_of_a_template_and_of_a_listing_both_count() -> None:
    root = context(
        scheduledJobs=[
            listing("a", heldContexts={"plan": True, "other": False}),
            listing("g", "GLOBAL_EVENT", skippedContexts={"plan": True}),
        ]
    )
    plan = bundle(root, command("a", skippedContexts={"x": True})).plan
    job, event = plan.jobs
    assert (job.held_in, job.skipped_in) == (("plan",), ("x",))
    assert isinstance(event, EventJob)
    assert (event.kind, event.skipped_in) == (EventKind.GLOBAL, ("plan",))


def test_a_job_takes_part_in_a_lock_when_a_lock_says_so() -> None:
    root = context(
        scheduledJobs=[listing("a"), listing("b")],
        jobLocks=[{"name": "lock", "lockCount": 2, "jobs": {"plan": [listing("a", lockCount=None)]}}],
    )
    plan = bundle(root, command("a"), command("b", participatesInLock=True)).plan
    assert [job.participates_in_lock for job in plan.jobs if isinstance(job, CommandJob)] == [True, False]
    assert plan.root.locks[0].participants == (LockParticipant("plan", "agent-a", 1),)


def test_local_jobs_need_no_template() -> None:
    root = context(scheduledJobs=[listing("done", "LOCAL_EVENT_JOB")])
    assert bundle(root).plan.root.jobs == (ListedJob("LOCAL_EVENT_JOB", "done"),)


def test_the_same_template_twice_is_one_and_two_different_ones_are_left_to_validation() -> None:
    files = documents(context(), command("a"), command("a"))
    assert len(read_documents(files).plan.jobs) == 1
    assert (
        len(read_documents(documents(context(), command("a"), command("a", jobRepeatable=True))).plan.jobs)
        == 2
    )


def test_a_command_from_a_template_is_given_the_parameters_that_replace_its_tokens() -> None:
    files = documents(
        context(scheduledJobs=[listing("a")]),
        command(
            "a",
            commandLine=None,
            templateName="T",
            replacementPairs=[{"replacementToken": "#DAY#", "jobPlanParameterName": "day"}],
        ),
    )
    files["jobs/internalTemplate/T.json"] = json.dumps(
        command("T", commandLine="run --day '#DAY#' #DAY#")
    ).encode()
    found = read_documents(files)
    (job,) = found.plan.jobs
    assert isinstance(job, CommandJob)
    assert job.command_line == "run --day ''\"${day}\"'' ${day}"
    assert job.parameters == (Parameter("day"),)
    changed = msgspec.structs.replace(found.plan, jobs=(msgspec.structs.replace(job, repeatable=True),))
    exported = read_zip(write_zip(changed, found.documents, AT))
    assert exported.plan == changed
    assert "jobs/internalTemplate/T.json" in exported.documents


def from_template(job: dict[str, object], template: dict[str, object] | None) -> dict[str, bytes]:
    """A bundle with the command ``a``, and the template ``T`` if it is given."""
    files = documents(context(scheduledJobs=[listing("a")]), command("a", **job))
    if template is not None:
        files["jobs/internalTemplate/T.json"] = json.dumps(command("T", **template)).encode()
    return files


def test_a_bundle_that_lacks_the_template_is_refused_with_its_name() -> None:
    with pytest.raises(WireError, match="no template 'T'"):
        read_documents(from_template({"commandLine": None, "templateName": "T"}, None))


def test_a_token_that_cannot_be_filled_is_refused_with_its_place() -> None:
    pairs = [{"replacementToken": "@DAY@", "jobPlanParameterName": "day"}]
    job = {
        "commandLine": None,
        "templateName": "T",
        "replacementPairs": pairs,
        "executionEnvironmentProperties": "perl|-e",
    }
    with pytest.raises(WireError, match=r"replacementPairs.*'perl' is no shell"):
        read_documents(from_template(job, {"commandLine": "print '@DAY@'"}))


# --- split contexts -----------------------------------------------------------------------------------------


def test_contexts_in_files_of_their_own_are_joined_to_any_depth_in_their_order() -> None:
    files = {
        "context/plan.json": context(contexts=[context("inline", ordinal=1)]),
        "context/plan/late.json": context("late", ordinal=2),
        "context/plan/early.json": context("early", ordinal=0),
        "context/plan/early/deep.json": context("deep"),
        "context/plan/early/deep/deeper.json": context("deeper"),
        "context/plan/inline/within.json": context("within"),
    }
    raw = zip_of({path: json.dumps(value).encode() for path, value in files.items()})
    plan = read_zip(raw).plan
    assert [each.name for each in plan.root.walk()] == [
        "plan",
        "early",
        "deep",
        "deeper",
        "inline",
        "within",
        "late",
    ]


def test_a_split_bundle_stays_split_in_an_export_that_changes_nothing_and_is_joined_in_one_that_does() -> (
    None
):
    files = {
        "context/plan.json": json.dumps(context()).encode(),
        "context/plan/child.json": json.dumps(context("child", own=1)).encode(),
    }
    found = read_documents(files)
    assert files_in(write_zip(found.plan, found.documents, AT)) == files
    changed = msgspec.structs.replace(found.plan, concurrent=True)
    exported = files_in(write_zip(changed, found.documents, AT))
    assert list(exported) == ["context/plan.json"]
    assert json.loads(exported["context/plan.json"])["contexts"][0]["own"] == 1
    assert read_documents(exported).plan == changed


@given(plans())
@unhurried
def test_a_plan_written_with_each_context_in_a_file_of_its_own_is_read_back_the_same(plan: JobPlan) -> None:
    files = split_contexts(new_documents(plan))
    assert sum(path.startswith("context/") for path in files) == sum(1 for _ in plan.root.walk())
    assert read_zip(pack(plan, files, AT)).plan == plan
    assert split_contexts(files) == files, "splitting what is split changes nothing"


def test_a_split_export_nests_files_as_contexts_are_nested_and_keeps_their_unknown_fields() -> None:
    child = context("child", contexts=[context("grandchild", own=2)], own=1)
    found = bundle(context(contexts=[child, context("other", ordinal=7)], own=0))
    files = split_contexts(found.documents)
    assert list(files) == [
        "context/plan.json",
        "context/plan/child.json",
        "context/plan/child/grandchild.json",
        "context/plan/other.json",
    ]
    read = [json.loads(content) for content in files.values()]
    assert [each.get("own") for each in read] == [0, 1, 2, None]
    assert [each.get("ordinal") for each in read] == [None, None, None, 7], "their order says itself already"
    assert read_documents(files).plan == found.plan


def test_siblings_whose_order_does_not_show_are_given_it() -> None:
    found = bundle(context(contexts=[context("b", ordinal=2), context("a", ordinal=1), context("c")]))
    files = split_contexts(found.documents)
    assert [json.loads(files[f"context/plan/{name}.json"])["ordinal"] for name in "bac"] == [0, 1, 2]
    assert read_documents(files).plan == found.plan


@pytest.mark.parametrize(
    "names",
    [
        ("..", ".", "...", " "),
        ("a/b", "a:b", "A/B"),
        ("é" * 300, "é" * 301),
        ("con", "x.json", "x"),
        ("\t", "\n"),
    ],
)
def test_contexts_of_any_name_have_folders_of_their_own(names: tuple[str, ...]) -> None:
    children = [context(name, contexts=[context(f"within {name}")]) for name in names]
    found = bundle(context(contexts=children))
    assert read_zip(pack(found.plan, split_contexts(found.documents), AT)).plan == found.plan


def test_contexts_nested_as_deep_as_may_be_can_be_split() -> None:
    nested = context("last")
    for number in range(59):
        nested = context(f"c{number}", contexts=[nested])
    found = bundle(nested)
    assert read_zip(pack(found.plan, split_contexts(found.documents), AT)).plan == found.plan


def test_a_context_whose_parent_is_missing_is_named() -> None:
    files = documents(context()) | {"context/other/child.json": b'{"name": "child"}'}
    assert [problem.document for problem in problems_of(files)] == ["context/other/child.json"]


def test_a_bundle_has_one_plan() -> None:
    assert "no plan" in problems_of(zip_of({"jobs/internal/a.json": b"{}"}))[0].message
    two = documents(context()) | {"context/other.json": b'{"name": "other"}'}
    assert {problem.document for problem in problems_of(two)} == {"context/plan.json", "context/other.json"}


# --- what is refused ----------------------------------------------------------------------------------------


def test_every_flaw_is_named_with_its_document_and_pointer() -> None:
    files = documents(
        context(contextTtlMilliseconds="long", scheduledJobs=[5]),
        command("a", successfulReturnCodes=["fine"], daysOfWeekToRun=[8]),
        command("b", startupControlType="SOMETIMES"),
    )
    found = {(problem.document, problem.pointer) for problem in problems_of(files)}
    assert found == {
        ("context/plan.json", "/contextTtlMilliseconds"),
        ("context/plan.json", "/scheduledJobs/0"),
        ("jobs/internal/0.json", "/successfulReturnCodes/0"),
        ("jobs/internal/0.json", "/daysOfWeekToRun/0"),
        ("jobs/internal/1.json", "/startupControlType"),
    }


def test_a_flaw_of_a_bundle_in_one_document_is_named_by_its_pointer_there() -> None:
    with pytest.raises(WireError) as refused:
        bundle(context(contexts=[{"name": 5}]), command("a", commandLine=7))
    pointers = {problem.pointer for problem in refused.value.problems}
    assert pointers == {"/contextTemplate/contexts/0/name", "/schedulerJobs/0/commandLine"}


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"contextTemplate": null}', b'{"contextTemplate": 5}'])
def test_a_document_without_a_plan_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        read_json(raw)


def test_a_document_that_is_no_json_is_named() -> None:
    files = documents(context()) | {"jobs/internal/bad.json": b"{", "jobs/quartz/bad.json": b"[]"}
    found = [problem.document for problem in problems_of(files)]
    assert found == ["jobs/internal/bad.json", "jobs/quartz/bad.json"]


@pytest.mark.parametrize("depth", [61, 70, 150, 5000])
def test_contexts_nested_too_deeply_are_refused(depth: int) -> None:
    text = '{"name": "c", "contexts": [' * depth + '{"name": "last"}' + "]}" * depth
    with pytest.raises(WireError, match="deep"):
        read_json(f'{{"contextTemplate": {text}}}'.encode())


def test_contexts_that_become_too_deep_only_when_joined_are_refused() -> None:
    nested = '{"name": "c", "contexts": [' * 38 + '{"name": "c"}' + "]}" * 38
    place = "context/plan"
    files = {f"{place}.json": nested.replace('"c"', '"plan"', 1).encode()}
    for _ in range(8):
        place += "/c" * 38 + "/next"
        if place.count("/") > 200:
            break
        files[f"{place}.json"] = nested.replace('"c"', '"next"', 1).encode()
    assert any("deep" in problem.message for problem in problems_of(files))


def test_groupings_nested_as_deep_as_documents_may_be_are_read() -> None:
    grouping: dict[str, object] = {"and": ["agent-a"]}
    for _ in range(45):
        grouping = {"and": [{"logicalGrouping": grouping}]}
    root = context(
        scheduledJobs=[listing("a"), listing("b")],
        jobDependencies=[{"jobIdentifier": "agent-b", "logicalGrouping": grouping}],
    )
    found = bundle(root, command("a"), command("b"))
    assert not [problem for problem in validate(found.plan) if problem.severity == "error"]
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found


def test_names_that_no_file_may_have_make_files_all_the_same() -> None:
    names = ["a/b", "a:b", "..", "A/B", 'x"?*<>|\\', "\n", "é" * 300]
    found = bundle(context("../plan", scheduledJobs=[listing(name) for name in names]), *map(command, names))
    assert len(found.documents) == 1 + len(names)
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found


def test_a_plan_of_ten_thousand_jobs_is_read_and_written_in_seconds() -> None:
    names = [f"job-{number}" for number in range(10_000)]
    root = context(
        scheduledJobs=[listing(name) for name in names],
        jobDependencies=[
            {
                "jobIdentifier": f"agent-{after}",
                "logicalGrouping": {"and": [{"identifier": f"agent-{before}"}]},
            }
            for before, after in pairwise(names)
        ],
    )
    found = bundle(root, *map(command, names))
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found


@given(st.data())
@unhurried
def test_a_bundle_with_the_same_job_under_two_agents_keeps_them_apart(data: st.DataObject) -> None:
    agents = data.draw(st.lists(st.sampled_from(["a", "b", "a-b"]), min_size=2, unique=True))
    found = bundle(
        context(scheduledJobs=[listing("job", agent) for agent in agents]),
        *(command("job", agent) for agent in agents),
    )
    assert [job.agent for job in found.plan.jobs] == agents
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found
