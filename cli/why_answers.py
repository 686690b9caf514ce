"""What the dashboard answers when it is asked why a job is not running, or why it ran."""

from typing import Any

import msgspec

from . import answers


class Lacks(msgspec.Struct, frozen=True, kw_only=True):
    """What a dependency lacks: one of these."""

    all_of: tuple["Lacks", ...] | None = None
    any_of: tuple["Lacks", ...] | None = None
    lacking: str | None = None
    preventing: str | None = None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """What one dependency of a job lacks."""

    context: str
    lacks: Lacks


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has not run, with what it waits for."""

    identifier: str
    contexts: tuple[str, ...]
    status: str
    waits: tuple[Wait, ...] = ()


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """The agent of a job, and whether it answers."""

    name: str
    announced: bool = True
    reachable: bool = True
    last_seen: str | None = None
    running: int = 0
    queued: int = 0
    problems: tuple[str, ...] = ()


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A job that holds a lock or waits for it."""

    instance_id: str
    plan: str | None = None
    job: str


class LockWait(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job waits for its lock."""

    name: str
    waiting_since: str
    held_by: tuple[Claim, ...] = ()
    held_by_count: int = 0
    ahead: int = 0


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """An event about a job that could not be processed."""

    id: int
    error: str | None = None


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has to change before the job can start."""

    kind: str
    context: str
    job: answers.Job
    fact: answers.Fact | None = None
    agent: Agent | None = None
    undelivered: bool = False
    lock: LockWait | None = None
    trigger: dict[str, Any] = {}
    dead_letters: tuple[Letter, ...] = ()


class CauseStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chain of causes."""

    fact: answers.Fact
    event: dict[str, Any] = {}
    skipped: answers.Fact | None = None
    raised_by: str | None = None


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is not running, or why it ran."""

    instance_id: str
    plan: str
    context: str
    job: answers.Job
    latest: answers.Fact | None = None
    ended: answers.Fact | None = None
    blockers: tuple[Blocker, ...] = ()
    blockers_count: int = 0
    jobs: tuple[Explained, ...] = ()
    jobs_count: int = 0
    chain: tuple[CauseStep, ...] = ()
    chain_count: int = 0
