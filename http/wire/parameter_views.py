"""The parameters of a job as clients see them: what an initiation would carry now, secrets covered."""

import msgspec

from ...domain.instance import InstanceState
from ...domain.parameters import resolve
from ...domain.secret_values import shown
from ...domain.topology import Unit


class ParameterView(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a job as an initiation would carry it now."""

    name: str
    value: str | None
    """Its expressions calculated; a secret is covered; ``null``: nobody gives it one."""
    source: str | None
    """Where the value comes from: context, instance, source, plan or job."""
    fault: str | None
    """Why its expressions stay as they are."""


def parameter_views(state: InstanceState, unit: Unit, context: str) -> tuple[ParameterView, ...]:
    """The parameters of a job in one of its contexts, in the order in which it declares them."""
    return tuple(
        ParameterView(
            name=each.name,
            value=None if each.value is None else shown(each.name, each.value),
            source=None if each.source is None else each.source.value,
            fault=each.fault,
        )
        for each in resolve(state.topology, unit, context, state.known_values, {})
    )
