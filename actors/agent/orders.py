"""One initiation as the agent carries it out, and what that begins with."""

import random
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from ...domain.instants import Instant
from ...domain.messages import DryRun, Initiation
from ...domain.plan import CommandJob
from .intake import Accepted
from .markers import Recovered


class QueueKey(msgspec.Struct, frozen=True):
    """Initiations with the same key run one after another."""

    instance_id: str
    plan: str
    job: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted initiation, and how far it had come before this process."""

    accepted: Accepted
    start_reported: bool = False
    found: Recovered | None = None
    """What the launcher knows of it from before; ``None`` for a new one."""

    @property
    def id(self) -> str:
        """The initiation's id."""
        return self.accepted.initiation.id

    @property
    def initiation(self) -> Initiation:
        """What to do."""
        return self.accepted.initiation

    @property
    def template(self) -> CommandJob:
        """What to run; every accepted initiation has one."""
        template = self.accepted.initiation.template
        if template is None:
            raise ValueError(f"initiation {self.id} was accepted without a template")
        return template

    @property
    def key(self) -> QueueKey:
        """Where it queues."""
        initiation = self.accepted.initiation
        return QueueKey(initiation.instance_id, initiation.plan, initiation.job)


class Phase(StrEnum):
    """How far an order has come."""

    QUEUED = "queued"
    NO_ROOM = "waiting for disk space"
    STARTING = "starting"
    RUNNING = "running"


class RunCommand(msgspec.Struct, frozen=True):
    """The script is to be run."""


class PassOver(msgspec.Struct, frozen=True):
    """Nothing is to be run, which counts as a success."""

    wrong_day: bool = False


class Pretend(msgspec.Struct, frozen=True):
    """Nothing is to be run, but as if."""

    for_ms: int
    successful: bool


Course: TypeAlias = RunCommand | PassOver | Pretend


def course_of(order: Order, now: Instant, zone: ZoneInfo) -> Course:
    """What an order begins with, given the instant and the zone of the host's calendar."""
    initiation = order.initiation
    if initiation.skipped:
        return PassOver()
    days = order.template.days_of_week
    if days and day_of_week(now, zone) not in days:
        return PassOver(wrong_day=True)
    if initiation.dry_run is not None:
        return _pretend(initiation.dry_run, initiation.id)
    return RunCommand()


def _pretend(dry_run: DryRun, seed: str) -> Pretend:
    """Chance is drawn from the initiation's id, so that a restart in the middle pretends the same again."""
    chance = random.Random(seed)  # noqa: S311  it only imitates run times and failures
    shortest = max(dry_run.min_ms, 0)
    for_ms = chance.randint(shortest, max(shortest, dry_run.max_ms))
    if dry_run.fixed_ms:
        for_ms = max(dry_run.fixed_ms, 0)
    fails = dry_run.error or chance.uniform(0, 100) < dry_run.error_percentage
    return Pretend(for_ms=for_ms, successful=not fails)


def day_of_week(at: Instant, zone: ZoneInfo) -> int:
    """1 = Sunday … 7 = Saturday."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).isoweekday() % 7 + 1
