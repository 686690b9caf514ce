"""Conversations with a real mail server: encrypted or not at all, with a password or without."""

import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from jobledger.actors.notifications.config import SmtpConfig
from jobledger.actors.notifications.ports import ChannelDown, NotNow, Rejected
from jobledger.actors.notifications.smtp import SmtpMailer
from mail_server import Cut, MailServer

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """Who vouches for the test's server, and the file with its certificate."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return authority, file


def context_of(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


_opened: list[SmtpMailer] = []


@pytest.fixture(autouse=True)
def all_rested() -> Iterator[None]:
    """End every conversation."""
    yield
    while _opened:
        _opened.pop().rest()


def mailer(server: MailServer, **config: Any) -> SmtpMailer:
    given = {"host": "127.0.0.1", "port": server.port, "sender": "jobs@example.org", "security": "none"}
    full = SmtpConfig(**{**given, "timeout_seconds": 5.0, **config})
    _opened.append(SmtpMailer(full, sender="jobs@example.org"))
    return _opened[-1]


def mail(subject: str = "hello") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "jobs@example.org"
    message["To"] = "ops@example.org"
    message["Subject"] = subject
    message.set_content("a job failed — über alles\n")
    return message


OPS = ("ops@example.org",)


@pytest.mark.parametrize("from_the_start", [True, False], ids=["tls", "starttls"])
def test_a_conversation_is_encrypted_before_anything_is_said(
    authority: tuple[trustme.CA, Path], from_the_start: bool
) -> None:
    ca, file = authority
    security = "tls" if from_the_start else "starttls"
    with MailServer(tls=context_of(ca), from_the_start=from_the_start) as server:
        sender = mailer(server, host="localhost", security=security, ca_file=file)
        assert sender.deliver(mail(), OPS) == {}
        assert sender.deliver(mail("again"), OPS) == {}
        sender.rest()
        assert [each.encrypted for each in server.taken] == [True, True]
        assert server.taken[0].text() == "a job failed — über alles\n"
        assert server.conversations == 1


@pytest.mark.parametrize("from_the_start", [True, False], ids=["tls", "starttls"])
def test_a_server_that_nobody_vouches_for_gets_nothing(
    authority: tuple[trustme.CA, Path], from_the_start: bool
) -> None:
    ca, file = authority
    security = "tls" if from_the_start else "starttls"
    with MailServer(tls=context_of(ca), from_the_start=from_the_start) as server:
        with pytest.raises(ChannelDown, match=r"(?i)certificate"):
            mailer(server, host="localhost", security=security).deliver(mail(), OPS)
        assert server.taken == []
    with MailServer(tls=context_of(ca, "elsewhere"), from_the_start=from_the_start) as server:
        with pytest.raises(ChannelDown, match=r"(?i)hostname|certificate"):
            mailer(server, host="localhost", security=security, ca_file=file).deliver(mail(), OPS)
        assert server.taken == []


def test_a_server_that_does_not_offer_encryption_gets_nothing_when_it_is_wanted(server: MailServer) -> None:
    with pytest.raises(ChannelDown, match="STARTTLS"):
        mailer(server, security="starttls").deliver(mail(), OPS)
    assert "MAIL" not in server.steps


def test_who_has_an_account_logs_in(authority: tuple[trustme.CA, Path]) -> None:
    ca, file = authority
    with MailServer(tls=context_of(ca), users={"jobs": "sesame"}) as server:
        config = {"host": "localhost", "security": "starttls", "ca_file": file, "user": "jobs"}
        with pytest.raises(ChannelDown, match="535"):
            mailer(server, **config, password="wrong").deliver(mail(), OPS)
        assert mailer(server, **config, password="sesame").deliver(mail(), OPS) == {}
        assert [each.user for each in server.taken] == ["jobs"]


def test_who_does_not_log_in_where_that_is_asked_for_can_send_nothing_for_now(server: MailServer) -> None:
    with MailServer(users={"jobs": "sesame"}) as asking, pytest.raises(ChannelDown, match="530"):
        mailer(asking).deliver(mail(), OPS)


def test_nobody_listens(server: MailServer) -> None:
    server.stop()
    with pytest.raises(ChannelDown, match=f"127.0.0.1:{server.port}"):
        mailer(server).deliver(mail(), OPS)


def test_a_name_that_nobody_has_is_no_reason_to_give_a_mail_up() -> None:
    config = SmtpConfig(host="nobody.invalid", sender="jobs@example.org", security="none")
    with pytest.raises(ChannelDown, match=r"nobody\.invalid"):
        SmtpMailer(config, sender="jobs@example.org").deliver(mail(), OPS)


def test_a_conversation_that_the_server_ended_between_two_mails_is_begun_anew(server: MailServer) -> None:
    sender = mailer(server)
    sender.deliver(mail("one"), OPS)
    server.stop()
    server.start()
    assert sender.deliver(mail("two"), OPS) == {}
    assert [each.subject for each in server.taken] == ["one", "two"]


def test_a_server_that_is_going_away_is_spoken_to_again_in_another_conversation(server: MailServer) -> None:
    sender = mailer(server)
    sender.deliver(mail("one"), OPS)
    server.refuses["ops@example.org"] = "421 4.3.2 shutting down"
    with pytest.raises(ChannelDown, match="421"):
        sender.deliver(mail("two"), OPS)
    server.refuses.clear()
    assert sender.deliver(mail("two"), OPS) == {}
    assert [each.subject for each in server.taken] == ["one", "two"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("451 4.3.0 later", NotNow),
        ("452 4.3.1 full", NotNow),
        ("421 4.3.2 bye", ChannelDown),
        ("552 5.3.4 too large", Rejected),
        ("554 5.7.1 spam", Rejected),
    ],
)
def test_an_answer_to_a_whole_mail_is_taken_for_what_it_is(
    server: MailServer, answer: str, kind: type[Exception]
) -> None:
    server.on_data = lambda _mail: answer
    with pytest.raises(kind, match=answer[:3]):
        mailer(server).deliver(mail(), OPS)


def test_each_recipient_that_is_refused_is_told_with_the_servers_words(server: MailServer) -> None:
    server.refuses = {"a@example.org": "550 5.1.1 no such user", "b@example.org": "450 4.2.1 busy"}
    refused = mailer(server).deliver(mail(), ("a@example.org", "ops@example.org", "b@example.org"))
    assert refused == {"a@example.org": (550, "5.1.1 no such user"), "b@example.org": (450, "4.2.1 busy")}
    assert server.taken[0].recipients == OPS


def test_an_address_that_the_server_cannot_take_is_refused_in_words(server: MailServer) -> None:
    message = mail()
    del message["To"]
    message["To"] = "jürgen@example.org"
    with pytest.raises(Rejected, match="cannot take it"):
        mailer(server).deliver(message, ("jürgen@example.org",))


def test_a_server_that_breaks_off_is_not_waited_for(server: MailServer) -> None:
    def cut(step: str) -> None:
        if step == "DATA":
            raise Cut

    server.on_step = cut
    with pytest.raises(ChannelDown):
        mailer(server).deliver(mail(), OPS)


def test_saying_goodbye_to_a_server_that_is_gone_is_no_error(server: MailServer) -> None:
    sender = mailer(server)
    sender.deliver(mail(), OPS)
    server.stop()
    sender.rest()
    sender.rest()
