"""A frozen, ordered set of tickets: numbers from 0, of which sets share all that they have in common.

Numbers are bits of words, words with any bit set are bits of the words above them, and so on to a single
word. Adding, removing and finding the least number look at one word on each level; there is one level more
for 64 times the greatest number in the set. Equal sets are equal values, whatever they went through.
"""

from collections.abc import Iterable, Iterator

import msgspec
from immutables import Map

_BITS = 6
_BIT_MASK = (1 << _BITS) - 1

_Words = Map[int, int]
_NO_WORDS: _Words = Map()


class TicketSet(msgspec.Struct, frozen=True):
    """Tickets in order; ``EMPTY`` is the one without any."""

    _levels: tuple[_Words, ...] = (_NO_WORDS,)
    """Words by number, those without a bit left out; from the numbers themselves up to a single word."""

    def first(self) -> int | None:
        """The least; ``None`` of the empty set."""
        if not self._levels[0]:
            return None
        number = 0
        for words in reversed(self._levels):
            word = words[number]
            number = number << _BITS | (word & -word).bit_length() - 1
        return number

    def adding(self, ticket: int) -> "TicketSet":
        """The set with that ticket in it; ``ValueError`` if it is below 0."""
        if ticket < 0:
            raise ValueError(f"{ticket} is no ticket")
        levels = list(self._levels)
        while ticket >> _BITS * len(levels):
            levels.append(Map({0: 1}) if levels[0] else _NO_WORDS)
        number = ticket
        for height, words in enumerate(levels):
            number, bit = number >> _BITS, 1 << (number & _BIT_MASK)
            word = words.get(number, 0)
            if word & bit:
                break
            levels[height] = words.set(number, word | bit)
            if word:
                break
        return TicketSet(tuple(levels))

    def removing(self, ticket: int) -> "TicketSet":
        """The set without that ticket."""
        if ticket not in self:
            return self
        levels = list(self._levels)
        number = ticket
        for height, words in enumerate(levels):
            number, bit = number >> _BITS, 1 << (number & _BIT_MASK)
            word = words[number] & ~bit
            if word:
                levels[height] = words.set(number, word)
                break
            levels[height] = words.delete(number)
        while len(levels) > 1 and levels[-1].get(0, 0) in {0, 1}:
            levels.pop()
        return TicketSet(tuple(levels))

    def number_below(self, ticket: int) -> int:
        """How many are less than that ticket; looks at every word, as ``len`` does."""
        words = self._levels[0]
        last, bits = ticket >> _BITS, (1 << (ticket & _BIT_MASK)) - 1
        below = sum(word.bit_count() for number, word in words.items() if number < last)
        return below + (words.get(last, 0) & bits).bit_count()

    def __contains__(self, ticket: int) -> bool:
        return ticket >= 0 and bool(self._levels[0].get(ticket >> _BITS, 0) >> (ticket & _BIT_MASK) & 1)

    def __bool__(self) -> bool:
        return bool(self._levels[0])

    def __len__(self) -> int:
        """Counted by looking at every word: a 64th of the tickets at best."""
        return sum(word.bit_count() for word in self._levels[0].values())

    def __iter__(self) -> Iterator[int]:
        """The tickets from the least to the greatest."""
        words = self._levels[0]
        for number in sorted(words):
            word = words[number]
            while word:
                yield number << _BITS | (word & -word).bit_length() - 1
                word &= word - 1

    @classmethod
    def of(cls, tickets: Iterable[int]) -> "TicketSet":
        """The set of those tickets."""
        found = EMPTY
        for ticket in tickets:
            found = found.adding(ticket)
        return found


EMPTY = TicketSet()
