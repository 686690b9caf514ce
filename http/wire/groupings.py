"""Dependencies and their groupings from and to JSON."""

from collections.abc import Callable
from typing import TypeAlias

from ...domain.plan import Dependency, Grouping, JobIdentifier, Member
from ...domain.problems import Place
from .documents import Fields, Reader, kind_of
from .job_templates import JsonObject

Resolve: TypeAlias = Callable[[JobIdentifier], JobIdentifier]
"""From an identifier as a document has it to the one that the job's agent and name make."""

_LISTS = ("and", "or", "not")


def read_dependencies(reader: Reader, resolve: Resolve) -> tuple[Dependency, ...]:
    """The dependencies of a context, each only once."""
    found = []
    for each in reader.objects("jobDependencies"):
        dependant = resolve(each.required_text("jobIdentifier"))
        each.place = Place(each.place.context, dependant or None)
        found.append(Dependency(dependant, _read_grouping(each.object("logicalGrouping"), resolve)))
    return tuple(dict.fromkeys(found))


def _read_grouping(reader: Reader | None, resolve: Resolve) -> Grouping | None:
    if reader is None:
        return None
    grouping = Grouping(
        all_of=_read_members(reader, "and", resolve),
        any_of=_read_members(reader, "or", resolve),
        none_of=_read_members(reader, "not", resolve),
        nested=_read_grouping(reader.object("logicalGrouping"), resolve),
    )
    return None if grouping == Grouping() else grouping


def _read_members(reader: Reader, name: str, resolve: Resolve) -> tuple[Member, ...]:
    members: list[Member] = []
    for index, value in enumerate(reader.items(name)):
        if isinstance(value, str):
            members.append(resolve(value))
        elif isinstance(value, Fields):
            member = _read_member(reader.within(value, f"{name}/{index}"), resolve)
            if member is not None:
                members.append(member)
        elif value is not None:
            reader.flaw_at(name, index, f"give an identifier or an object, not {kind_of(value)}")
    return tuple(members)


def _read_member(reader: Reader, resolve: Resolve) -> Member | None:
    """A job, a grouping, or both: then both are required."""
    identifier = reader.optional_text("identifier")
    if any(reader.fields.get(name) is not None for name in _LISTS):
        nested = _read_grouping(reader, resolve)
    else:
        nested = _read_grouping(reader.object("logicalGrouping"), resolve)
    if identifier is None:
        if nested is None:
            reader.flaw("", "a member needs an identifier or a logicalGrouping that is not empty")
        return nested
    if nested is None:
        return resolve(identifier)
    return Grouping(all_of=(resolve(identifier),), nested=nested)


def dependency_fields(dependency: Dependency) -> JsonObject:
    """The dependency as a JSON object in the wire's words."""
    fields: JsonObject = {"jobIdentifier": dependency.dependant}
    if dependency.grouping is not None:
        fields["logicalGrouping"] = _grouping_fields(dependency.grouping)
    return fields


def _grouping_fields(grouping: Grouping) -> JsonObject:
    fields: JsonObject = {}
    for name, members in zip(_LISTS, (grouping.all_of, grouping.any_of, grouping.none_of), strict=True):
        if members:
            fields[name] = [_member_fields(each) for each in members]
    if grouping.nested is not None:
        fields["logicalGrouping"] = _grouping_fields(grouping.nested)
    return fields


def _member_fields(member: Member) -> JsonObject:
    if isinstance(member, Grouping):
        return {"logicalGrouping": _grouping_fields(member)}
    return {"identifier": member}
