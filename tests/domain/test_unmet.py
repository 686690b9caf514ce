"""What a grouping lacks: whoever brings it about makes the grouping hold, and nothing of it is idle."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jobledger.domain.plan import Grouping, Member
from jobledger.domain.unmet import AllOf, AnyOf, Lacking, Preventing, Unmet, leaves, unmet
from oracle import holds

NAMES = ("a", "b", "c", "d", "e")
MEMBERS: st.SearchStrategy[tuple[Member, ...]] = st.lists(st.sampled_from(NAMES), max_size=3).map(tuple)
GROUPINGS = st.recursive(
    st.builds(Grouping, all_of=MEMBERS, any_of=MEMBERS, none_of=MEMBERS),
    lambda inner: st.builds(
        Grouping,
        all_of=st.lists(st.one_of(st.sampled_from(NAMES), inner), max_size=3).map(tuple),
        any_of=st.lists(st.one_of(st.sampled_from(NAMES), inner), max_size=3).map(tuple),
        none_of=st.lists(st.one_of(st.sampled_from(NAMES), inner), max_size=2).map(tuple),
        nested=st.one_of(st.none(), inner),
    ),
    max_leaves=5,
)
DONE = st.frozensets(st.sampled_from(NAMES))


@pytest.mark.parametrize(
    ("grouping", "done", "told"),
    [
        (Grouping(all_of=("a", "b")), "", AllOf((Lacking("a"), Lacking("b")))),
        (Grouping(all_of=("a", "b")), "a", Lacking("b")),
        (Grouping(all_of=("a", "b")), "ab", None),
        (Grouping(any_of=("a", "b")), "", AnyOf((Lacking("a"), Lacking("b")))),
        (Grouping(any_of=("a", "b")), "b", None),
        (Grouping(all_of=("a", "b"), any_of=("c",)), "a", AnyOf((Lacking("b"), Lacking("c")))),
        (Grouping(all_of=("a",), none_of=("b",)), "ab", Preventing("b")),
        (Grouping(all_of=("a",), none_of=("b",)), "b", AllOf((Lacking("a"), Preventing("b")))),
        (Grouping(all_of=("a",), nested=Grouping(any_of=("b", "c"))), "a",
         AnyOf((Lacking("b"), Lacking("c")))),
        (Grouping(nested=Grouping(all_of=("a",))), "", Lacking("a")),
        (Grouping(all_of=("a", "a")), "", Lacking("a")),
        (Grouping(all_of=("a",), none_of=(Grouping(all_of=("b", "c")),)), "abc",
         AnyOf((Preventing("b"), Preventing("c")))),
        (Grouping(all_of=("a",), none_of=(Grouping(any_of=("b", "c")),)), "abc",
         AllOf((Preventing("b"), Preventing("c")))),
        (Grouping(any_of=("a", Grouping(all_of=("b",), none_of=("b",)))), "", Lacking("a")),
    ],
)  # fmt: skip
def test_what_is_lacking_is_told_and_what_is_met_is_not(
    grouping: Grouping, done: str, told: Unmet | None
) -> None:
    assert unmet(grouping, set(done).__contains__) == told


@given(grouping=GROUPINGS, done=DONE)
def test_nothing_is_lacking_exactly_when_the_grouping_holds(grouping: Grouping, done: frozenset[str]) -> None:
    assert (unmet(grouping, done.__contains__) is None) == holds(grouping, done.__contains__)


@given(grouping=GROUPINGS, done=DONE, data=st.data())
def test_whoever_brings_about_what_is_lacking_makes_the_grouping_hold(
    grouping: Grouping, done: frozenset[str], data: st.DataObject
) -> None:
    lacking = unmet(grouping, done.__contains__)
    assume(lacking is not None)
    assert lacking is not None
    wanted, unwanted = set[str](), set[str]()

    def bring_about(part: Unmet) -> None:
        match part:
            case AllOf(parts=parts):
                for each in parts:
                    bring_about(each)
            case AnyOf(parts=parts):
                assume(parts)
                bring_about(data.draw(st.sampled_from(parts)))
            case Lacking(job=job):
                wanted.add(job)
            case Preventing(job=job):
                unwanted.add(job)

    bring_about(lacking)
    # A job that is wanted at one place and unwanted at another may undo at one what it does at the other.
    assume(all(len(set(_signs(grouping, name, positive=True))) < 2 for name in wanted | unwanted))
    after = (done | wanted) - unwanted
    assert holds(grouping, after.__contains__)


def _signs(member: Member, name: str, *, positive: bool) -> list[bool]:
    """For each place at which a job stands, whether the grouping asks for its success."""
    if not isinstance(member, Grouping):
        return [positive] if member == name else []
    inside = [*member.all_of, *member.any_of, *(() if member.nested is None else (member.nested,))]
    found = [sign for each in inside for sign in _signs(each, name, positive=positive)]
    return found + [sign for each in member.none_of for sign in _signs(each, name, positive=not positive)]


@given(grouping=GROUPINGS, done=DONE)
def test_what_is_lacking_is_not_satisfied_and_what_prevents_is(
    grouping: Grouping, done: frozenset[str]
) -> None:
    lacking = unmet(grouping, done.__contains__)
    for leaf in () if lacking is None else leaves(lacking):
        assert (leaf.job in done) == isinstance(leaf, Preventing)


def test_a_join_of_ten_thousand_names_the_one_that_is_missing() -> None:
    names = tuple(f"j{number}" for number in range(10_000))
    assert unmet(Grouping(all_of=names), lambda name: name != "j7777") == Lacking("j7777")
