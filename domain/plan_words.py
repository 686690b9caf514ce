"""What a plan says, in words."""

from typing import Literal, NamedTuple

from .plan import Grouping, Member


class _Phrase(NamedTuple):
    text: str
    joined_by: Literal["and", "or"] | None = None
    """What holds it together, if it is of several parts."""

    def within(self, word: str) -> str:
        """The phrase as a part of a longer one, in brackets if it could be misread there."""
        return self.text if self.joined_by in {None, word} else f"({self.text})"


def condition(grouping: Grouping | None) -> str:
    """When a grouping holds, such as ``(a and b) or c``; empty when there is none."""
    return "" if grouping is None else _phrase(grouping).text


def _phrase(member: Member) -> _Phrase:
    if not isinstance(member, Grouping):
        return _Phrase(member)
    required = [] if member.nested is None else [_phrase(member.nested)]
    every = [_phrase(each) for each in member.all_of]
    if member.any_of:
        choices = [_joined(every, "and")] if every else []
        required.append(_joined([*choices, *(_phrase(each) for each in member.any_of)], "or"))
    else:
        required += every
    refused = [_Phrase(f"not {_phrase(each).within('not')}") for each in member.none_of]
    return _joined([*required, *refused], "and")


def _joined(phrases: list[_Phrase], word: Literal["and", "or"]) -> _Phrase:
    if len(phrases) == 1:
        return phrases[0]
    return _Phrase(f" {word} ".join(phrase.within(word) for phrase in phrases), word)
