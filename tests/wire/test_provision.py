import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.messages import ProvisionedJobs
from jobledger.domain.plan import CommandJob, EventJob, FileJob, ScheduleJob
from jobledger.http.wire.documents import WireError
from jobledger.http.wire.provision import decode_jobs, decode_provision, encode_provision
from wire_fixtures import is_read_or_refused_in_words
from wire_strategies import json_values, provisions, unhurried

COMMON = {"agentName": "agent", "jobName": "job", "contextName": "plan"}
MODEL = "org.ikasan.job.orchestration.model.job."


def decoded(*jobs: object) -> ProvisionedJobs:
    return decode_provision(json.dumps({"jobs": jobs}).encode())


@given(provisions)
@unhurried
def test_jobs_that_were_written_are_read_back_the_same(provision: ProvisionedJobs) -> None:
    assert decode_provision(encode_provision(provision)) == provision


@pytest.mark.parametrize(
    ("java_class", "kind"),
    [
        ("SolrFileEventDrivenJobImpl", FileJob),
        ("QuartzScheduleDrivenJobImpl", ScheduleJob),
        ("InternalEventDrivenJobImpl", CommandJob),
        ("GlobalEventJobImpl", EventJob),
    ],
)
@pytest.mark.parametrize("style", ["wrapper", "@class", "class"])
def test_the_kind_of_a_typed_job_is_its_class(java_class: str, kind: type, style: str) -> None:
    name = MODEL + java_class
    job = [name, COMMON] if style == "wrapper" else COMMON | {style: name}
    _, jobs = decode_jobs(
        json.dumps(["org.ikasan.Wrapper", {"jobs": ["java.util.ArrayList", [job]]}]).encode()
    )
    assert [type(each) for each in jobs] == [kind]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"commandLine": "ls"}, CommandJob),
        ({"cronExpression": "0 0 7 * * ?"}, ScheduleJob),
        ({"cronExpression": "0 0 7 * * ?", "filenames": ["x"]}, FileJob),
        ({"commandLine": "ls", "cronExpression": None, "filenames": None}, CommandJob),
        ({"cronExpression": None, "passthroughProperties": None}, ScheduleJob),
        ({"agentName": "GLOBAL_EVENT"}, EventJob),
        ({"agentName": "BRIDGING_JOB"}, EventJob),
    ],
)
def test_the_kind_of_a_plain_job_is_told_by_its_fields(fields: dict[str, object], kind: type) -> None:
    _, jobs = decode_jobs(json.dumps({"jobs": [COMMON | fields]}).encode())
    assert [type(each) for each in jobs] == [kind]


def test_event_jobs_and_templates_of_commands_are_not_for_agents() -> None:
    provision = decoded(
        COMMON | {"agentName": "GLOBAL_EVENT"},
        COMMON | {"jobName": "template", "commandLine": "x", "templateJob": True},
        COMMON | {"commandLine": "ls"},
    )
    assert [job.name for job in provision.jobs] == ["job"]


def test_an_empty_list_needs_the_name_of_its_plan() -> None:
    with pytest.raises(WireError) as refused:
        decoded()
    assert refused.value.problems[0].pointer == "/contextName"
    assert decode_provision(b'{"jobs": [], "contextName": "plan"}') == ProvisionedJobs(plan="plan", jobs=())


def test_jobs_of_two_plans_are_refused_for_they_would_replace_each_other() -> None:
    with pytest.raises(WireError) as refused:
        decoded(COMMON | {"commandLine": "x"}, COMMON | {"commandLine": "x", "contextName": "other"})
    assert [problem.pointer for problem in refused.value.problems] == ["/jobs/1/contextName"]


def test_a_job_that_may_be_of_any_kind_is_refused() -> None:
    with pytest.raises(WireError, match="cannot be told"):
        decoded(COMMON)


@given(st.lists(json_values, max_size=3))
@unhurried
def test_jobs_of_anything_are_read_or_refused(jobs: list[object]) -> None:
    assert is_read_or_refused_in_words(decode_provision, json.dumps({"jobs": jobs}).encode())
