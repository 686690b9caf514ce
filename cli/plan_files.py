"""Plan files on disk: what kind they are, the plan in them, and every flaw of them."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .failures import ExitCode, Failure
from .token_files import token_values

if TYPE_CHECKING:
    from ..domain.plan import JobPlan
    from ..domain.problems import Problem
    from ..http.wire.documents import WireProblem

ZIP = "application/zip"
JSON = "application/json"
YAML = "application/yaml"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A file that may hold a plan."""

    path: Path
    content: bytes
    media: str
    warnings: tuple["Problem", ...] = ()
    """Of what was put right when its tokens were filled in."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a plan, or may not be meant."""

    severity: str
    """``error`` or ``warning``."""
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was checked: the plan, unless it does not even read, and all that is to be said of it."""

    plan: "JobPlan | None"
    flaws: tuple[Flaw, ...]

    @property
    def errors(self) -> tuple[Flaw, ...]:
        """What has to be put right."""
        return tuple(flaw for flaw in self.flaws if flaw.severity == "error")


def load(path: Path, tokens: Path | None = None) -> PlanFile:
    """Read a file, and fill in its tokens if their values are in another.

    Its kind is told by its first bytes and its name.
    """
    content = _read(path, "name a plan file: a bundle (.zip or .json) or YAML, see docs/plan-file.md")
    if content.startswith(b"PK\x03\x04"):
        file = PlanFile(path, content, ZIP)
    else:
        file = PlanFile(path, content, JSON if path.suffix.lower() == ".json" else YAML)
    return file if tokens is None else _filled_in(file, token_values(tokens))


def _read(path: Path, next_step: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(
            f"{path} cannot be read: {error.strerror}",
            code=ExitCode.NOT_FOUND if isinstance(error, FileNotFoundError) else ExitCode.REFUSED,
            next_step=next_step,
        ) from error


def _filled_in(file: PlanFile, values: dict[str, str]) -> PlanFile:
    """The bundle with every token replaced; raises ``Failure`` naming those that have no value."""
    from ..http.wire.bundles import pack, read_zip
    from ..http.wire.documents import WireError
    from ..http.wire.tokens import replace_tokens_in_json

    try:
        match file.media:
            case "application/zip":
                bundle = read_zip(file.content, values)
                at = time.time_ns() // 1_000_000
                content = pack(bundle.plan, bundle.documents, at)
                left = read_zip(content).warnings
                repaired = tuple(each for each in bundle.warnings if each not in left)
                return replace(file, content=content, warnings=repaired)
            case "application/json":
                return replace(file, content=replace_tokens_in_json(file.content, values))
    except WireError as error:
        number = len(error.problems)
        raise Failure(
            f"{file.path} cannot be filled in: {number} error{'' if number == 1 else 's'}",
            details=[str(Flaw("error", _place(each), each.message)) for each in error.problems],
            next_step="give each token that is left a value in the file of --tokens",
        ) from error
    raise Failure(f"{file.path} is a plan file, and those have no tokens", next_step="leave --tokens out")


def check(file: PlanFile) -> Checked:
    """Find every flaw that pushing the file would find, without a dashboard."""
    from ..domain.validation import validate
    from ..http.wire.bundles import read_json, read_plan_file, read_zip
    from ..http.wire.documents import WireError

    try:
        match file.media:
            case "application/zip":
                bundle = read_zip(file.content)
            case "application/json":
                bundle = read_json(file.content)
            case _:
                bundle = read_plan_file(file.content.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Checked(None, (Flaw("error", f"byte {error.start}", "the file is not UTF-8"),))
    except WireError as error:
        flaws = [Flaw("error", _place(each), each.message) for each in error.problems]
        others = [] if error.plan is None else validate(error.plan)
        return Checked(None, (*flaws, *(_flaw(each) for each in others)))
    problems = (*file.warnings, *bundle.warnings, *validate(bundle.plan))
    return Checked(bundle.plan, tuple(_flaw(each) for each in problems))


def readable(file: PlanFile) -> "JobPlan":
    """The plan in a file that has no errors; raises ``Failure`` with all of them."""
    checked = check(file)
    if checked.plan is None or checked.errors:
        number = len(checked.errors)
        raise Failure(
            f"{file.path} has {number} error{'' if number == 1 else 's'}",
            details=[str(flaw) for flaw in checked.errors],
            next_step="put them right; `jobledger plan validate` shows warnings too",
        )
    return checked.plan


def _flaw(problem: "Problem") -> Flaw:
    return Flaw(problem.severity, str(problem.place), problem.message)


def _place(problem: "WireProblem") -> str:
    within = str(problem.place)
    where = " ".join(part for part in (problem.document, problem.pointer) if part)
    return f"{where} ({within})" if where and within else where or within
