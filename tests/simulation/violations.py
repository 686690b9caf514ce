"""What ends a simulation."""

from typing import Any


class Violation(AssertionError):
    """Something that must never be."""

    world: Any = None
