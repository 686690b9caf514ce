"""Export then push is the identity: nothing of what was pushed is lost or changed, whoever wrote it."""

import json
import re

import yaml
from bundle_strategies import MARK, ODD_NAMES, bundles, plan_files
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jobledger.domain.commands import Refused
from jobledger.domain.plan_defaults import with_job_default, with_schedules
from jobledger.http.wire.bundles import (
    pack,
    read_documents,
    read_json,
    read_plan_file,
    read_zip,
    split_contexts,
    write_zip,
)
from wire_fixtures import files_in
from wire_strategies import unhurried

AT = 1_700_000_000_000
MARKS = re.compile(f"{MARK}[0-9]+".encode())


@given(bundles())
@unhurried
def test_any_bundle_is_exported_byte_for_byte_and_read_back_the_same(documents: dict[str, bytes]) -> None:
    found = read_documents(documents)
    exported = write_zip(found.plan, found.documents, AT)
    assert files_in(exported) == documents
    assert read_zip(exported) == found


@given(bundles())
@unhurried
def test_a_split_export_is_the_same_plan_with_all_that_is_not_known_here(documents: dict[str, bytes]) -> None:
    found = read_documents(documents)
    split = read_zip(pack(found.plan, split_contexts(found.documents), AT))
    assert split.plan == found.plan
    assert marks_in(split.documents) == marks_in(documents)


@given(bundles(), st.data())
@settings(unhurried, max_examples=60)
def test_a_plan_changed_where_it_is_keeps_what_is_not_known_here(
    documents: dict[str, bytes], data: st.DataObject
) -> None:
    found = read_documents(documents)
    plan = with_schedules(found.plan, disabled=not found.plan.schedules_disabled)
    listed = [job.identifier for job in plan.jobs if job.contexts]
    if listed:
        held = with_job_default(plan, "hold", data.draw(st.sampled_from(listed)), None)
        plan = plan if isinstance(held, Refused) else held
    again = read_zip(write_zip(plan, found.documents, AT))
    assert again.plan == plan
    assert marks_in(again.documents) == marks_in(documents)
    assert files_in(write_zip(again.plan, again.documents, AT)) == again.documents


def marks_in(documents: dict[str, bytes]) -> list[bytes]:
    return sorted(mark for content in documents.values() for mark in MARKS.findall(content))


@given(plan_files())
@settings(unhurried, max_examples=60)
def test_a_plan_file_exported_as_a_bundle_and_pushed_is_the_same_plan(value: dict[str, object]) -> None:
    # Copied, because the same list in two places would be written as an alias, which is not taken.
    text = yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False)
    found = read_plan_file(text)
    assert found.plan == read_json(json.dumps(value).encode()).plan
    exported = read_zip(write_zip(found.plan, found.documents, AT))
    assert (exported.plan, exported.documents) == (found.plan, found.documents)


@given(st.lists(st.sampled_from(ODD_NAMES), min_size=1, max_size=6, unique=True), st.sampled_from(ODD_NAMES))
@unhurried
def test_plans_contexts_and_jobs_of_odd_names_come_back(names: list[str], plan_name: str) -> None:
    assume(plan_name not in names)
    listed = [{"agentName": "x", "jobName": name, "identifier": f"x-{name}"} for name in names]
    contexts = [{"name": name, "scheduledJobs": listed} for name in names]
    context = {"name": plan_name, "contexts": contexts}
    jobs = [{**each, "commandLine": "true"} for each in listed]
    found = read_json(json.dumps({"contextTemplate": context, "schedulerJobs": jobs}).encode())
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found
    assert read_zip(pack(found.plan, split_contexts(found.documents), AT)).plan == found.plan
