"""What has to be true of jobs for a grouping to hold: needs, joined by "every" and "some" alone."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from .plan import Grouping, JobIdentifier, Member


class Need(NamedTuple):
    """A job must be satisfied, or must not be."""

    job: int
    satisfied: bool


class Every(NamedTuple):
    """All of the parts must be true."""

    parts: tuple["Condition", ...]


class Some(NamedTuple):
    """One of the parts must be true; of none, none can."""

    parts: tuple["Condition", ...]


Condition: TypeAlias = Need | Every | Some
ALWAYS = Every(())
NEVER = Some(())

Numbered: TypeAlias = Callable[[JobIdentifier], int | None]
"""The number of a job; ``None`` for one that is not known, which stands in nobody's way."""


def condition_of(member: Member, number_of: Numbered) -> Condition:
    """What must be true for it to hold."""
    if not isinstance(member, Grouping):
        return _need(member, number_of, satisfied=True)
    if not (member.all_of or member.any_of or member.nested):
        return NEVER
    parts = [_contrary(each, number_of) for each in dict.fromkeys(member.none_of)]
    if member.all_of or member.any_of:
        ways = [condition_of(each, number_of) for each in dict.fromkeys(member.any_of)]
        if member.all_of:
            ways.append(Every(tuple(condition_of(each, number_of) for each in dict.fromkeys(member.all_of))))
        parts.append(one_of(ways))
    if member.nested is not None:
        parts.append(condition_of(member.nested, number_of))
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def one_of(conditions: list[Condition]) -> Condition:
    """True when one of them is."""
    return conditions[0] if len(conditions) == 1 else Some(tuple(conditions))


def size(condition: Condition) -> int:
    """Of how many parts it consists."""
    return 1 if isinstance(condition, Need) else 1 + sum(map(size, condition.parts))


def _contrary(member: Member, number_of: Numbered) -> Condition:
    """What must be true for it not to hold."""
    if not isinstance(member, Grouping):
        return _need(member, number_of, satisfied=False)
    if not (member.all_of or member.any_of or member.nested):
        return ALWAYS
    ways = [condition_of(each, number_of) for each in member.none_of]
    if member.all_of or member.any_of:
        parts = [_contrary(each, number_of) for each in member.any_of]
        if member.all_of:
            parts.append(one_of([_contrary(each, number_of) for each in member.all_of]))
        ways.append(Every(tuple(parts)))
    if member.nested is not None:
        ways.append(_contrary(member.nested, number_of))
    return one_of(ways)


def _need(job: JobIdentifier, number_of: Numbered, *, satisfied: bool) -> Condition:
    number = number_of(job)
    return ALWAYS if number is None else Need(number, satisfied)
