"""A bundle that the reference scheduler wrote, pushed as it is, runs to COMPLETE on real processes."""

import io
import os
import re
import zipfile
from pathlib import Path

import pytest
from rig import jobs_of, running

SHARED = Path(__file__).parents[2] / ".." / "shared" / "fixtures"
FIXTURES = Path(os.environ.get("JOBLEDGER_FIXTURES", SHARED))
BUNDLE = FIXTURES / "ikasan" / "MyFirstJobPlan.zip"
ZIP = {"Content-Type": "application/zip"}

pytestmark = pytest.mark.skipif(not BUNDLE.exists(), reason=f"the bundle {BUNDLE.name} is not at hand")


def with_short_sleeps(bundle: bytes) -> bytes:
    """The same bundle, but its commands sleep a hundredth of a second."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bundle)) as source, zipfile.ZipFile(written, "w") as target:
        for entry in source.infolist():
            text = source.read(entry)
            target.writestr(entry, re.sub(rb"sleep \d+", b"sleep 0.01", text))
    return written.getvalue()


def test_the_first_job_plan_is_pushed_as_it_is_and_runs_to_complete(tmp_path: Path) -> None:
    original = BUNDLE.read_bytes()
    with running(tmp_path, agent="scheduler-agent") as rig:
        status, answer = rig.request("PUT", "/api/v1/plans/MyFirstJobPlan", original, **ZIP)
        assert status == 201, answer
        status, answer = rig.request("PUT", "/api/v1/plans/MyFirstJobPlan", original, **ZIP)
        assert (status, answer["version"]) == (200, 1), "the same bundle again made a new version"
        status, answer = rig.request(
            "PUT", "/api/v1/plans/MyFirstJobPlan", with_short_sleeps(original), **ZIP
        )
        assert (status, answer["version"]) == (200, 2)
        instance = rig.begin("MyFirstJobPlan")
        by_hand = {"7amScheduledEvent", "FileWatcherJob1"}
        done = set()
        for job in jobs_of(rig.instance(instance)):
            if job["name"] in by_hand - done:
                rig.submit(instance, job["context"], job["identifier"])
                done.add(job["name"])
        assert done == by_hand
        final = rig.wait_complete(instance)
        assert {job["status"] for job in jobs_of(final)} == {"COMPLETE"}
        commands = [job for job in jobs_of(final) if job["kind"] == "command"]
        assert all(job["return_code"] == 0 for job in commands)
        replayed = rig.ok("GET", f"/api/v1/instances/{instance}?at={final['position']}")
        assert replayed == final
