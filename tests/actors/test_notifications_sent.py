"""What happens in an instance reaches people once, whatever the mail server does and whoever is killed."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from dashboard_rig import OPERATOR, plan_of
from jobledger.actors.dashboard.errors import NotPermitted, UnknownName
from jobledger.domain.commands import EndInstance, ResetJob
from jobledger.domain.facts import NotificationsSet
from jobledger.domain.notification_settings import JobNotification, MonitorType, NotificationSettings
from jobledger.domain.plan import CommandJob, Context, FileJob, JobPlan, ListedJob, Trigger
from mail_server import Cut, Mail, MailServer
from notification_bench import FAILED, SENDER, SENT, WAITING, NotifiedBench, notified_bench, smtp, tells

START, COMPLETE, ERROR, OVERDUE, RUNNING_TIME = MonitorType
MINUTE = 60_000


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def rig(tmp_path: Path, server: MailServer) -> Iterator[NotifiedBench]:
    with notified_bench(tmp_path, smtp=smtp(server)) as opened:
        opened.agent()
        yield opened


def begin(rig: NotifiedBench, told: NotificationSettings | None = None, plan: str = "p") -> UUID:
    """A fresh instance of a plan with the jobs a and b."""
    settings = tells(ERROR) if told is None else told
    rig.dashboard.push_plan(plan_of(plan, ["a", "b"], notifications=settings, concurrent=True), {}, OPERATOR)
    return rig.dashboard.start_instance(plan, OPERATOR)


def change(rig: NotifiedBench, told: NotificationSettings, plan: str = "p") -> None:
    rests_on = rig.dashboard.plan(plan).position
    rig.dashboard.set_notifications(plan, NotificationsSet(notifications=told), OPERATOR, rests_on=rests_on)


# --- what arrives -------------------------------------------------------------------------------------------


def test_a_failure_is_told_by_mail(rig: NotifiedBench, server: MailServer) -> None:
    instance = begin(
        rig,
        tells(
            ERROR,
            to=("ops@example.org", "Ann <ann@example.org>"),
            cc=("desk@example.org",),
            bcc=("audit@example.org",),
        ),
    )
    rig.run(instance, "a", successful=False)
    (mail,) = server.wait_for(1)
    assert mail.subject == "p: a failed with return code 3"
    assert mail.sender == "jobs@example.org"
    assert set(mail.recipients) == {
        "ops@example.org",
        "ann@example.org",
        "desk@example.org",
        "audit@example.org",
    }
    message = mail.message
    assert message["From"] == SENDER
    assert message["To"] == "ops@example.org, Ann <ann@example.org>"
    assert message["Cc"] == "desk@example.org"
    assert b"audit" not in mail.content
    assert message["Auto-Submitted"] == "auto-generated"
    assert f"http://dash.test/api/v1/instances/{instance}/contexts/p/jobs/host-a/log/stdout" in mail.text()
    (row,) = rig.until_settled(1)
    assert (row.state, row.attempts, row.error) == (SENT, 1, None)
    assert str(row.id) in mail.id
    assert message["X-Jobledger-Notification"] == str(row.id)
    assert set(row.delivered) == set(mail.recipients)


def test_each_execution_is_told_once_and_a_second_failure_again(
    rig: NotifiedBench, server: MailServer
) -> None:
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    rig.end_run(instance, "a", successful=False)
    rig.dashboard.command(instance, ResetJob(job="host-a", context="p"), OPERATOR)
    rig.run(instance, "a", successful=False, number=2)
    server.wait_for(2)
    rig.until_settled(2)
    rig.until_followed()
    assert len({mail.id for mail in server.taken}) == len(server.taken) == 2


def test_what_a_plan_does_not_ask_for_is_not_told(rig: NotifiedBench, server: MailServer) -> None:
    silent = begin(rig, NotificationSettings(), plan="silent")
    rig.run(silent, "a", successful=False)
    instance = begin(rig)
    rig.run(instance, "a")
    rig.run(instance, "b", successful=False, number=2)
    assert [mail.subject for mail in server.wait_for(1)] == ["p: b failed with return code 3"]
    rig.until_followed()
    assert len(rig.rows()) == 1


def test_settings_hold_from_the_moment_they_are_made_and_for_nothing_before(
    rig: NotifiedBench, server: MailServer
) -> None:
    instance = begin(rig, NotificationSettings())
    rig.run(instance, "a", successful=False)
    rig.wait(instance, lambda state: state.counts() == {"ERROR": 1, "WAITING": 1})
    change(rig, tells(ERROR))
    rig.run(instance, "b", successful=False, number=2)
    server.wait_for(1)
    change(rig, NotificationSettings())
    rig.dashboard.command(instance, ResetJob(job="host-b", context="p"), OPERATOR)
    rig.run(instance, "b", successful=False, number=3)
    rig.wait(instance, lambda state: state.counts() == {"ERROR": 2})
    rig.until_followed()
    assert [mail.subject for mail in server.taken] == ["p: b failed with return code 3"]


def test_what_is_followed_late_is_told_by_the_settings_of_its_time(
    rig: NotifiedBench, server: MailServer
) -> None:
    instance = begin(rig, NotificationSettings())
    rig.until_followed()
    position = rig.dashboard.notifications.position()
    assert position is not None
    rig.dashboard.close()
    with notified_bench(rig.folder, enabled=False) as silent:
        silent.agents = rig.agents
        silent.run(instance, "a", successful=False)
        silent.wait(instance, lambda state: state.counts() == {"ERROR": 1, "WAITING": 1})
        change(silent, tells(ERROR))
        silent.run(instance, "b", successful=False, number=2)
        silent.wait(instance, lambda state: state.counts() == {"ERROR": 2})
        change(silent, NotificationSettings())
        # As if this process had died right after those facts, before anybody followed them.
        silent.dashboard.notifications.begin(position)
    rig.dashboard = rig._open()
    rig.until_followed()
    assert [row.matter.job_name for row in rig.rows()] == ["b"]


def test_what_is_said_for_a_job_apart_goes_to_those_it_names(rig: NotifiedBench, server: MailServer) -> None:
    apart = JobNotification(job="a", monitor_type=ERROR, context="p", to=("owner@example.org",))
    told = NotificationSettings.of(tells(ERROR).plan, [apart])
    instance = begin(rig, told)
    rig.run(instance, "a", successful=False)
    rig.run(instance, "b", successful=False, number=2)
    server.wait_for(2)
    assert {mail.recipients for mail in server.taken} == {("owner@example.org",), ("ops@example.org",)}


def test_an_html_body_comes_with_a_text_beside_it(rig: NotifiedBench, server: MailServer) -> None:
    instance = begin(rig, tells(ERROR, html=True, body="<b>{{ job_name }}</b> <i>{{ details }}</i>"))
    rig.start_run(instance, "a")
    rig.report(instance, "a", 1, return_code=1, details="<script>")
    (mail,) = server.wait_for(1)
    assert mail.text("html").strip() == "<b>a</b> <i>&lt;script&gt;</i>"
    assert "p, version 1" in mail.text("plain")


# --- templates and placeholders -----------------------------------------------------------------------------


def test_placeholders_and_template_files_come_from_the_configuration(
    tmp_path: Path, server: MailServer
) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "error.txt").write_text("{{ EMAIL_JOB_NAME }} in ${env}\n")
    (tmp_path / "secret.txt").write_text("no template")
    (templates / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "all.properties").write_text("env=prod\noncall=nobody@example.org\n")
    (tmp_path / "p.toml").write_text('oncall = ["ann@example.org", "bob@example.org"]\n')
    oncall = {"monitor_type": ERROR, "to": ("${oncall}",)}
    jobs = [
        JobNotification(job="a", body_file="/old/home/error.txt", subject="in ${env}", **oncall),
        JobNotification(job="b", body_file="link.txt", subject_file="../secret.txt", **oncall),
    ]
    placeholders = {"default": tmp_path / "all.properties", "p": tmp_path / "p.toml"}
    with notified_bench(
        tmp_path / "data", smtp=smtp(server), templates=templates, placeholders=placeholders
    ) as rig:
        rig.agent()
        instance = begin(rig, NotificationSettings.of(None, jobs))
        rig.run(instance, "a", successful=False)
        (first,) = server.wait_for(1)
        assert first.recipients == ("ann@example.org", "bob@example.org")
        assert first.subject == "in prod"
        assert first.text() == "a in prod\n"
        (tmp_path / "p.toml").write_text('oncall = "carol@example.org"\n')
        rig.run(instance, "b", successful=False, number=2)
        second = server.wait_for(2)[1]
        assert second.recipients == ("carol@example.org",)
        assert second.subject == "p: b failed with return code 3"
        assert "no template" not in second.text()


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("${nobody}", "no value for ${nobody}"),
        ("ops at example", "no address"),
        ("a@b c@d", "no address"),
        ("x@example.org\nBcc: y@example.org", "no address"),
    ],
)
def test_one_that_can_go_to_nobody_failed_says_why_and_is_sent_again_once_that_is_put_right(
    rig: NotifiedBench, server: MailServer, to: str, told: str
) -> None:
    instance = begin(rig, tells(ERROR, to=(to,)))
    rig.run(instance, "a", successful=False)
    (row,) = rig.until_settled(1)
    assert row.state is FAILED
    assert told in str(row.error)
    change(rig, tells(ERROR))
    rig.until_followed()
    rig.dashboard.send_notification_again(row, OPERATOR)
    (mail,) = server.wait_for(1)
    (again,) = rig.until_settled(1)
    assert (again.state, again.round, again.sent_again_by) == (SENT, 1, "olga")
    assert mail.id == f"<{row.id}.1@example.org>"


def test_a_template_that_does_not_render_failed_and_holds_up_nothing(
    rig: NotifiedBench, server: MailServer
) -> None:
    apart = JobNotification(job="a", monitor_type=ERROR, to=("x@example.org",), body="{{ details + 1 }}")
    instance = begin(rig, NotificationSettings.of(tells(ERROR).plan, [apart]))
    rig.run(instance, "a", successful=False)
    rig.run(instance, "b", successful=False, number=2)
    server.wait_for(1)
    bad, good = rig.until_settled(2)
    assert (bad.state, good.state) == (FAILED, SENT)
    assert "template" in str(bad.error)


def test_one_whose_recipients_were_taken_from_the_plan_meanwhile_is_not_sent(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.gate.clear()
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    server.wait_for_step("DATA")
    rig.run(instance, "b", successful=False, number=2)
    rig.until(lambda rows: len(rows) == 2)
    change(rig, NotificationSettings())
    rig.until_followed()
    server.gate.set()
    first, second = rig.until_settled(2)
    assert (first.state, second.state) == (SENT, FAILED)
    assert "names nobody any more" in str(second.error)


# --- the mail server ----------------------------------------------------------------------------------------


def test_while_the_server_is_away_one_is_tried_at_a_time_and_all_are_sent_when_it_is_back(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.stop()
    instance = begin(rig, tells())
    for number in range(1, 21):
        rig.run(instance, "a", number=number)
    rows = rig.until(lambda rows: len(rows) == 40 and any(row.error for row in rows))
    rig.until_followed()
    assert sum(row.attempts for row in rows) <= 2
    assert all(row.state is WAITING for row in rows)
    snapshot = rig.dashboard.actor_snapshot("courier-email")
    assert snapshot["failures_in_a_row"] == 1
    assert "mail server 127.0.0.1" in str(snapshot["last_error"])
    server.start()
    rig.pass_time(rig.now + 10 * MINUTE)
    server.wait_for(40)
    assert {row.state for row in rig.until_settled(40)} == {SENT}
    assert Counter(mail.id for mail in server.taken).most_common(1)[0][1] == 1
    assert server.conversations <= 3


def test_a_pause_grows_with_each_failure(rig: NotifiedBench, server: MailServer) -> None:
    server.stop()
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    waits = []
    for attempt in range(1, 7):
        (row,) = rig.until_tried(attempt)
        assert row.next_at is not None
        waits.append(row.next_at - rig.now)
        rig.pass_time(rig.now + 5 * MINUTE)
    assert all(500 * 2**number <= wait <= 1000 * 2**number for number, wait in enumerate(waits))


def test_a_pause_ends_when_the_clock_is_set_back(rig: NotifiedBench, server: MailServer) -> None:
    server.stop()
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    rig.until_tried(1)
    server.start()
    rig.pass_time(rig.now - 60 * MINUTE)
    server.wait_for(1)
    rig.until_settled(1)


def test_one_that_waits_for_its_turn_goes_out_when_the_clock_is_set_back(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.refuses["grey@example.org"] = "451 4.7.1 come back later"
    instance = begin(rig, tells(ERROR, to=("grey@example.org",)))
    rig.run(instance, "a", successful=False)
    rig.until_tried(1)
    server.refuses.clear()
    rig.pass_time(rig.now - 60 * MINUTE)
    server.wait_for(1)


def test_a_wake_during_a_pause_does_not_lose_the_end_of_it(rig: NotifiedBench, server: MailServer) -> None:
    server.stop()
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    (row,) = rig.until_tried(1)
    assert row.next_at is not None
    rig.run(instance, "b", successful=False, number=2)
    rig.until(lambda rows: len(rows) == 2)
    rig.dashboard.actor_snapshot("courier-email")
    server.start()
    rig.pass_time(row.next_at + 1_000)
    rig.until_settled(2)


def test_a_server_that_hangs_delays_no_job_and_is_given_up(tmp_path: Path, server: MailServer) -> None:
    server.gate.clear()
    with notified_bench(tmp_path, smtp=smtp(server, timeout_seconds=0.5)) as rig:
        rig.agent()
        instance = begin(rig)
        rig.run(instance, "a", successful=False)
        server.wait_for_step("DATA")
        rig.run(instance, "b", number=2)
        rig.wait(instance, lambda state: state.counts() == {"ERROR": 1, "COMPLETE": 1})
        rig.until_tried(1)
        server.gate.set()
        rig.pass_time(rig.now + MINUTE)
        (row,) = rig.until_settled(1)
        assert (row.state, row.attempts) == (SENT, 2)


def test_a_recipient_that_is_refused_for_good_is_told_and_the_others_have_it(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.refuses["gone@example.org"] = "550 5.1.1 no such user"
    instance = begin(rig, tells(ERROR, to=("ops@example.org", "gone@example.org")))
    rig.run(instance, "a", successful=False)
    (mail,) = server.wait_for(1)
    assert mail.recipients == ("ops@example.org",)
    (row,) = rig.until_settled(1)
    assert (row.state, row.delivered) == (FAILED, ("ops@example.org",))
    assert row.error == "gone@example.org: 550 5.1.1 no such user"
    server.refuses.clear()
    rig.dashboard.send_notification_again(row, OPERATOR)
    second = server.wait_for(2)[1]
    assert second.recipients == ("gone@example.org",)
    assert rig.until_settled(1)[0].state is SENT


def test_when_all_recipients_are_refused_the_next_mail_is_sent_all_the_same(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.refuses["ops@example.org"] = "550 no"
    apart = JobNotification(job="b", monitor_type=ERROR, to=("owner@example.org",))
    instance = begin(rig, NotificationSettings.of(tells(ERROR).plan, [apart]))
    rig.run(instance, "a", successful=False)
    rig.run(instance, "b", successful=False, number=2)
    server.wait_for(1)
    assert [row.state for row in rig.until_settled(2)] == [FAILED, SENT]


def test_a_recipient_that_is_refused_for_now_is_tried_again_alone(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.refuses["grey@example.org"] = "451 4.7.1 come back later"
    instance = begin(rig, tells(ERROR, to=("ops@example.org", "grey@example.org")))
    rig.run(instance, "a", successful=False)
    (row,) = rig.until_tried(1)
    assert (row.state, row.delivered) == (WAITING, ("ops@example.org",))
    server.refuses.clear()
    rig.pass_time(rig.now + MINUTE)
    first, second = server.wait_for(2)
    assert (first.recipients, second.recipients) == (("ops@example.org",), ("grey@example.org",))
    assert first.id == second.id
    assert rig.until_settled(1)[0].state is SENT


def test_a_mail_that_is_refused_whole_failed_and_the_next_is_sent(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.on_data = lambda mail: "554 5.7.1 spam" if mail.subject.startswith("p: a ") else None
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    rig.run(instance, "b", successful=False, number=2)
    server.wait_for(1)
    bad, good = rig.until_settled(2)
    assert (bad.state, bad.error, good.state) == (FAILED, "554 5.7.1 spam", SENT)


def test_one_mail_that_always_breaks_the_server_keeps_no_other_from_being_sent(
    rig: NotifiedBench, server: MailServer
) -> None:
    def breaks(mail: Mail) -> str | None:
        if mail.subject.startswith("p: a "):
            raise ConnectionResetError
        return None

    server.on_data = breaks
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    for number in range(2, 6):
        rig.run(instance, "b", successful=False, number=number)
    rig.until(lambda rows: len(rows) == 5)
    for _ in range(12):
        rig.pass_time(rig.now + 5 * MINUTE)
        if len(server.taken) == 4:
            break
        rig.until(lambda rows: any(row.attempts for row in rows))
    server.wait_for(4)
    states = Counter(row.state for row in rig.until(lambda rows: sum(row.state is SENT for row in rows) == 4))
    assert states == {SENT: 4, WAITING: 1}


@pytest.mark.parametrize("step", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_a_server_that_breaks_off_before_it_has_a_mail_gets_it_again(
    rig: NotifiedBench, server: MailServer, step: str
) -> None:
    def once(at: str) -> None:
        if at == step and server.steps.count(step) == 1:
            raise Cut

    server.on_step = once
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    rig.until_tried(1)
    rig.pass_time(rig.now + MINUTE)
    server.wait_for(1)
    assert rig.until_settled(1)[0].state is SENT
    assert len(server.taken) == 1


def test_a_server_that_breaks_off_before_saying_that_it_has_a_mail_gets_it_twice_under_one_id(
    rig: NotifiedBench, server: MailServer
) -> None:
    def once(at: str) -> None:
        if at == "TAKEN" and server.steps.count(at) == 1:
            raise Cut

    server.on_step = once
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    rig.until_tried(1)
    rig.pass_time(rig.now + MINUTE)
    first, second = server.wait_for(2)
    assert first.id == second.id
    assert rig.until_settled(1)[0].state is SENT


def test_many_mails_go_through_one_conversation(rig: NotifiedBench, server: MailServer) -> None:
    server.gate.clear()
    instance = begin(rig, tells())
    for number in range(1, 11):
        rig.run(instance, "a", number=number)
    rig.until(lambda rows: len(rows) == 20)
    server.gate.set()
    server.wait_for(20)
    rig.until_settled(20)
    assert server.conversations <= 2


def test_somebody_who_asks_for_it_need_not_wait_for_the_pause_to_end(
    rig: NotifiedBench, server: MailServer
) -> None:
    server.stop()
    begin(rig)
    instance = begin(rig, tells(ERROR, to=("nobody",)), plan="bad")
    rig.run(instance, "a", successful=False)
    (failed,) = rig.until_settled(1)
    other = begin(rig, plan="good")
    rig.run(other, "a", successful=False)
    rig.until(lambda rows: rows[-1].attempts == 1)
    rig.dashboard.actor_snapshot("courier-email")
    server.start()
    change(rig, tells(ERROR), plan="bad")
    rig.until_followed()
    rig.dashboard.send_notification_again(failed, OPERATOR)
    server.wait_for(1)


def test_one_that_waits_already_cannot_be_sent_again(rig: NotifiedBench, server: MailServer) -> None:
    server.stop()
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    (row,) = rig.until_tried(1)
    with pytest.raises(NotPermitted, match="waits"):
        rig.dashboard.send_notification_again(row, OPERATOR)


# --- timed --------------------------------------------------------------------------------------------------

TIMED = JobPlan(
    root=Context(name="p", jobs=(ListedJob("host", "slow"), ListedJob("host", "file"))),
    jobs=(
        CommandJob(agent="host", name="slow", command_line="true", max_execution_minutes=10),
        FileJob(
            agent="host",
            name="file",
            trigger=Trigger(cron="0 * * * * ?"),
            filenames=("f",),
            sla_cron="0 0/30 * * * ?",
        ),
    ),
    notifications=tells(OVERDUE, RUNNING_TIME),
)


def begin_timed(rig: NotifiedBench, plan: JobPlan = TIMED) -> UUID:
    rig.dashboard.push_plan(plan, {}, OPERATOR)
    return rig.dashboard.start_instance("p", OPERATOR)


def test_a_slow_command_is_told_of_while_it_runs(rig: NotifiedBench, server: MailServer) -> None:
    instance = begin_timed(rig)
    rig.start_run(instance, "slow")
    rig.until_followed()
    rig.pass_time(rig.now + 9 * MINUTE)
    rig.until_followed()
    assert rig.rows() == []
    rig.pass_time(rig.now + MINUTE)
    (mail,) = server.wait_for(1)
    assert mail.subject == "p: slow has been running for 10 min, its maximum is 10 min"
    rig.end_run(instance, "slow")
    rig.until_followed()
    assert len(rig.rows()) == 1


def test_a_file_that_does_not_come_is_told_of_once(rig: NotifiedBench, server: MailServer) -> None:
    begin_timed(rig)
    rig.until_followed()
    rig.pass_time(rig.now + 31 * MINUTE)
    (mail,) = server.wait_for(1)
    assert "the file of file has not come" in mail.subject
    rig.pass_time(rig.now + 100 * MINUTE)
    rig.restart()
    rig.pass_time(rig.now + MINUTE)
    rig.until_followed()
    assert len(rig.rows()) == 1


def test_what_is_to_become_due_is_known_again_after_a_restart(rig: NotifiedBench, server: MailServer) -> None:
    instance = begin_timed(rig)
    rig.start_run(instance, "slow")
    rig.until_followed()
    rig.restart()
    rig.until_followed()
    rig.pass_time(rig.now + 31 * MINUTE)
    server.wait_for(2)
    assert {row.matter.monitor_type for row in rig.until_settled(2)} == {OVERDUE, RUNNING_TIME}


def test_what_became_due_while_nobody_was_there_is_told_after_agents_had_time_to_report(
    rig: NotifiedBench, server: MailServer
) -> None:
    instance = begin_timed(rig)
    rig.start_run(instance, "slow")
    rig.until_followed()
    came_at = rig.now + 5 * MINUTE
    rig.dashboard.close()
    rig.now += 60 * MINUTE
    rig.dashboard = rig._open()
    rig.until_followed()
    rig.pass_time(rig.now + 10_000)
    rig.until_followed()
    assert rig.rows() == []
    rig.report(instance, "file", successful=True, fired_at=came_at)
    rig.wait(instance, lambda state: state.counts().get("COMPLETE") == 1)
    rig.pass_time(rig.now + 10_000)
    server.wait_for(1)
    rig.until_followed()
    assert [row.matter.monitor_type for row in rig.rows()] == [RUNNING_TIME]


def test_settings_made_while_an_instance_runs_hold_for_what_becomes_due_in_it(
    rig: NotifiedBench, server: MailServer
) -> None:
    silent = JobPlan(root=TIMED.root, jobs=TIMED.jobs)
    begin_timed(rig, silent)
    rig.until_followed()
    change(rig, tells(OVERDUE))
    rig.until_followed()
    rig.pass_time(rig.now + 31 * MINUTE)
    server.wait_for(1)
    rig.until_settled(1)


def test_nothing_becomes_due_in_an_instance_that_has_ended(rig: NotifiedBench) -> None:
    instance = begin_timed(rig)
    rig.dashboard.command(instance, EndInstance(), OPERATOR)
    rig.until_followed()
    rig.pass_time(rig.now + 100 * MINUTE)
    rig.until_followed()
    assert rig.rows() == []


# --- restarts and switches ----------------------------------------------------------------------------------


def test_what_waits_is_sent_after_a_restart(rig: NotifiedBench, server: MailServer) -> None:
    server.stop()
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    rig.until_tried(1)
    rig.dashboard.close()
    server.start()
    rig.now += MINUTE
    rig.dashboard = rig._open()
    server.wait_for(1)
    rig.until_settled(1)


def test_the_log_is_followed_from_where_the_last_process_stopped(
    rig: NotifiedBench, server: MailServer
) -> None:
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    server.wait_for(1)
    rig.until_settled(1)
    for _ in range(3):
        rig.restart()
    rig.agent()
    rig.run(instance, "b", successful=False, number=2)
    server.wait_for(2)
    rig.until_settled(2)
    assert len(server.taken) == 2


def test_what_happened_before_notifications_were_enabled_is_not_told(
    tmp_path: Path, server: MailServer
) -> None:
    with notified_bench(tmp_path, smtp=smtp(server), enabled=False) as rig:
        rig.agent()
        instance = begin(rig)
        rig.run(instance, "a", successful=False)
        rig.wait(instance, lambda state: "ERROR" in state.counts())
        assert "notifications" not in rig.dashboard.actor_names()
        with pytest.raises(UnknownName):
            rig.dashboard.actor_snapshot("notifications")
    with notified_bench(tmp_path, smtp=smtp(server)) as rig:
        rig.agent()
        rig.run(instance, "b", successful=False, number=2)
        server.wait_for(1)
        rig.until_followed()
        assert [mail.subject for mail in server.taken] == ["p: b failed with return code 3"]


def test_what_happens_while_they_are_disabled_is_not_told_later(tmp_path: Path, server: MailServer) -> None:
    for enabled in (True, False, True):
        with notified_bench(tmp_path, smtp=smtp(server), enabled=enabled) as rig:
            rig.agent()
            instance = begin(rig, plan=f"p{rig.dashboard.ledger.last_sequence()}")
            rig.run(instance, "a", successful=False)
            rig.wait(instance, lambda state: "ERROR" in state.counts())
            if enabled:
                rig.until_followed()
                rig.until(lambda rows: rows and all(row.state is SENT for row in rows))
    assert len(server.taken) == 2


def test_without_a_mail_server_a_mail_failed_and_says_so(tmp_path: Path) -> None:
    with notified_bench(tmp_path) as rig:
        rig.agent()
        instance = begin(rig, tells(ERROR, webhooks=("nobody",)))
        rig.run(instance, "a", successful=False)
        rows = rig.until_settled(2)
        assert {row.error for row in rows} == {
            "the dashboard's configuration names no mail server",
            "the dashboard's configuration has no webhook nobody",
        }


def test_actors_say_what_they_do(rig: NotifiedBench, server: MailServer) -> None:
    instance = begin(rig)
    rig.run(instance, "a", successful=False)
    server.wait_for(1)
    rig.until_settled(1)
    rig.until_followed()
    assert {"notifications", "courier-email"} <= set(rig.dashboard.actor_names())
    assert rig.dashboard.actor_snapshot("courier-email")["sent"] == 1
    assert rig.dashboard.actor_snapshot("notifications")["last_error"] is None
    with pytest.raises(UnknownName):
        rig.dashboard.actor_snapshot("courier-nobody")
