"""Values of parameters that callers give."""

from collections.abc import Mapping

from ...domain.parameter_validation import value_error
from .errors import FieldError, Refusal


def must_be_usable(parameters: Mapping[str, str], pointer: str) -> None:
    """Refuse values that could never be used, each with its place: dates that cannot be, broken secrets."""
    wrong = [
        FieldError(error, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        for name, value in parameters.items()
        if (error := value_error(value)) is not None
    ]
    if wrong:
        count = "a value" if len(wrong) == 1 else f"{len(wrong)} values"
        raise Refusal(422, f"{count} of parameters can never be used", errors=wrong)
