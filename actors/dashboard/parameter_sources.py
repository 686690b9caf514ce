"""The parameter sources of plans: files, read at the start, when they change, and when somebody asks.

What was read last stays good while a file cannot be read. The values that a plan and its instances use are
facts in their logs; this is only where the newest ones come from. A thread of its own reads, because a file
may be on a disk that does not answer, and nobody else is to wait for that.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from ...domain.instants import Instant
from ...domain.parameter_validation import value_error, value_warnings
from ...storage.parameter_files import (
    ParameterFileUnusable,
    Stamp,
    read_parameters,
    read_plan_sources,
    stamp_of,
)
from ..file_notices import Notices
from ..timers import Clock

_log = structlog.get_logger(__name__)

SETTLED_AFTER_MS = 300
"""A file that was written to more recently than this may be half written, and is looked at again."""
LONGEST_WAIT_SECONDS = 10.0
LOOK_EVERY_SECONDS = 15.0
"""Word of changes gets lost on network file systems."""


class ParameterSource(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's source as people see it: never a value."""

    plan: str
    file: str
    read_at: Instant | None = None
    """When it was last read well."""
    names: tuple[str, ...] = ()
    """The parameters that it gave values then."""
    error: str | None = None
    """Why it cannot be read now; what was read last stays in use."""
    warnings: tuple[str, ...] = ()


class _Source:
    """One plan's file, and what it said when it was last read well."""

    def __init__(self, plan: str, file: Path) -> None:
        self.plan = plan
        self.file = file
        self.values: dict[str, str] | None = None
        self.view = ParameterSource(plan=plan, file=str(file))
        self._stamp: Stamp | None = None

    def look(self, now: Instant, *, at_once: bool) -> bool:
        """Read the file if it is another than before; false if it may be half written still."""
        stamp = stamp_of(self.file)
        if stamp == self._stamp:
            return True
        if not at_once and not _is_settled(stamp):
            return False
        try:
            found = read_parameters(self.file)
        except ParameterFileUnusable as error:
            self._stamp = stamp
            if self.view.error != str(error):
                _log.error(
                    "parameter source not read, the last values stay", plan=self.plan, error=str(error)
                )
            self.view = msgspec.structs.replace(self.view, error=str(error))
            return True
        if stamp_of(self.file) != stamp:
            return False
        self._stamp = stamp
        warnings = (*found.warnings, *_warnings(found.values))
        for warning in warnings:
            _log.warning("parameter source", plan=self.plan, file=str(self.file), warning=warning)
        self.values = found.values
        self.view = ParameterSource(
            plan=self.plan,
            file=str(self.file),
            read_at=now,
            names=tuple(sorted(found.values)),
            warnings=warnings,
        )
        return True

    def forget(self) -> None:
        """Read it at the next look, whether or not it seems to have changed."""
        self._stamp = None


class ParameterSources:
    """The sources that a TOML file names, or none. Safe to use from any thread."""

    def __init__(
        self,
        file: Path | None,
        *,
        clock: Clock,
        open_notices: Callable[[Callable[[], None]], Notices],
    ) -> None:
        """Raises ``ParameterFileUnusable`` when the file that names the sources cannot be read."""
        self._file = file
        self._clock = clock
        self._looking = threading.Lock()
        self._sources: dict[str, _Source] = {}
        self._told: dict[str, dict[str, str] | None] = {}
        self._file_stamp: Stamp | None = None
        self._error: str | None = None
        self._on_change: Callable[[str], None] = _nobody
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._notices = open_notices(self._woken.set)
        self._thread: threading.Thread | None = None
        if file is not None:
            self._file_stamp = stamp_of(file)
            self._sources = {plan: _Source(plan, path) for plan, path in read_plan_sources(file).items()}

    def start(self, on_change: Callable[[str], None]) -> None:
        """Read all, then watch; ``on_change`` is told the plan whenever its source says something else."""
        if self._file is None:
            return
        self._on_change = on_change
        with self._looking:
            changed, _ = self._look(at_once=True)
        for plan in changed:
            on_change(plan)
        self._thread = threading.Thread(target=self._watch, name="parameter-sources", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more; a read that hangs is left behind."""
        self._closed.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
        self._notices.close()

    @property
    def error(self) -> str | None:
        """Why the file that names the sources cannot be read now."""
        return self._error

    def values(self, plan: str) -> Mapping[str, str] | None:
        """What the plan's source said last, nothing if it has none; ``None``: it could never be read."""
        source = self._sources.get(plan)
        return {} if source is None else source.values

    def views(self) -> list[ParameterSource]:
        """Every source, by plan."""
        return [source.view for _, source in sorted(self._sources.items())]

    def read_again(self) -> list[str]:
        """Read all of them now, because somebody asks; the plans whose sources say something else.

        It is for the asker to tell these. Raises ``TimeoutError`` while a file does not answer.
        """
        if not self._looking.acquire(timeout=LONGEST_WAIT_SECONDS):
            raise TimeoutError("a parameter source is on a disk that does not answer")
        try:
            return self._look(at_once=True, anew=True)[0]
        finally:
            self._looking.release()

    def missed(self, plan: str) -> None:
        """The plan could not take in what it was told: it is told again at the next look."""
        self._told.pop(plan, None)

    def _watch(self) -> None:
        settled = True
        while True:
            self._woken.wait(LOOK_EVERY_SECONDS if settled else SETTLED_AFTER_MS / 1000)
            self._woken.clear()
            if self._closed.is_set():
                return
            with self._looking:
                changed, settled = self._look(at_once=False)
            for plan in changed:
                self._on_change(plan)

    def _look(self, *, at_once: bool, anew: bool = False) -> tuple[list[str], bool]:
        """Read what has changed, or all: the plans to be told, and whether no file may be half written."""
        settled = self._look_at_file(at_once=at_once)
        now = self._clock()
        for source in self._sources.values():
            if anew:
                source.forget()
            settled = source.look(now, at_once=at_once) and settled
        if self._file is not None and not self._closed.is_set():
            files = (self._file, *(source.file for source in self._sources.values()))
            self._notices.watch({file.parent for file in files})
        changed = sorted(plan for plan in {*self._told, *self._sources} if self._news(plan))
        return changed, settled

    def _news(self, plan: str) -> bool:
        """Whether the plan has not been told of what its source says; from now on it has."""
        values = self.values(plan)
        if plan in self._told and self._told[plan] == values:
            return False
        self._told[plan] = None if values is None else dict(values)
        return values is not None

    def _look_at_file(self, *, at_once: bool) -> bool:
        if self._file is None:
            return True
        stamp = stamp_of(self._file)
        if stamp == self._file_stamp and self._error is None:
            return True
        if not at_once and not _is_settled(stamp):
            return False
        self._file_stamp = stamp
        try:
            named = read_plan_sources(self._file)
        except ParameterFileUnusable as error:
            if self._error != str(error):
                _log.error("the sources that were named before stay", error=str(error))
            self._error = str(error)
            return True
        self._error = None
        before = self._sources
        self._sources = {
            plan: before[plan] if plan in before and before[plan].file == file else _Source(plan, file)
            for plan, file in named.items()
        }
        return True


def _nobody(_plan: str) -> None:
    """Nobody is to be told yet."""


def _is_settled(stamp: Stamp) -> bool:
    age_ms = (time.time_ns() - stamp.changed_ns) // 1_000_000
    return not 0 <= age_ms < SETTLED_AFTER_MS


def _warnings(values: Mapping[str, str]) -> list[str]:
    found = []
    for name, value in values.items():
        error = value_error(value)
        if error is not None:
            found.append(f"the value of {name} cannot be used as it is meant: {error}")
        else:
            found += [f"the value of {name}: {warning}" for warning in value_warnings(name, value)]
    return found
