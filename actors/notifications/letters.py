"""Mails: whom they go to and what they say, worked out when they are sent.

So a wrong address or template that was put right is right the next time, whatever the notification's age.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses, parseaddr

import msgspec
import structlog

from ...domain.notification_settings import Telling, tellings
from ...domain.placeholders import expanded, left_in, replaced
from ...domain.templates import TemplateRefused
from ...domain.wording import Wish, Words, words_for
from ...storage.notifications import NotificationRow
from ..timers import Clock
from .files import PlaceholderFiles, TemplateFiles
from .plan_settings import PlanSettings
from .ports import Rejected

_log = structlog.get_logger(__name__)

_NOBODY_NAMED = "undisclosed-recipients:;"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as it goes out, and everybody it goes to."""

    message: EmailMessage
    recipients: tuple[str, ...]
    """Addresses without names; each once."""


class Letters:
    """Writes mails. For one thread at a time."""

    def __init__(
        self,
        *,
        sender: str,
        settings: PlanSettings,
        templates: TemplateFiles,
        placeholders: PlaceholderFiles,
        public_url: str,
        zone: str,
        clock: Clock,
    ) -> None:
        self._sender = sender
        self._settings = settings
        self._templates = templates
        self._placeholders = placeholders
        self._public_url = public_url
        self._zone = zone
        self._clock = clock

    def of(self, row: NotificationRow) -> Letter:
        """The mail of a notification; raises ``Rejected`` and ``Unavailable``."""
        telling = self._telling(row)
        values = self._placeholders.of(row.plan)
        to, cc, bcc = (_addresses(expanded(each, values)) for each in (telling.to, telling.cc, telling.bcc))
        if not (to or cc or bcc):
            raise Rejected(
                "its placeholders stand for nobody: give them values in the dashboard's configuration"
            )
        words = self._words(row, telling, values)
        message = self._message(words, f"{row.id}.{row.round}")
        message["To"] = to or _NOBODY_NAMED
        if cc:
            message["Cc"] = cc
        message["X-Jobledger-Notification"] = str(row.id)
        everybody = dict.fromkeys(address.addr_spec for address in (*to, *cc, *bcc))
        return Letter(message=message, recipients=tuple(everybody))

    def probe(self, to: str) -> Letter:
        """A mail that says nothing but that mails arrive; raises ``Rejected``."""
        addresses = _addresses((to,))
        words = Words(
            subject="jobledger: a test",
            text="This mail was asked for to see whether notifications arrive. They do.\n",
        )
        now = self._clock()
        message = self._message(words, f"test.{now}")
        message["To"] = addresses
        return Letter(message=message, recipients=tuple(each.addr_spec for each in addresses))

    def _telling(self, row: NotificationRow) -> Telling:
        matter = row.matter
        found = tellings(
            self._settings.of(row.plan),
            matter.monitor_type,
            agent=matter.agent,
            job=matter.job_name,
            contexts=matter.contexts,
        )
        for telling in found:
            if telling.by_mail and telling.context == row.said_for:
                return telling
        raise Rejected(f"plan {row.plan} names nobody any more who is to get a mail of {matter.monitor_type}")

    def _words(self, row: NotificationRow, telling: Telling, values: dict[str, str]) -> Words:
        wish = Wish(
            subject=self._template(telling.subject_file, telling.subject, values),
            body=self._template(telling.body_file, telling.body, values),
            html=telling.html,
            variables={name: replaced(text, values) for name, text in telling.variables.items()},
        )
        try:
            return words_for(row.matter, wish, public_url=self._public_url, zone=self._zone)
        except TemplateRefused as error:
            raise Rejected(f"its template cannot be used: {error}") from error

    def _template(self, file: str, text: str, values: dict[str, str]) -> str:
        """The file if there is one of that name, else the text."""
        name = replaced(file, values)
        found = self._templates.text(name)
        if found is None and name:
            _log.warning("template not found, the other or the built-in words are used", file=name)
        return replaced(text if found is None else found, values)

    def _message(self, words: Words, name: str) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        domain = parseaddr(self._sender)[1].rpartition("@")[2] or "localhost"
        message["Message-ID"] = f"<{name}@{domain}>"
        message["Date"] = format_datetime(datetime.fromtimestamp(self._clock() / 1000, UTC))
        message["From"] = self._sender
        message["Subject"] = words.subject
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(words.text)
        if words.html is not None:
            message.add_alternative(words.html, subtype="html")
        return message


def _addresses(entries: Sequence[str]) -> tuple[Address, ...]:
    """The addresses that entries are; raises ``Rejected`` naming those that are none."""
    missing = list(dict.fromkeys(left_in(entries)))
    if missing:
        names = ", ".join(f"${{{name}}}" for name in missing)
        raise Rejected(f"there is no value for {names}: give one in the dashboard's configuration")
    found, wrong = [], []
    for entry in entries:
        address = address_of(entry)
        if address is None:
            wrong.append(entry)
        else:
            found.append(address)
    if wrong:
        raise Rejected(f"{', '.join(repr(each[:80]) for each in wrong)} is no address that mail can go to")
    return tuple(found)


def address_of(entry: str) -> Address | None:
    """The one address that a text is, with a name or without; ``None`` when it is none, or several."""
    parsed = getaddresses([entry])
    if len(parsed) != 1 or not entry.isprintable():
        return None
    name, (local, _, domain) = parsed[0][0], parsed[0][1].rpartition("@")
    try:
        return (
            Address(display_name=name, addr_spec=f"{local}@{domain.encode('idna').decode()}")
            if local
            else None
        )
    except (ValueError, IndexError):
        return None
