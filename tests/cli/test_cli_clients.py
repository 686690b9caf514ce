"""What the commands ask of the dashboard, and what they make of its answers."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result
from fake_dashboard import INSTANCE_ID, Asked, FakeDashboard, Reply, instance, job, page, with_nightly

Run: TypeAlias = Callable[..., Result]


# --- orders -------------------------------------------------------------------------------------------------


def test_start_sends_the_parameters_and_prints_only_the_id(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", "/api/v1/plans/nightly/instances", Reply({"instance_id": INSTANCE_ID}, 201))
    result = run("instance", "start", "nightly", "-p", "DAY=2026-03-01", "-p", "EMPTY=", "-p", "URL=a=b")
    assert (result.exit_code, result.output) == (0, INSTANCE_ID + "\n")
    assert fake.last("POST").document["parameters"] == {"DAY": "2026-03-01", "EMPTY": "", "URL": "a=b"}


def test_a_plan_name_with_a_slash_and_a_space_stays_one_segment_of_the_path(
    fake: FakeDashboard, run: Run
) -> None:
    fake.on("POST", "/api/v1/plans/a/b c/instances", Reply({"instance_id": INSTANCE_ID}, 201))
    assert run("instance", "start", "a/b c").exit_code == 0


@pytest.mark.parametrize("pair", ["no-equals", "=value"])
def test_a_parameter_that_is_no_pair_is_a_mistake_of_the_command_line(
    fake: FakeDashboard, run: Run, pair: str
) -> None:
    result = run("instance", "start", "nightly", "-p", pair)
    assert result.exit_code == 2
    assert "NAME=VALUE" in result.output
    assert fake.asked == []


def test_a_parameter_given_twice_is_refused_before_anything_is_sent(fake: FakeDashboard, run: Run) -> None:
    result = run("instance", "start", "nightly", "-p", "A=1", "-p", "A=2")
    assert result.exit_code == 2
    assert fake.asked == []


def test_an_order_whose_answer_was_lost_is_sent_again_under_the_same_key(
    fake: FakeDashboard, run: Run
) -> None:
    fake.on("POST", "/api/v1/plans/nightly/instances", Reply({"instance_id": INSTANCE_ID}, 201))
    fake.hang_up = 1
    assert run("instance", "start", "nightly").exit_code == 0
    keys = [each.headers["Idempotency-Key"] for each in fake.asked]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_two_orders_have_two_keys(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", "/api/v1/plans/nightly/instances", Reply({"instance_id": INSTANCE_ID}, 201))
    run("instance", "start", "nightly")
    run("instance", "start", "nightly")
    assert len({each.headers["Idempotency-Key"] for each in fake.asked}) == 2


def test_end_tells_the_position_at_which_it_ended(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", f"/api/v1/instances/{INSTANCE_ID}/end", {"position": 9, "facts": []})
    assert run("instance", "end", INSTANCE_ID).output == f"ended {INSTANCE_ID} at position 9\n"


def test_event_send_takes_a_list_from_standard_input(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", "/api/v1/events", {"positions": [1, 2]})
    result = run("event", "send", "-", given='[{"jobName": "a"}, {"jobName": "b"}]')
    assert result.output == "sent 2 events\n"
    assert [each["jobName"] for each in fake.last("POST").document] == ["a", "b"]


def test_event_send_global_raises_it_by_name(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", "/api/v1/global-events/BOOKS CLOSED", {"instances": 1})
    assert run("event", "send", "--global", "BOOKS CLOSED").output == "raised BOOKS CLOSED in 1 instance\n"


def test_a_file_that_is_no_json_is_not_sent(fake: FakeDashboard, run: Run, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("{")
    result = run("event", "send", str(tmp_path / "event.json"))
    assert result.exit_code == 1
    assert fake.asked == []


def test_dead_letters_are_resubmitted_one_by_one(fake: FakeDashboard, run: Run) -> None:
    for number in (7, 8):
        fake.on("POST", f"/api/v1/dead-letters/{number}/resubmit", {"position": number})
    assert run("dead-letter", "resubmit", "7", "8").output == "resubmitted 7\nresubmitted 8\n"


# --- finding instances --------------------------------------------------------------------------------------


def test_a_dead_letter_that_does_not_read_is_listed_all_the_same(fake: FakeDashboard, run: Run) -> None:
    letter = {"id": 7, "position": 7, "instance_id": INSTANCE_ID, "event": None, "error": "it does not read"}
    fake.on("GET", "/api/v1/dead-letters", page(letter))
    told = run("dead-letter", "list").output
    assert "one that does not read" in told
    assert "None" not in told


def test_the_name_of_a_plan_means_its_newest_instance(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    assert INSTANCE_ID in run("instance", "show", "nightly").output
    listed = next(each for each in fake.asked if each.path == "/api/v1/instances")
    assert listed.query == {"plan": "nightly", "limit": "3"}


def test_the_beginning_of_an_id_is_enough(fake: FakeDashboard, run: Run) -> None:
    shown = instance(job("load"))
    fake.on("GET", "/api/v1/instances", lambda asked: Reply(page() if "plan" in asked.query else page(shown)))
    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}", shown)
    assert run("instance", "show", INSTANCE_ID[:6]).exit_code == 0


def test_a_beginning_that_two_ids_share_is_not_guessed(fake: FakeDashboard, run: Run) -> None:
    other = {**instance(), "instance_id": INSTANCE_ID[:-1] + "1"}
    listed = page(instance(), other)
    fake.on("GET", "/api/v1/instances", lambda asked: Reply(page() if "plan" in asked.query else listed))
    result = run("instance", "end", INSTANCE_ID[:6])
    assert result.exit_code == 2
    assert "2 instances begin with" in result.output


def test_no_such_instance_is_exit_code_5(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/instances", page())
    assert run("instance", "show", "nosuch").exit_code == 5


# --- lists --------------------------------------------------------------------------------------------------


def test_a_list_is_read_page_after_page_and_no_further_than_the_limit(fake: FakeDashboard, run: Run) -> None:
    def answer(asked: Asked) -> Reply:
        first = "cursor" not in asked.query
        return Reply(page(instance(position=1 if first else 2), following="more"))

    fake.on("GET", "/api/v1/instances", answer)
    listed = json.loads(run("instance", "list", "--limit", "2", "--json").output)
    assert [each["position"] for each in listed] == [1, 2]
    assert [each.query.get("limit") for each in fake.asked] == ["2", "1"]


def test_the_log_is_read_on_from_the_position_that_the_last_page_names(fake: FakeDashboard, run: Run) -> None:
    def fact(position: int) -> dict[str, object]:
        at = "2026-03-01T02:00:00.000Z"
        return {
            "position": position,
            "at": at,
            "type": "JobStarted",
            "data": {"job": "host-load"},
            "cause": {},
        }

    pages = {"0": page(fact(1), fact(2), following="2"), "2": page(fact(3))}
    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}/log", lambda asked: Reply(pages[asked.query["after"]]))
    output = run("instance", "log", INSTANCE_ID).output
    assert [line.split()[0] for line in output.splitlines()] == ["position", "1", "2", "3"]


def test_an_empty_list_says_what_to_do_next(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/instances", page())
    assert "jobledger instance start PLAN" in run("instance", "list").output
    assert json.loads(run("instance", "list", "--json").output) == []


def test_the_audit_shows_a_shared_jobs_change_once_with_all_its_contexts(
    fake: FakeDashboard, run: Run
) -> None:
    changed = [
        {"context": name, "job": "host-load", "from": "RUNNING", "to": "COMPLETE"} for name in ("a", "b")
    ]
    event = {"agent": "host", "job": "load", "successful": True}
    row = {
        "at": "2026-03-01T02:00:00.000Z",
        "event": event,
        "changed": changed,
        "initiated": ["host-report"],
        "before": 3,
        "after": 5,
    }
    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}/audit", page(row))
    output = run("instance", "audit", INSTANCE_ID).output
    assert "host-load finished" in output
    assert output.count("RUNNING -> COMPLETE") == 1
    assert "[a, b]" in output
    assert "host-report" in output


def test_agents_are_listed_with_whether_they_answer(fake: FakeDashboard, run: Run) -> None:
    row = {"name": "host", "url": None, "host": None, "version": None, "reachable": False, "last_seen": None}
    fake.on("GET", "/api/v1/agents", page(row))
    assert run("agent", "list").output.splitlines()[1].split() == ["host", "no", "0", "0"]


def test_what_an_agent_says_is_wrong_with_it_stands_beneath_the_list(fake: FakeDashboard, run: Run) -> None:
    fake.on(
        "GET", "/api/v1/agents", page({"name": "host", "reachable": True, "problems": ["no room", "b\x1bd"]})
    )
    assert run("agent", "list").output.splitlines()[2:] == ["host: no room", "host: b\\x1bd"]


def test_a_name_cannot_steer_the_terminal(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/instances", page({**instance(), "plan": "x\x1b[2Jy\nz"}))
    output = run("instance", "list").output
    assert "\x1b" not in output
    assert "x\\x1b[2Jy\\nz" in output


def test_show_passes_the_moment_on(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load", "COMPLETE"), position=2))
    assert "position 2" in run("instance", "show", INSTANCE_ID, "--at", "2").output
    assert fake.last("GET").query == {"at": "2"}


# --- output of jobs -----------------------------------------------------------------------------------------


def test_output_is_read_to_its_end_and_printed_byte_for_byte(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load", "COMPLETE")))
    whole = b"first\n\xff\x00second\n"
    path = f"/api/v1/instances/{INSTANCE_ID}/contexts/nightly/jobs/host-load/log/stdout"
    fake.on("GET", path, lambda asked: Reply(whole[int(asked.query["offset"]) :][:7]))
    assert run("job", "output", "nightly", "load").stdout_bytes == whole


def test_follow_reads_once_more_after_the_job_has_finished(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load", "RUNNING")))
    path = f"/api/v1/instances/{INSTANCE_ID}/contexts/nightly/jobs/host-load"
    statuses = iter(["RUNNING", "COMPLETE"])
    written = b"one\n"

    def status(_asked: Asked) -> Reply:
        nonlocal written
        now = next(statuses)
        if now == "COMPLETE":
            written = b"one\nlast\n"
        return Reply(job("load", now))

    fake.on("GET", path, status)
    fake.on("GET", path + "/log/stderr", lambda asked: Reply(written[int(asked.query["offset"]) :]))
    assert run("job", "output", "nightly", "load", "--stderr", "--follow").output == "one\nlast\n"


# --- who asks, and whom -------------------------------------------------------------------------------------


def test_the_token_travels_as_a_bearer_token(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/agents", page())
    run("agent", "list", "--token", "s3cret")
    assert fake.last("GET").headers["Authorization"] == "Bearer s3cret"


def test_a_name_and_password_in_the_address_travel_as_basic_credentials_in_utf_8(
    fake: FakeDashboard, run: Run
) -> None:
    fake.on("GET", "/api/v1/agents", page())
    run("agent", "list", "--url", fake.url.replace("http://", "http://j%C3%B6rg:p%40ss@"))
    assert (
        fake.last("GET").headers["Authorization"]
        == "Basic " + base64.b64encode("jörg:p@ss".encode()).decode()
    )


def test_the_settings_file_names_the_dashboard_and_the_token(
    fake: FakeDashboard, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JOBLEDGER_URL")
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "jobledger.toml").write_text(f'url = "{fake.url}"\ntoken = "stored"\n')
    fake.on("GET", "/api/v1/agents", page())
    assert run("agent", "list").exit_code == 0
    assert fake.last("GET").headers["Authorization"] == "Bearer stored"


def test_a_stored_token_is_not_sent_to_another_dashboard(
    fake: FakeDashboard, run: Run, tmp_path: Path
) -> None:
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "jobledger.toml").write_text('url = "http://elsewhere:9090"\ntoken = "stored"\n')
    fake.on("GET", "/api/v1/agents", page())
    assert run("agent", "list").exit_code == 0
    assert "Authorization" not in fake.last("GET").headers


def test_a_settings_file_with_a_misspelt_name_is_told_and_not_ignored(
    fake: FakeDashboard, run: Run, tmp_path: Path
) -> None:
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "jobledger.toml").write_text('ulr = "http://elsewhere:9090"\n')
    result = run("agent", "list")
    assert result.exit_code == 1
    assert "ulr" in result.output
    assert fake.asked == []


def test_all_requests_of_a_command_share_one_connection(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    assert run("instance", "show", "nightly").exit_code == 0
    assert len(fake.asked) == 2
    assert fake.connections == 1


# --- what goes wrong ----------------------------------------------------------------------------------------


def test_an_unreachable_dashboard_is_one_sentence_and_the_next_step(run: Run) -> None:
    result = run("instance", "list", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert result.output.splitlines() == [
        "jobledger: no dashboard answers at http://127.0.0.1:1 (connection refused)",
        "Next: start one with `jobledger up --data-dir DIR`, or name another with --url or JOBLEDGER_URL",
    ]


def test_the_password_in_an_address_is_not_printed(run: Run) -> None:
    assert "s3cret" not in run("instance", "list", "--url", "http://me:s3cret@127.0.0.1:1").output


def test_what_is_no_address_is_a_mistake_of_the_command_line(run: Run) -> None:
    assert run("instance", "list", "--url", "localhost:9090").exit_code == 2


def test_something_else_that_answers_is_told_apart_from_a_dashboard(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/instances", Reply(b"<html>welcome</html>"))
    result = run("instance", "list")
    assert result.exit_code == 3
    assert "no jobledger dashboard" in result.output


def test_an_answer_of_another_shape_is_told_and_is_no_traceback(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/instances", {"items": [{"nothing": "known"}], "next": None})
    result = run("instance", "list")
    assert result.exit_code == 3
    assert "instance_id" in result.output


@pytest.mark.parametrize(
    ("status", "exit_code"), [(401, 4), (403, 4), (404, 5), (409, 1), (422, 1), (500, 3), (502, 3), (503, 3)]
)
def test_each_refusal_has_its_exit_code(fake: FakeDashboard, run: Run, status: int, exit_code: int) -> None:
    fake.on("GET", "/api/v1/instances", Reply({"detail": "because", "status": status}, status))
    result = run("instance", "list")
    assert result.exit_code == exit_code
    assert "because" in result.output


def test_every_error_of_a_refusal_is_printed_with_its_place(fake: FakeDashboard, run: Run) -> None:
    errors = [
        {"detail": "is no job", "place": "context a"},
        {"detail": "too long", "pointer": "/parameters/A"},
    ]
    problem = {"detail": "2 errors", "status": 422, "errors": errors}
    fake.on("POST", "/api/v1/plans/nightly/instances", Reply(problem, 422))
    output = run("instance", "start", "nightly").output
    assert "  - context a: is no job" in output
    assert "  - /parameters/A: too long" in output


def test_an_error_without_a_body_is_still_a_sentence(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/instances", Reply(b"", 500))
    assert f"the dashboard at {fake.url} answered 500" in run("instance", "list").output


def test_a_dry_run_is_described_on_the_command_line(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", "/api/v1/plans/nightly/instances", Reply({"instance_id": INSTANCE_ID}, 201))
    assert run("instance", "start", "nightly", "--dry-run").exit_code == 0
    assert fake.last("POST").document["dry_run"] is True
    options = ["--dry-run-seconds", "0.5", "2", "--dry-run-errors", "2.5", "--dry-run-fails", "host-load"]
    assert run("instance", "start", "nightly", *options).exit_code == 0
    assert fake.last("POST").document["dry_run"] == {
        "min_ms": 500,
        "max_ms": 2000,
        "error_percentage": 2.5,
        "jobs_in_error": ["host-load"],
    }
