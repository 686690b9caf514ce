"""Commands from templates: what a token becomes, as a shell understands it."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.http.wire.replacement_tokens import CannotFill, fill

HOSTILE = 'it\'s $(touch /tmp/no) `x` "q" \\ *'


def printed(script: str, **variables: str) -> str:
    """What bash prints for a script with these variables and no others."""
    environment = {"PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run(
        ["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("script", "prints"),
    [
        ("echo @DAY@", "1 2\n"),
        ("echo 'on @DAY@'", "on 1  2\n"),
        ('echo "on @DAY@"', "on 1  2\n"),
        ("echo $'on\\t@DAY@\\''", "on\t1  2'\n"),
        ("echo don\\'t '@DAY@'", "don't 1  2\n"),
        ("# don't\necho '@DAY@'", "1  2\n"),
        ("echo \"$(echo '@DAY@')\" '@DAY@'", "1  2 1  2\n"),
        ("echo \"`echo '@DAY@'`\" '@DAY@'", "1  2 1  2\n"),
        ("(echo '@DAY@')", "1  2\n"),
        ("echo $((1 + 1)) '@DAY@'", "2 1  2\n"),
        ("cat <<END\nit's @DAY@\nEND\necho '@DAY@'", "it's 1  2\n1  2\n"),
        ("cat <<-END\n\tit's @DAY@\n\tEND\necho '@DAY@'", "it's 1  2\n1  2\n"),
        ("cat <<< '@DAY@'", "1  2\n"),
        ("echo a#'@DAY@'", "a#1  2\n"),
        ("echo '@DAYS@' '@DAY@'", "7 1  2\n"),
    ],
)
def test_a_token_has_its_value_wherever_it_stands(script: str, prints: str) -> None:
    filled = fill(script, {"@DAY@": "day", "@DAYS@": "days"}, None)
    assert printed(filled, day="1  2", days="7") == prints


@given(st.text(st.sampled_from("ab '\"\\$`()"), max_size=8), st.sampled_from(("'{}'", '"{}"')))
@settings(deadline=None, max_examples=60)
def test_a_value_is_data_whatever_it_holds(value: str, quotes: str) -> None:
    filled = fill(f"printf %s {quotes.format('<@T@>')}", {"@T@": "T"}, "/bin/bash|-c")
    assert printed(filled, T=value) == f"<{value}>"


def test_a_value_that_looks_like_a_command_is_not_run() -> None:
    assert printed(fill("printf %s '@T@'", {"@T@": "T"}, None), T=HOSTILE) == HOSTILE


def test_longer_tokens_go_first_and_what_was_put_in_is_not_looked_at_again() -> None:
    names = {"T": "TT", "TT": "T", "$": "D"}
    assert fill("T TT $", names, None) == "${TT} ${T} ${D}"


@pytest.mark.parametrize(
    ("shell", "filled"),
    [
        ("cmd.exe|/c", "run %day%"),
        ("C:\\Windows\\System32\\cmd.EXE|/c", "run %day%"),
        ("powershell.exe|-Command", "run ${env:day}"),
        ("/usr/bin/zsh|-c", "run ${day}"),
        ("", "run ${day}"),
    ],
)
def test_each_shell_has_its_own_way_to_write_a_variable(shell: str, filled: str) -> None:
    assert fill("run @DAY@", {"@DAY@": "day"}, shell) == filled


def test_what_is_no_shell_cannot_be_filled_for() -> None:
    with pytest.raises(CannotFill, match="'python3' is no shell"):
        fill("print('@DAY@')", {"@DAY@": "day"}, "python3|-c")
    assert fill("print(1)", {"@DAY@": "day"}, "python3|-c") == "print(1)"


def test_a_token_behind_a_backslash_is_refused() -> None:
    for script in ("echo \\@DAY@", 'echo "\\@DAY@"', "echo $'\\@DAY@'"):
        with pytest.raises(CannotFill, match="behind a backslash"):
            fill(script, {"@DAY@": "day"}, None)
    assert fill("echo '\\@DAY@'", {"@DAY@": "day"}, None) == "echo '\\'\"${day}\"''"


def test_a_document_in_which_the_shell_fills_nothing_is_refused() -> None:
    for quoted in ("'END'", '"END"', "\\END"):
        script = f"cat <<{quoted}\n@DAY@\nEND\n"
        with pytest.raises(CannotFill, match="write <<END without quotes"):
            fill(script, {"@DAY@": "day"}, None)
        assert fill(script, {"@WEEK@": "week"}, None) == script


@given(st.text(st.sampled_from("'\"\\$`()#<E\n @T"), max_size=40))
@settings(max_examples=300)
def test_any_script_can_be_filled_and_without_its_tokens_is_as_it_was(script: str) -> None:
    assert fill(script, {"@never@": "x"}, None) == script
    try:
        filled = fill(script, {"@T": "T"}, None)
    except CannotFill:
        return
    assert filled.count("${T}") == script.count("@T")
