"""The file that says how people are told: all that is wrong with it is told before a server starts."""

from pathlib import Path

import pytest
from jobledger.actors.notifications.config import NotificationsConfig
from jobledger.cli.failures import Failure
from jobledger.cli.notification_config import read_notifications
from jobledger.domain.notification_settings import MonitorType

FULL = """
enabled = true
public_url = "https://jobs.example.org"
overdue_tolerance_minutes = 5
templates = "templates"

[smtp]
host = "mail.example.org"
port = 2525
security = "starttls"
from = "Job Ledger <jobs@example.org>"
user = "jobs"
password_env = "MAIL_PASSWORD"
timeout_seconds = 7.5
ca_file = "ca.pem"

[webhooks.incidents]
url = "https://incidents.example.org/hook"
secret_file = "incidents.secret"
monitor_types = ["ERROR", "OVERDUE"]
plans = ["end-of-day"]

[webhooks.audit]
url = "http://127.0.0.1:8000/"

[placeholders]
default = "all.properties"
end-of-day = "eod.toml"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "templates").mkdir(exist_ok=True)
    for name in ("ca.pem", "all.properties", "eod.toml"):
        (folder / name).write_text("")
    (folder / "incidents.secret").write_text("sesame\n")
    file = folder / "notifications.toml"
    file.write_text(text)
    return file


def read(folder: Path, text: str) -> NotificationsConfig:
    return read_notifications(write(folder, text), {"MAIL_PASSWORD": "open"})


def wrong(folder: Path, text: str) -> list[str]:
    with pytest.raises(Failure) as refused:
        read(folder, text)
    return list(refused.value.details)


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, FULL)
    assert config.smtp is not None
    assert (config.smtp.host, config.smtp.port_used, config.smtp.user) == ("mail.example.org", 2525, "jobs")
    assert (config.smtp.password, config.smtp.ca_file) == ("open", tmp_path / "ca.pem")
    incidents = config.webhooks["incidents"]
    assert (incidents.secret, incidents.plans) == ("sesame", ("end-of-day",))
    assert config.templates == tmp_path / "templates"
    assert config.placeholders == {
        "default": tmp_path / "all.properties",
        "end-of-day": tmp_path / "eod.toml",
    }
    (subscription,) = config.subscriptions()
    assert subscription.monitor_types == {MonitorType.ERROR, MonitorType.OVERDUE}
    assert config.deadlines("UTC").tolerance_ms == 300_000


def test_a_file_that_says_nothing_is_good_enough(tmp_path: Path) -> None:
    config = read(tmp_path, "")
    assert (config.enabled, config.smtp, config.webhooks) == (True, None, {})


@pytest.mark.parametrize(("security", "port"), [("none", 25), ("starttls", 587), ("tls", 465)])
def test_the_usual_port_is_used_unless_another_is_given(tmp_path: Path, security: str, port: int) -> None:
    config = read(tmp_path, f'[smtp]\nhost = "h"\nfrom = "a@b"\nsecurity = "{security}"')
    assert config.smtp is not None
    assert config.smtp.port_used == port


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[smtp]\nhost = 'h'", "from"),
        ("[smtp]\nhost = 'h'\nfrom = 'nobody'", "smtp.from"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\nuser = 'u'\nsecurity = 'none'", "unencrypted"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\nsecurity = 'ssl'", "security"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\nport = 70000", "smtp.port"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\ntimeout_seconds = 0", "timeout_seconds"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\nca_file = 'none.pem'", "none.pem"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\npassword_env = 'NOBODY'", "NOBODY"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\npassword_file = 'none'", "none"),
        ("[smtp]\nhost = 'h'\nfrom = 'a@b'\npassword = 'x'\npassword_env = 'MAIL_PASSWORD'", "one of"),
        ("[webhooks.x]\nurl = 'ftp://h/'", "webhooks.x.url"),
        ("[webhooks.x]\nurl = 'http://h/'\nsecret = 'whsec_%%%'", "base64"),
        ("[webhooks.x]\nurl = 'http://h/'\nmonitor_types = ['WARNING']", "monitor_types"),
        ("[placeholders]\np = 'none.properties'", "none.properties"),
        ("templates = 'nowhere'", "nowhere"),
        ("public_url = 'jobs'", "public_url"),
        ("overdue_tolerance_minutes = -1", "overdue_tolerance_minutes"),
        ("poll = 5", "poll"),
        ("[smtp", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (message,) = wrong(tmp_path, text)
    assert told in message


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = "public_url = 'jobs'\ntemplates = 'nowhere'\n[webhooks.x]\nurl = 'h'\n"
    assert len(wrong(tmp_path, text)) == 3


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"none\.toml"):
        read_notifications(tmp_path / "none.toml")


def test_the_example_of_the_documentation_is_one_a_dashboard_starts_with(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    example = page.partition("```toml\n# /etc/jobledger/notifications.toml\n")[2].partition("```")[0]
    for name in ("placeholders.properties", "end-of-day.toml"):
        (tmp_path / name).write_text("")
    config = read_notifications(write(tmp_path, example), {"JOBLEDGER_SMTP_PASSWORD": "sesame"})
    assert config.smtp is not None
    assert (config.smtp.port_used, config.smtp.password) == (587, "sesame")
    assert config.webhooks["incidents"].monitor_types == (MonitorType.ERROR,)
    assert set(config.placeholders) == {"default", "end-of-day"}
