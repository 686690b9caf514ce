"""Notifications as JSON to addresses that take them.

The headers are those of the Standard Webhooks specification: ``webhook-id`` tells receivers that they had one
already, ``webhook-signature`` that it came from here and when.
"""

import base64
import hashlib
import hmac
from http import HTTPStatus
from typing import Any

import msgspec
import urllib3

from ..actors.notifications.config import WebhookConfig
from ..actors.notifications.ports import Channel, ChannelDown, NotNow, Receipt, Rejected
from ..actors.timers import Clock
from ..domain.wording import links_to, message_of
from ..storage.notifications import NotificationRow
from .wire.views import written, written_if_known

CONNECT_SECONDS = 5.0
_MAX_TOLD = 500
_SECRET_PREFIX = "whsec_"  # noqa: S105  by which secrets in base64 are known
_TRY_LATER = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Answers that a person or time can mend without the notification being another."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A notification as a webhook is told it; times are RFC 3339 in UTC."""

    type: str = "jobledger.notification"
    id: str
    """The same however often it is sent."""
    monitor_type: str
    message: str
    at: str
    plan: str
    plan_version: int
    instance_id: str
    environment_group: str | None
    dry_run: bool
    context: str
    contexts: tuple[str, ...]
    job: str
    job_name: str
    agent: str
    kind: str
    execution: str
    """Tells executions of the job in its instance apart."""
    status: str
    return_code: int | None
    killed: bool
    pid: int | None
    started_at: str | None
    finished_at: str | None
    elapsed_ms: int | None
    deadline: str | None
    min_minutes: int | None
    max_minutes: int | None
    output_path: str | None
    error_path: str | None
    details: str | None
    links: dict[str, str]


class HttpWebhook(Channel):
    """One address. For one thread at a time."""

    def __init__(self, config: WebhookConfig, *, public_url: str, zone: str, clock: Clock) -> None:
        self._config = config
        self._public_url = public_url
        self._zone = zone
        self._clock = clock
        self._key = None if config.secret is None else _key(config.secret)
        certificates: dict[str, Any] = {} if config.ca_file is None else {"ca_certs": str(config.ca_file)}
        self._http = urllib3.PoolManager(
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=config.timeout_seconds),
            **certificates,
        )

    def send(self, row: NotificationRow) -> Receipt:
        """Tell it, and take any 2xx for having it."""
        told = msgspec.json.encode(told_of(row, public_url=self._public_url, zone=self._zone))
        name = str(row.id) if not row.round else f"{row.id}.{row.round}"
        self._post(name, told)
        return Receipt(recipients=(self._config.url,), delivered=(self._config.url,))

    def probe(self, to: str) -> str:
        """Tell it nothing but that it is told something."""
        del to
        name = f"test-{self._clock()}"
        self._post(name, msgspec.json.encode({"type": "jobledger.test", "id": name}))
        return f"{self._config.url} took it"

    def rest(self) -> None:
        """Let go of the connection."""
        self._http.clear()

    def _post(self, name: str, body: bytes) -> None:
        seconds = str(self._clock() // 1000)
        headers = {"Content-Type": "application/json", "webhook-id": name, "webhook-timestamp": seconds}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, name, seconds, body)
        try:
            answer = self._http.request(
                "POST", self._config.url, body=body, headers=headers, redirect=False, preload_content=False
            )
            try:
                told = answer.read(_MAX_TOLD).decode(errors="replace")
            finally:
                # One that was read whole has given its connection back; of any other no more is wanted.
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ChannelDown(f"{self._config.url}: {error}") from error
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return
        reason = f"{answer.status} {' '.join(told.split())}".strip()
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ChannelDown(reason)
        raise (NotNow if answer.status in _TRY_LATER else Rejected)(reason)


def _key(secret: str) -> bytes:
    """The key of a secret; one that begins with ``whsec_`` goes on in base64, as the specification has it."""
    if secret.startswith(_SECRET_PREFIX):
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    return secret.encode()


def signature(key: bytes, name: str, seconds: str, body: bytes) -> str:
    """What proves that a message of that name was sent at that time by somebody who has the key."""
    digest = hmac.new(key, f"{name}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def told_of(row: NotificationRow, *, public_url: str, zone: str) -> Told:
    """A notification as a webhook is told it."""
    matter = row.matter
    links = msgspec.structs.asdict(links_to(matter, public_url))
    return Told(
        id=str(row.id),
        monitor_type=matter.monitor_type.value,
        message=message_of(matter, zone),
        at=written(matter.at),
        plan=matter.plan,
        plan_version=matter.plan_version,
        instance_id=matter.instance_id,
        environment_group=matter.environment_group,
        dry_run=matter.dry_run,
        context=matter.context,
        contexts=matter.contexts,
        job=matter.job,
        job_name=matter.job_name,
        agent=matter.agent,
        kind=matter.kind,
        execution=matter.execution,
        status=matter.status,
        return_code=matter.return_code,
        killed=matter.killed,
        pid=matter.pid,
        started_at=written_if_known(matter.started_at),
        finished_at=written_if_known(matter.finished_at),
        elapsed_ms=matter.elapsed_ms,
        deadline=written_if_known(matter.deadline),
        min_minutes=matter.min_minutes,
        max_minutes=matter.max_minutes,
        output_path=matter.output_path,
        error_path=matter.error_path,
        details=matter.details,
        links={name: url for name, url in links.items() if url},
    )
