"""Which value a job's parameter gets: the nearest source that knows it wins."""

from collections.abc import Mapping

from .plan import CommandJob, Parameter
from .topology import NOWHERE, Topology, Unit


def parameters_for(
    topology: Topology, unit: Unit, of_instance: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """The parameters an initiation carries.

    First match wins: given when the job was submitted, set on the instance, of the unit's context and those
    above it, the default of the job's template. A declared parameter that nobody values is left out.
    """
    declared: tuple[Parameter, ...] = unit.job.parameters if isinstance(unit.job, CommandJob) else ()
    values = {each.name: value for each in declared if (value := _own(each)) is not None}
    for scope in _scopes(topology, unit):
        for each in scope:
            if (value := _own(each)) is not None:
                values[each.name] = value
    values.update(of_instance)
    values.update(given)
    return values


def _scopes(topology: Topology, unit: Unit) -> list[tuple[Parameter, ...]]:
    """The parameters of the contexts from the root down to the first that lists the job."""
    scopes = []
    index = topology.context_index[unit.contexts[0]]
    while index != NOWHERE:
        scopes.append(topology.context_parameters[index])
        index = topology.contexts[index].parent
    return scopes[::-1]


def _own(parameter: Parameter) -> str | None:
    return parameter.value if parameter.value is not None else parameter.default


def parameters_of_instance(topology: Topology, of_instance: Mapping[str, str]) -> dict[str, str]:
    """What holds for every job of the instance: the plan's own parameters and those set on the instance."""
    values = {
        each.name: value for each in topology.context_parameters[0] if (value := _own(each)) is not None
    }
    return {**values, **of_instance}
