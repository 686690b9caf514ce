"""What the dashboard answers when it cannot do as asked; each is one sentence that says what is wrong."""

from ...domain.commands import Refused


class UnknownName(LookupError):
    """No plan, instance, context, job, agent or actor has the name that was given."""

    def __str__(self) -> str:
        return str(self.args[0])


class NotPermitted(RuntimeError):
    """The state of things does not allow the command now."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class KeyReused(ValueError):
    """An idempotency key came again with another request."""
