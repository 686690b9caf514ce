"""A real mail server on the loopback interface that does as the test says: slow, refusing, away, back."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Cut(Exception):
    """Raised by a test's hook: the server breaks the connection at this step."""


@dataclass
class Mail:
    """One that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    user: str | None = None
    encrypted: bool = False

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def text(self, kind: str = "plain") -> str:
        part = self.message.get_body((kind,))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")


@dataclass
class MailServer:
    """Takes mails until it is stopped; started again, it is at the same port."""

    tls: ssl.SSLContext | None = None
    """With it STARTTLS is offered, or, ``from_the_start``, every conversation begins encrypted."""
    from_the_start: bool = False
    users: dict[str, str] | None = None
    port: int = 0
    refuses: dict[str, str] = field(default_factory=dict)
    """By recipient: the answer to RCPT."""
    on_data: Callable[[Mail], str | None] = lambda _mail: None
    """The answer to a whole mail, instead of taking it."""
    on_step: Callable[[str], None] = lambda _step: None
    """Called with CONNECT, EHLO, MAIL, RCPT, DATA and TAKEN; may raise ``Cut``."""

    def __post_init__(self) -> None:
        self.taken: list[Mail] = []
        self.steps: list[str] = []
        self.conversations = 0
        self.gate = threading.Event()
        """While it is clear, mails are not answered."""
        self.gate.set()
        self._changed = threading.Condition()
        self._transports: list[asyncio.Transport] = []
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]

    def start(self) -> "MailServer":
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10), "the mail server did not come up"
        return self

    def stop(self) -> None:
        self.gate.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def __enter__(self) -> "MailServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.stop()

    def wait_for(self, count: int, seconds: float = 20.0) -> list[Mail]:
        """Return once so many mails were taken."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.taken) >= count, seconds):
                raise AssertionError(
                    f"only {len(self.taken)} mails came: {[each.subject for each in self.taken]}"
                )
            return list(self.taken)

    def wait_for_step(self, step: str, count: int = 1, seconds: float = 20.0) -> None:
        """Return once it was at that step so often."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.steps.count(step) >= count, seconds):
                raise AssertionError(f"it was only at {self.steps}")

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        context = self.tls if self.from_the_start else None
        server = self._loop.run_until_complete(
            self._loop.create_server(self._conversation, "127.0.0.1", self.port, ssl=context)
        )
        self._loop.call_soon(ready.set)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for transport in self._transports:
                transport.abort()
            if tasks := asyncio.all_tasks(self._loop):
                for task in tasks:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(tasks))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _conversation(self) -> SMTP:
        return _Conversation(
            self,
            hostname="mail.test",
            loop=self._loop,
            tls_context=None if self.from_the_start else self.tls,
            authenticator=self._authenticate if self.users is not None else None,
            auth_required=self.users is not None,
            auth_require_tls=False,
        )

    def _authenticate(self, _server: Any, session: Any, _envelope: Any, _kind: str, given: Any) -> AuthResult:
        assert self.users is not None
        assert isinstance(given, LoginPassword)
        good = self.users.get(given.login.decode()) == given.password.decode()
        if good:
            session.user = given.login.decode()
        return AuthResult(success=good, handled=good)

    # --- steps of a conversation ----------------------------------------------------------------------------

    async def at(self, step: str, server: "_Conversation") -> None:
        with self._changed:
            self.steps.append(step)
            self._changed.notify_all()
        try:
            self.on_step(step)
        except Cut:
            server.transport.abort()
            raise ConnectionResetError from None

    async def handle_EHLO(  # noqa: N802  the library's name
        self, server: "_Conversation", session: Any, _envelope: Any, name: str, lines: list[str]
    ) -> list[str]:
        await self.at("EHLO", server)
        session.host_name = name
        return lines

    async def handle_MAIL(  # noqa: N802  the library's name
        self, server: "_Conversation", _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        await self.at("MAIL", server)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  the library's name
        self, server: "_Conversation", _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        await self.at("RCPT", server)
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: "_Conversation", session: Any, envelope: Any) -> str:  # noqa: N802
        await self.at("DATA", server)
        if not self.gate.is_set():
            await self._loop.run_in_executor(None, self.gate.wait, 60)
        mail = Mail(
            sender=envelope.mail_from,
            recipients=tuple(envelope.rcpt_tos),
            content=envelope.original_content,
            user=getattr(session, "user", None),
            encrypted=session.ssl is not None or self.from_the_start,
        )
        answer = self.on_data(mail)
        if answer is not None:
            return answer
        with self._changed:
            self.taken.append(mail)
            self._changed.notify_all()
        await self.at("TAKEN", server)
        return "250 OK"


class _Conversation(SMTP):
    def __init__(self, handler: MailServer, **options: Any) -> None:
        super().__init__(handler, **options)
        self._mail_server = handler

    def connection_made(self, transport: Any) -> None:
        # Going over to encryption is no new conversation.
        self._mail_server.conversations += self.session is None
        self._mail_server._transports.append(transport)
        super().connection_made(transport)
