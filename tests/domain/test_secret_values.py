"""Which values nobody may read, and how they are shown."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.facts import InstanceStarted, JobInitiated, PlanPushed
from jobledger.domain.plan import CommandJob, Context, JobPlan, Parameter
from jobledger.domain.secret_values import (
    MASK,
    covered,
    has_broken_token,
    is_encrypted,
    is_named_secret,
    masked,
    shown,
    token_of,
    without_secrets,
)

TOKEN = token_of("gAAAAA" + "b" * 94 + "==")


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "DB_PASSWORD",
        "dbPassword",
        "db.passwd",
        "USER_PWD",
        "CLIENT_SECRET",
        "apiKey",
        "API_KEY",
        "api-key",
        "SSH_PRIVATE_KEY",
        "TOKEN",
        "accessToken",
        "CREDENTIALS",
        "passphrase",
    ],
)
def test_names_that_end_like_those_of_secrets_are_known(name: str) -> None:
    assert is_named_secret(name)
    assert shown(name, "x") == MASK
    assert shown(name, "") == "", "nothing is no secret"


@pytest.mark.parametrize("name", ["SECRETARY", "TOKEN_COUNT", "PASSWORD_FILE", "KEY", "MONKEY", "region"])
def test_other_names_are_not(name: str) -> None:
    assert not is_named_secret(name)
    assert shown(name, "x") == "x"


@pytest.mark.parametrize(
    ("value", "whole", "broken"),
    [
        (TOKEN, True, False),
        (f"a{TOKEN}b{TOKEN}c", True, False),
        (f"{TOKEN}{{enc:", True, True),
        (TOKEN[:-1], False, True),
        (TOKEN.replace("b", "*"), False, True),
        ("{enc:short}", False, True),
        ("{ENC:x} enc", False, False),
        ("", False, False),
    ],
)
def test_tokens_are_whole_or_broken(value: str, whole: bool, broken: bool) -> None:
    assert (is_encrypted(value), has_broken_token(value)) == (whole, broken)
    assert (shown("X", value) == MASK) == (whole or broken)


def test_values_of_other_programs_are_covered_too() -> None:
    assert masked({"A": "{cipher}00ff", "B": "ENC(abc)", "C": "plain"}) == {
        "A": MASK,
        "B": MASK,
        "C": "plain",
    }
    assert without_secrets({"A": TOKEN, "PASSWORD": "x", "C": "plain"}) == {"C": "plain"}


def seen(fact: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = covered(msgspec.to_builtins(fact))
    return found


def test_facts_are_shown_with_their_secrets_covered_wherever_they_stand() -> None:
    assert seen(
        JobInitiated(job="a-b", initiation=1, agent="a", parameters={"P": f"x{TOKEN}", "Q": "1"})
    ) == {
        "type": "JobInitiated",
        "job": "a-b",
        "initiation": 1,
        "agent": "a",
        "parameters": {"P": MASK, "Q": "1"},
    }
    started = InstanceStarted(
        plan="p", plan_version=1, parameters={"PASSWORD": "x"}, source_parameters={"K": TOKEN}
    )
    assert seen(started)["parameters"] == {"PASSWORD": MASK}
    assert seen(started)["source_parameters"] == {"K": MASK}
    job = CommandJob(
        agent="a", name="b", command_line=f"run {TOKEN}", parameters=(Parameter("PASSWORD", "x", "y"),)
    )
    plan = JobPlan(
        root=Context(name="p", parameters=(Parameter("K", TOKEN), Parameter("L", "1"))), jobs=(job,)
    )
    pushed = seen(PlanPushed(version=1, plan=plan))
    assert pushed["plan"]["root"]["parameters"] == [
        {"name": "K", "default": MASK},
        {"name": "L", "default": "1"},
    ]
    (told,) = pushed["plan"]["jobs"]
    assert told["parameters"] == [{"name": "PASSWORD", "default": MASK, "value": MASK}]
    assert told["command_line"] == f"run {{enc:{MASK}}}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(TOKEN) | st.just(f"a {TOKEN}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["parameters", "name", "value", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_token_is_left_in_whatever_is_covered_and_nothing_else_is_changed(value: Any) -> None:
    told = repr(covered(value))
    assert "gAAAAA" not in told
    if "gAAAAA" not in repr(value) and "parameters" not in repr(value):
        assert covered(value) == value
