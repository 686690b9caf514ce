"""The rules of job locks once more, as slowly and plainly as they can be said: with two lists."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    ticket: int
    lock: str
    instance: int
    count: int


@dataclass
class LockOracle:
    counts: dict[str, int] = field(default_factory=dict)
    exclusive: set[str] = field(default_factory=set)
    holding: list[Asked] = field(default_factory=list)
    waiting: list[Asked] = field(default_factory=list)

    def define(self, lock: str, count: int, *, exclusive: bool) -> None:
        self.counts[lock] = count
        (self.exclusive.add if exclusive else self.exclusive.discard)(lock)

    def let_go(self, tickets: set[int]) -> None:
        self.holding = [each for each in self.holding if each.ticket not in tickets]
        self.waiting = [each for each in self.waiting if each.ticket not in tickets]

    def may_have(self, asked: Asked) -> bool:
        earlier = [each for each in self.waiting if each.ticket < asked.ticket]
        if any(each.lock == asked.lock or each.lock in self.exclusive for each in earlier):
            return False
        if asked.lock in self.exclusive:
            return not self.holding
        if any(each.lock in self.exclusive for each in self.holding):
            return False
        taken = [each.count for each in self.holding if each.lock == asked.lock]
        return not taken or sum(taken) + asked.count <= self.counts[asked.lock]

    def grant(self) -> list[int]:
        """Grant all that may be, and tell the tickets in the order in which they were."""
        granted = []
        while (found := next(filter(self.may_have, self.waiting), None)) is not None:
            self.waiting.remove(found)
            self.holding.append(found)
            granted.append(found.ticket)
        return granted
