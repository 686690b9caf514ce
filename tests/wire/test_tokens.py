import json

import pytest
from jobledger.domain.plan import CommandJob, Dependency, EventKind
from jobledger.domain.validation import validate
from jobledger.http.wire.bundles import (
    Bundle,
    pack,
    read_documents,
    read_json,
    read_zip,
    split_contexts,
    tokenised_documents,
    write_tokenised_zip,
    write_zip,
)
from jobledger.http.wire.documents import WireError
from jobledger.http.wire.tokens import replace_tokens, replace_tokens_in_json
from wire_fixtures import files_in, real_document, zip_of

AT = 1_700_000_000_000
ROOT = {
    "name": "nightly_PROD",
    "scheduledJobs": [
        {"identifier": "agent-load", "agentName": "agent", "jobName": "load"},
        {"identifier": "GLOBAL_EVENT-go", "agentName": "GLOBAL_EVENT", "jobName": "go"},
    ],
    "jobDependencies": [{"jobIdentifier": "agent-load", "logicalGrouping": {"and": ["GLOBAL_EVENT-go"]}}],
    "jobLocks": [{"name": "l", "jobs": {"nightly_PROD": [{"identifier": "agent-load"}]}}],
}
JOBS = [
    {
        "agentName": "agent",
        "jobName": "load",
        "contextName": "nightly_PROD",
        "commandLine": "echo agent nightly_PROD",
        "heldContexts": {"nightly_PROD": True},
    },
    {"agentName": "GLOBAL_EVENT", "jobName": "go", "contextName": "nightly_PROD"},
]


def nightly() -> Bundle:
    return read_json(json.dumps({"contextTemplate": ROOT, "schedulerJobs": JOBS}).encode())


def test_a_tokenised_export_names_no_agent_and_no_environment() -> None:
    found = nightly()
    files = files_in(write_tokenised_zip(found.plan, found.documents, AT))
    assert set(files) == {"context/nightly.json", "jobs/internal/load.json", "jobs/global/go.json"}
    root = json.loads(files["context/nightly.json"])
    assert root["name"] == "nightly_[[env.name]]"
    assert root["scheduledJobs"][0]["identifier"] == "[[agent.name]]-load"
    assert root["scheduledJobs"][1]["identifier"] == "GLOBAL_EVENT-go"
    assert root["jobDependencies"][0]["jobIdentifier"] == "[[agent.name]]-load"
    assert list(root["jobLocks"][0]["jobs"]) == ["nightly_[[env.name]]"]
    job = json.loads(files["jobs/internal/load.json"])
    assert (job["agentName"], job["contextName"]) == ("[[agent.name]]", "nightly_[[env.name]]")
    assert job["commandLine"] == "echo agent nightly_PROD", "what a command says is nobody else's to change"


def test_a_tokenised_export_pushed_with_the_old_values_is_the_old_plan() -> None:
    found = nightly()
    raw = write_tokenised_zip(found.plan, found.documents, AT)
    assert read_zip(raw, {"agent.name": "agent", "env.name": "PROD"}).plan == found.plan


def test_a_tokenised_export_pushed_elsewhere_is_the_same_plan_there() -> None:
    found = nightly()
    there = read_zip(
        write_tokenised_zip(found.plan, found.documents, AT),
        {"[[agent.name]]": "other", "[[env.name]]": "TEST"},
    )
    assert there.plan.name == "nightly_TEST"
    assert [job.identifier for job in there.plan.jobs] == ["other-load", "GLOBAL_EVENT-go"]
    assert there.plan.jobs[0].held_in == ("nightly_TEST",)
    assert not [problem for problem in validate(there.plan) if problem.severity == "error"]
    assert read_zip(write_zip(there.plan, there.documents, AT)) == there


def test_a_template_of_commands_carries_no_tokens() -> None:
    files = nightly().documents | {"jobs/internalTemplate/T.json": b'{"agentName": "agent", "jobName": "T"}'}
    found = read_documents(files)
    assert (
        tokenised_documents(found.plan, files)["jobs/internalTemplate/T.json"]
        == (files["jobs/internalTemplate/T.json"])
    )


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("nightly_PROD", "nightly_[[env.name]]"),
        ("nightly_run_PROD", "nightly_run_[[env.name]]"),
        ("nightly", "nightly_[[env.name]]"),
        ("nightly_", "nightly_[[env.name]]"),
        ("_PROD", "_[[env.name]]"),
    ],
)
def test_the_last_part_of_a_plans_name_is_its_environment(name: str, token: str) -> None:
    found = read_json(json.dumps({"contextTemplate": {"name": name}}).encode())
    (content,) = tokenised_documents(found.plan, found.documents).values()
    assert json.loads(content)["name"] == token


@pytest.mark.parametrize("kind", EventKind)
def test_the_names_of_event_jobs_are_left_alone(kind: EventKind) -> None:
    listed = {"agentName": kind.value, "jobName": "e", "identifier": f"{kind.value}-e"}
    root = {"name": "p", "scheduledJobs": [listed], "jobDependencies": [{"jobIdentifier": f"{kind.value}-e"}]}
    found = read_json(json.dumps({"contextTemplate": root, "schedulerJobs": [listed]}).encode())
    documents = tokenised_documents(found.plan, found.documents)
    assert b"agent.name" not in b"".join(documents.values())


def test_tokens_stand_in_split_files_too() -> None:
    root = ROOT | {"contexts": [{"name": "later", "scheduledJobs": [ROOT["scheduledJobs"][0]]}]}
    found = read_json(json.dumps({"contextTemplate": root, "schedulerJobs": JOBS}).encode())
    files = split_contexts(tokenised_documents(found.plan, found.documents))
    assert (
        json.loads(files["context/nightly/later.json"])["scheduledJobs"][0]["agentName"] == "[[agent.name]]"
    )
    raw = pack(found.plan, files, AT)
    assert read_zip(raw, {"agent.name": "agent", "env.name": "PROD"}).plan == found.plan


def test_an_environment_of_nothing_takes_the_underscore_with_it() -> None:
    files = {"context/p.json": b'{"name": "p_[[env.name]]"}'}
    assert read_zip(zip_of(files), {"env.name": ""}).plan.name == "p"


def test_jobs_that_one_token_would_make_one_are_not_exported_with_tokens() -> None:
    jobs = [{"agentName": agent, "jobName": "load", "commandLine": "x"} for agent in ("a", "b")]
    found = read_json(json.dumps({"contextTemplate": {"name": "p"}, "schedulerJobs": jobs}).encode())
    with pytest.raises(WireError, match="'a' and 'b' both have a job 'load'"):
        write_tokenised_zip(found.plan, found.documents, AT)


def test_every_token_that_is_left_is_named_with_its_document() -> None:
    files = {
        "context/p.json": b'{"name": "[[context.name]]"}',
        "jobs/internal/a.json": b'{"agentName": "[[agent.name]]", "commandLine": "[[db.name]] [[db.name]]"}',
    }
    with pytest.raises(WireError) as refused:
        read_zip(zip_of(files), {"context.name": "p"})
    found = [(problem.document, problem.message.split(";")[0]) for problem in refused.value.problems]
    assert found == [
        ("jobs/internal/a.json", "the token [[agent.name]] is left"),
        ("jobs/internal/a.json", "the token [[db.name]] is left"),
    ]


def test_a_token_left_in_a_bundle_of_one_document_is_refused_too() -> None:
    raw = b'{"contextTemplate": {"name": "[[context.name]]"}}'
    with pytest.raises(WireError, match=r"context\.name"):
        read_json(raw)
    assert read_json(raw, {"context.name": "p"}).plan.name == "p"


@pytest.mark.parametrize(
    "command", ["if [[ -f a.b ]]; then :; fi", "[[$a.b]]", "[[a]]", "x[[1.2]]", "[[ agent.name ]]"]
)
def test_brackets_of_a_shell_are_no_tokens(command: str) -> None:
    raw = json.dumps({"commandLine": command}).encode()
    assert replace_tokens_in_json(raw, {"agent.name": "x"}) == raw


def test_a_value_is_written_as_json_wants_it() -> None:
    raw = replace_tokens_in_json(b'{"a": "[[agent.name]]"}', {"agent.name": 'say "hi"\\\n'})
    assert json.loads(raw) == {"a": 'say "hi"\\\n'}


def test_a_value_may_look_like_a_token_or_a_pattern_and_stays_itself() -> None:
    assert replace_tokens({"a.txt": b"[[agent.name]]"}, {"agent.name": r"\1[[x]]"}) == {"a.txt": rb"\1[[x]]"}


def test_tokens_in_paths_are_replaced_and_never_lead_out_of_the_bundle() -> None:
    found = replace_tokens({"context/p_[[env.name]].json": b"{}"}, {"env.name": "../../x"})
    assert found == {"context/p_.._.._x.json": b"{}"}


# --- a real export with tokens ------------------------------------------------------------------------------


def test_a_real_export_with_tokens_is_refused_without_their_values() -> None:
    with pytest.raises(WireError) as refused:
        read_zip(real_document("MyFirstJobPlanWithTokens.zip"), {"agent.name": "scheduler-agent"})
    assert {problem.message for problem in refused.value.problems} == {
        "the token [[context.name]] is left; give a value for context.name"
    }


def test_a_real_export_with_tokens_is_read_and_what_is_damaged_in_it_is_told() -> None:
    raw = real_document("MyFirstJobPlanWithTokens.zip")
    found = read_zip(raw, {"agent.name": "scheduler-agent", "context.name": "plan"})
    assert found.plan.name == "plan"
    assert [problem for problem in validate(found.plan) if problem.severity == "error"] == []
    event = found.plan.root.contexts[1].jobs[0]
    assert event.identifier == "GLOBAL_EVENT-GlobalEventJob1", "its listing had an agent's token instead"
    assert Dependency("scheduler-agent-SampleCommandExecutionJob1") in found.plan.root.dependencies
    assert any("depended on itself" in warning.message for warning in found.warnings)
    assert {job.agent for job in found.plan.jobs if isinstance(job, CommandJob)} == {"scheduler-agent"}
    exported = read_zip(write_zip(found.plan, found.documents, AT))
    assert (exported.plan, exported.documents) == (found.plan, found.documents)
