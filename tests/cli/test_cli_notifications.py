"""What ``jobledger notification`` asks of the dashboard, and what it makes of its answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result
from fake_dashboard import INSTANCE_ID, Asked, FakeDashboard, Reply, page
from jobledger.cli.main import cli

Run: TypeAlias = Callable[..., Result]

ID = "6f0e4a0e-0000-4000-8000-000000000001"
ITEM = {
    "id": ID,
    "at": "2026-03-02T10:02:00.000Z",
    "plan": "end-of-day",
    "message": "load failed with return code 3",
    "channel": "email",
    "recipients": ["ops@example.org", "ann@example.org"],
    "state": "failed",
    "attempts": 2,
    "error": "550 no such user",
}


def test_notifications_are_listed_with_what_became_of_them(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/notifications", page(ITEM))
    result = run(
        "notification", "list", "--plan", "end-of-day", "--state", "failed", "--instance", INSTANCE_ID
    )
    assert result.exit_code == 0
    for told in (
        ID,
        "end-of-day",
        "load failed with return code 3",
        "ops@example.org, ann@example.org",
        "550",
    ):
        assert told in result.output
    query = fake.last("GET").query
    assert (query["plan"], query["state"], query["instance"]) == ("end-of-day", "failed", INSTANCE_ID)


def test_a_list_in_json_is_what_the_dashboard_answered(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/notifications", page(ITEM))
    assert json.loads(run("notification", "list", "--json").output) == [ITEM]


def test_an_empty_list_says_so(fake: FakeDashboard, run: Run) -> None:
    fake.on("GET", "/api/v1/notifications", page())
    assert "Nobody was told" in run("notification", "list").output


def test_several_are_sent_again_each_under_a_key_of_its_own(fake: FakeDashboard, run: Run) -> None:
    other = "6f0e4a0e-0000-4000-8000-000000000002"
    for each in (ID, other):
        fake.on("POST", f"/api/v1/notifications/{each}/resend", {"id": each})
    result = run("notification", "resend", ID, other)
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == [ID, other]
    assert len({each.headers["Idempotency-Key"] for each in fake.asked}) == 2


@pytest.mark.parametrize(
    ("options", "body"),
    [(["--to", "ann@example.org"], {"to": "ann@example.org"}), (["--webhook", "x"], {"webhook": "x"})],
)
def test_a_test_says_what_was_done(
    fake: FakeDashboard, run: Run, options: list[str], body: dict[str, str]
) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return Reply({"done": "the mail server took a mail to ann@example.org"})

    fake.on("POST", "/api/v1/notifications/test", answer)
    result = run("notification", "test", *options)
    assert (result.exit_code, result.output) == (0, "the mail server took a mail to ann@example.org\n")
    assert asked[0].document == body


def test_a_mail_that_the_server_does_not_take_is_told_in_its_words(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", "/api/v1/notifications/test", Reply({"detail": "535 wrong password"}, 502))
    result = run("notification", "test", "--to", "ann@example.org")
    assert result.exit_code == 3
    assert "535 wrong password" in result.output


@pytest.mark.parametrize("options", [[], ["--to", "a@b", "--webhook", "x"]])
def test_a_test_goes_to_one_place(fake: FakeDashboard, run: Run, options: list[str]) -> None:
    assert run("notification", "test", *options).exit_code == 2
    assert fake.asked == []


def test_a_dashboard_does_not_start_with_a_file_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "notifications.toml"
    file.write_text("[smtp]\nhost = 'h'\nfrom = 'nobody'\n")
    result = CliRunner().invoke(
        cli, ["dashboard", "--data-dir", str(tmp_path / "data"), "--notifications", str(file)]
    )
    assert result.exit_code == 1
    assert "smtp.from" in result.output
    assert not (tmp_path / "data").exists()
