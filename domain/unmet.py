"""What a grouping of jobs lacks before it holds: the parts that matter, and nothing that is met already."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import msgspec

from .plan import Grouping, JobIdentifier, Member
from .possible import can_hold

Satisfied: TypeAlias = Callable[[JobIdentifier], bool]


class AllOf(msgspec.Struct, frozen=True, tag="all_of"):
    """Every part has to come true."""

    parts: tuple["Unmet", ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any_of"):
    """One of the parts has to come true; of none, none can."""

    parts: tuple["Unmet", ...]


class Lacking(msgspec.Struct, frozen=True, tag="lacking"):
    """The job would have to be satisfied, and is not."""

    job: JobIdentifier


class Preventing(msgspec.Struct, frozen=True, tag="preventing"):
    """The job would have to be not satisfied, and is."""

    job: JobIdentifier


Unmet: TypeAlias = AllOf | AnyOf | Lacking | Preventing


class Wait(msgspec.Struct, frozen=True):
    """What one dependency of a job lacks, by the jobs of a context."""

    context: str
    lacks: Unmet


def unmet(grouping: Grouping, satisfied: Satisfied) -> Unmet | None:
    """What would have to change for the grouping to hold; ``None`` if it holds."""
    return _to_hold(grouping, satisfied)


def leaves(part: Unmet) -> Iterator[Lacking | Preventing]:
    """The jobs that are told of, in order, each as often as it is told of."""
    if isinstance(part, AllOf | AnyOf):
        for each in part.parts:
            yield from leaves(each)
    else:
        yield part


def _to_hold(member: Member, satisfied: Satisfied) -> Unmet | None:
    if not isinstance(member, Grouping):
        return None if satisfied(member) else Lacking(member)
    if not (member.all_of or member.any_of or member.nested):
        return AnyOf(())
    parts = [None if member.nested is None else _to_hold(member.nested, satisfied)]
    if member.all_of or member.any_of:
        parts.append(_either_to_hold(member, satisfied))
    parts += [_not_to_hold(each, satisfied) for each in member.none_of]
    return _every(parts)


def _either_to_hold(grouping: Grouping, satisfied: Satisfied) -> Unmet | None:
    ways = [_way(each, satisfied) for each in grouping.any_of]
    if grouping.all_of:
        ways.insert(0, _every(_to_hold(each, satisfied) for each in grouping.all_of))
    return _some(ways)


def _way(member: Member, satisfied: Satisfied) -> Unmet | None:
    """As ``_to_hold``; an alternative that contradicts itself is no way."""
    lacks = _to_hold(member, satisfied)
    impossible = lacks is not None and isinstance(member, Grouping) and not can_hold(member)
    return AnyOf(()) if impossible else lacks


def _not_to_hold(member: Member, satisfied: Satisfied) -> Unmet | None:
    """What would have to change for it to hold no more; ``None`` if it does not hold."""
    if not isinstance(member, Grouping):
        return Preventing(member) if satisfied(member) else None
    if not (member.all_of or member.any_of or member.nested):
        return None
    ways = [] if member.nested is None else [_not_to_hold(member.nested, satisfied)]
    if member.all_of or member.any_of:
        ways.append(_neither_to_hold(member, satisfied))
    ways += [_to_hold(each, satisfied) for each in member.none_of]
    return _some(ways)


def _neither_to_hold(grouping: Grouping, satisfied: Satisfied) -> Unmet | None:
    parts = [_not_to_hold(each, satisfied) for each in grouping.any_of]
    if grouping.all_of:
        parts.insert(0, _some([_not_to_hold(each, satisfied) for each in grouping.all_of]))
    return _every(parts)


def _every(parts: Iterable[Unmet | None]) -> Unmet | None:
    """All of the parts that are not true yet."""
    left = [part for part in parts if part is not None]
    flat = _distinct(one for part in left for one in (part.parts if isinstance(part, AllOf) else (part,)))
    if not flat:
        return None
    return flat[0] if len(flat) == 1 else AllOf(flat)


def _some(ways: Iterable[Unmet | None]) -> Unmet | None:
    """One of the ways, unless one is true already."""
    left = []
    for way in ways:
        if way is None:
            return None
        left.append(way)
    flat = _distinct(one for way in left for one in (way.parts if isinstance(way, AnyOf) else (way,)))
    return flat[0] if len(flat) == 1 else AnyOf(flat)


def _distinct(parts: Iterable[Unmet]) -> tuple[Unmet, ...]:
    return tuple(dict.fromkeys(parts))
