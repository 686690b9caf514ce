"""What is wrong with a plan, as callers are told: every error at once, each with its place."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from ...domain.problems import Problem
from ..wire.documents import WireError, WireProblem
from .errors import FieldError, Refusal

_KIND = "urn:jobledger:problem:plan-invalid"


class Warned(msgspec.Struct, frozen=True):
    """Something in a plan that is allowed and may not be meant."""

    detail: str
    pointer: str = ""
    """Into the plan, by the names of its fields."""
    place: str | UnsetType = UNSET
    """In words: the context and the job."""


def warned(problem: Problem) -> Warned:
    """A warning as it is shown."""
    return Warned(problem.message, problem.pointer, str(problem.place) or UNSET)


def refused_plan(problems: Sequence[Problem], *, status: int, flaws: Sequence[WireProblem] = ()) -> Refusal:
    """The refusal of a plan with these errors among its problems, and with what of it does not even read."""
    told = (*(_of_wire(each) for each in flaws), *(_error(each) for each in problems if each.is_error))
    detail = f"the plan has {len(told)} error{'' if len(told) == 1 else 's'}"
    return Refusal(status, detail, kind=_KIND, errors=told)


def bad_plan(error: WireError, *, status: int) -> Refusal:
    """The refusal of what does not read or cannot be written."""
    return refused_plan((), status=status, flaws=error.problems)


def _error(problem: Problem) -> FieldError:
    return FieldError(problem.message, problem.pointer, str(problem.place) or UNSET)


def _of_wire(problem: WireProblem) -> FieldError:
    place = ", ".join(part for part in (problem.document, str(problem.place)) if part)
    return FieldError(problem.message, problem.pointer, place or UNSET)
