"""Who gave an order, from where and why: part of the facts that follow from it."""

import msgspec

from ...domain.facts import Cause


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The author of an order."""

    by: str = "anonymous"
    source: str = ""
    """The address that the order came from."""
    reason: str | None = None
    key: str | None = None
    """What the author calls the order; an instance obeys orders of one key once."""

    def cause(self, command: str) -> Cause:
        """The cause that facts of this order carry."""
        return Cause(
            command=command, by=self.by, source=self.source or None, reason=self.reason, key=self.key
        )


CLOCK = Origin(by="clock")
"""The author of what happens because its time has come."""

SOURCE = Origin(by="parameter source")
"""The author of what happens because a file with parameters has changed."""
