"""Which value a job's parameter gets: the nearest source that knows it wins."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from .dates import Dates
from .expansion import Expansion
from .plan import CommandJob, Parameter, values_of
from .secret_values import without_secrets
from .topology import Topology, Unit


class ValueSource(StrEnum):
    """Where a value comes from; the first of these that has one wins."""

    GIVEN = "given"
    """When the job was submitted by hand."""
    CONTEXT = "context"
    """Set on the running instance for the job's context, or for one above it."""
    INSTANCE = "instance"
    """Set on the running instance, or given when it was started."""
    FILE = "source"
    """The dashboard's parameter source for the plan."""
    PLAN = "plan"
    """The default of the job's context, or of the nearest one above it that has one."""
    JOB = "job"
    """The default of the job's template."""


class KnownValues(msgspec.Struct, frozen=True):
    """What is known of parameters beside the plan, as it was written: expressions are calculated later."""

    of_instance: Mapping[str, str] = {}
    of_contexts: Mapping[str, Mapping[str, str]] = {}
    """By the name of the context that they were set for."""
    of_source: Mapping[str, str] = {}
    dates: Dates | None = None


class Resolved(msgspec.Struct, frozen=True):
    """A parameter of a job with the value that an initiation carries now."""

    name: str
    value: str | None = None
    """``None``: nobody gives one."""
    source: ValueSource | None = None
    fault: str | None = None
    """Why its expressions were left as they are written."""
    complete: bool = True
    """Nothing in it that looks like an expression is left."""


class Carried(msgspec.Struct, frozen=True):
    """The parameters of an initiation, and what a person should know of them."""

    values: dict[str, str]
    unset: tuple[str, ...] = ()
    """Declared by the job, and given a value by nobody."""
    unexpanded: tuple[str, ...] = ()
    """With something left in them that looks like an expression."""


_NOTHING = Carried(values={})


def parameters_for(
    topology: Topology, unit: Unit, context: str, known: KnownValues, given: Mapping[str, str]
) -> Carried:
    """What an initiation carries: the parameters that the job declares, in its order, then others given."""
    found = resolve(topology, unit, context, known, given)
    if not found:
        return _NOTHING
    return Carried(
        values={each.name: each.value for each in found if each.value is not None},
        unset=tuple(each.name for each in found if each.value is None),
        unexpanded=tuple(each.name for each in found if not each.complete),
    )


def resolve(
    topology: Topology, unit: Unit, context: str, known: KnownValues, given: Mapping[str, str]
) -> list[Resolved]:
    """Each parameter of a job in one of its contexts, with its value and where that comes from."""
    declared: tuple[Parameter, ...] = unit.job.parameters if isinstance(unit.job, CommandJob) else ()
    if not declared and not given:
        return []
    names = dict.fromkeys((*(each.name for each in declared), *given))
    return _Lookup(topology, context, known, given, declared).resolved(names)


def parameters_of_instance(topology: Topology, known: KnownValues) -> dict[str, str]:
    """What is known in the instance as a whole, such as where file watchers look; without any secrets."""
    names = dict.fromkeys((*topology.defaults[0], *known.of_source, *known.of_instance))
    lookup = _Lookup(topology, topology.contexts[0].name, known, {}, ())
    found = lookup.resolved(names)
    return without_secrets({each.name: each.value for each in found if each.value is not None})


class _Lookup:
    """The sources of one job's values, nearest first."""

    def __init__(
        self,
        topology: Topology,
        context: str,
        known: KnownValues,
        given: Mapping[str, str],
        declared: Iterable[Parameter],
    ) -> None:
        around = topology.around(context)
        self._layers: list[tuple[ValueSource, Mapping[str, str]]] = [(ValueSource.GIVEN, given)]
        if known.of_contexts:
            names = [topology.contexts[index].name for index in around]
            self._layers += [(ValueSource.CONTEXT, known.of_contexts.get(name, {})) for name in names]
        self._layers += [(ValueSource.INSTANCE, known.of_instance), (ValueSource.FILE, known.of_source)]
        self._layers += [(ValueSource.PLAN, topology.defaults[index]) for index in around]
        self._layers += [(ValueSource.JOB, values_of(declared))]
        self._layers = [layer for layer in self._layers if layer[1]]
        self._dates = known.dates

    def resolved(self, names: Iterable[str]) -> list[Resolved]:
        expansion = Expansion(self._find, self._dates)
        found = []
        for name in names:
            value = expansion.value(name)
            if value is None:
                found.append(Resolved(name))
            else:
                found.append(
                    Resolved(name, value.text, self._source(name), fault=value.fault, complete=value.complete)
                )
        return found

    def _find(self, name: str) -> str | None:
        for _, values in self._layers:
            if name in values:
                return values[name]
        return None

    def _source(self, name: str) -> ValueSource | None:
        return next((source for source, values in self._layers if name in values), None)
