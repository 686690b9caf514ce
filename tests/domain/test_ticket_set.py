"""An ordered set of tickets is what a sorted list of different numbers is, whatever was done to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.ticket_set import EMPTY, TicketSet

tickets = st.one_of(st.integers(0, 130), st.integers(4090, 4100), st.integers(0, 2**63))
changes = st.lists(st.tuples(st.sampled_from(["add", "remove"]), tickets), max_size=60)


@given(changes)
def test_it_is_what_a_sorted_list_would_be(changes: list[tuple[str, int]]) -> None:
    found, plain = EMPTY, set[int]()
    for what, ticket in changes:
        if what == "add":
            found = found.adding(ticket)
            plain.add(ticket)
        else:
            found = found.removing(ticket)
            plain.discard(ticket)
        assert list(found) == sorted(plain)
        assert found.first() == min(plain, default=None)
        assert (ticket in found) == (ticket in plain)
        assert len(found) == len(plain)
        assert bool(found) == bool(plain)
        assert found.number_below(ticket) == sum(each < ticket for each in plain)


@given(changes)
def test_equal_sets_are_equal_values_whatever_they_went_through(changes: list[tuple[str, int]]) -> None:
    found = EMPTY
    for what, ticket in changes:
        found = found.adding(ticket) if what == "add" else found.removing(ticket)
    assert found == TicketSet.of(sorted(found, reverse=True))


def test_a_set_that_was_changed_is_still_what_it_was() -> None:
    before = TicketSet.of([1, 5000])
    before.adding(2)
    before.removing(5000)
    assert list(before) == [1, 5000]


def test_what_is_below_zero_is_no_ticket() -> None:
    assert -1 not in TicketSet.of([0, 1])
    assert EMPTY.removing(-1) == EMPTY
    with pytest.raises(ValueError, match="-1 is no ticket"):
        EMPTY.adding(-1)
