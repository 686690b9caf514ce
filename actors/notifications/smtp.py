"""The way to people by mail: one conversation with a server for as many mails as there are to send."""

import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from typing import Protocol

import structlog

from ...storage.notifications import NotificationRow
from .config import SmtpConfig
from .letters import Letters
from .ports import Channel, ChannelDown, NotNow, Receipt, Rejected

_log = structlog.get_logger(__name__)

_GOING_AWAY = 421
_TOO_LARGE = 552
_FOR_GOOD = 500
_MAX_TOLD = 500


class Mailer(Protocol):
    """Hands mails over to a server."""

    def deliver(self, message: EmailMessage, recipients: Sequence[str]) -> Mapping[str, tuple[int, str]]:
        """Send a mail; answers those to whom the server does not take it, each with its code and words.

        Raises ``ChannelDown``, ``NotNow``, ``Rejected``.
        """
        ...

    def rest(self) -> None:
        """End the conversation."""
        ...


class SmtpMailer:
    """A mail server. For one thread at a time."""

    def __init__(self, config: SmtpConfig, *, sender: str) -> None:
        """``sender`` is the address that refusals by the receivers' servers go to."""
        self._config = config
        self._sender = sender
        self._connection: smtplib.SMTP | None = None

    def deliver(self, message: EmailMessage, recipients: Sequence[str]) -> Mapping[str, tuple[int, str]]:
        """Send a mail; a server that ended the conversation meanwhile is spoken to anew, once."""
        if self._connection is not None:
            try:
                return self._send(self._connection, message, recipients)
            except ChannelDown as error:
                _log.info("mail server ended the conversation", error=str(error))
        return self._send(self._connect(), message, recipients)

    def rest(self) -> None:
        """Say goodbye; whether the server heard it is no matter."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.quit()
        except (smtplib.SMTPException, OSError) as error:
            _log.debug("mail server was gone already", error=str(error))
        finally:
            connection.close()

    def _send(
        self, connection: smtplib.SMTP, message: EmailMessage, recipients: Sequence[str]
    ) -> Mapping[str, tuple[int, str]]:
        try:
            refused = connection.send_message(message, self._sender, list(recipients))
        except smtplib.SMTPRecipientsRefused as error:
            refused = error.recipients
            if any(code == _GOING_AWAY for code, _ in refused.values()):
                self._drop()
                raise ChannelDown(_told(*next(iter(refused.values())))) from error
        except smtplib.SMTPSenderRefused as error:
            if error.smtp_code == _TOO_LARGE:
                raise Rejected(_told(error.smtp_code, error.smtp_error)) from error
            self._drop()
            raise ChannelDown(f"sender refused: {_told(error.smtp_code, error.smtp_error)}") from error
        except smtplib.SMTPDataError as error:
            told = _told(error.smtp_code, error.smtp_error)
            if error.smtp_code == _GOING_AWAY:
                self._drop()
                raise ChannelDown(told) from error
            raise (Rejected if error.smtp_code >= _FOR_GOOD else NotNow)(told) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Rejected(f"the mail server cannot take it: {error}") from error
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise ChannelDown(f"{self._place}: {error}") from error
        return {address: (code, _words(text)) for address, (code, text) in refused.items()}

    def _connect(self) -> smtplib.SMTP:
        config = self._config
        try:
            connection = self._open()
            try:
                if config.security == "starttls":
                    connection.starttls(context=self._context())
                    connection.ehlo()
                if config.user is not None:
                    connection.login(config.user, config.password or "")
            except BaseException:
                connection.close()
                raise
        except smtplib.SMTPResponseException as error:
            told = _told(error.smtp_code, error.smtp_error)
            raise ChannelDown(f"{self._place}: {told}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise ChannelDown(f"{self._place}: {error}") from error
        self._connection = connection
        return connection

    def _open(self) -> smtplib.SMTP:
        config = self._config
        if config.security == "tls":
            return smtplib.SMTP_SSL(
                config.host,
                config.port_used,
                local_hostname=config.hello,
                timeout=config.timeout_seconds,
                context=self._context(),
            )
        return smtplib.SMTP(
            config.host, config.port_used, local_hostname=config.hello, timeout=config.timeout_seconds
        )

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._config.ca_file)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @property
    def _place(self) -> str:
        return f"mail server {self._config.host}:{self._config.port_used}"


def _told(code: int, text: bytes | str) -> str:
    return f"{code} {_words(text)}"


def _words(text: bytes | str) -> str:
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join(decoded.split())[:_MAX_TOLD]


class MailChannel(Channel):
    """Notifications as mails."""

    def __init__(self, letters: Letters, mailer: Mailer) -> None:
        self._letters = letters
        self._mailer = mailer

    def send(self, row: NotificationRow) -> Receipt:
        """Write the mail and send it to all who do not have it yet."""
        letter = self._letters.of(row)
        left = [each for each in letter.recipients if each not in row.delivered]
        if not left:
            return Receipt(recipients=letter.recipients, delivered=row.delivered)
        refused = self._deliver(lambda: self._mailer.deliver(letter.message, left))
        return Receipt(
            recipients=letter.recipients,
            delivered=(*row.delivered, *(each for each in left if each not in refused)),
            not_now={to: _told(code, text) for to, (code, text) in refused.items() if code < _FOR_GOOD},
            rejected={to: _told(code, text) for to, (code, text) in refused.items() if code >= _FOR_GOOD},
        )

    def probe(self, to: str) -> str:
        """Send a mail that says nothing."""
        letter = self._letters.probe(to)
        refused = self._deliver(lambda: self._mailer.deliver(letter.message, letter.recipients))
        for code, text in refused.values():
            raise (Rejected if code >= _FOR_GOOD else NotNow)(_told(code, text))
        return f"the mail server took a mail to {', '.join(letter.recipients)}"

    def rest(self) -> None:
        """End the conversation with the server."""
        self._mailer.rest()

    def _deliver(self, deliver: Callable[[], Mapping[str, tuple[int, str]]]) -> Mapping[str, tuple[int, str]]:
        try:
            return deliver()
        except (UnicodeError, ValueError) as error:
            raise Rejected(f"it cannot be written as a mail: {error}") from error
