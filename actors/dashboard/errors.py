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


class PlanMoved(NotPermitted):
    """A push rests on a plan that is another by now."""

    def __init__(self, plan: str, version: int, *, based_on: int | None = None) -> None:
        rests = "something older" if based_on is None else f"version {based_on}"
        now = f"its newest version is {version}" if version else "there is no such plan"
        super().__init__(Refused(reason=f"plan {plan}: what was pushed rests on {rests}, and {now}"))


class KeyReused(ValueError):
    """An idempotency key came again with another request."""
