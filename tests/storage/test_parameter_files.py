"""Parameter files: what is read from them, what is passed over with a warning, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.storage.parameter_files import (
    LARGEST_BYTES,
    ParameterFileUnusable,
    Stamp,
    read_parameters,
    read_plan_sources,
    read_properties,
    stamp_of,
)


def test_properties_are_lines_with_remarks_between_them() -> None:
    found = read_properties(
        "# a remark\n"
        "\n"
        "  ! another\n"
        "REGION=north\n"
        "  URL = jdbc:x?a=b#c  \n"
        "EMPTY=\n"
        "SPACED = a  b \n"
        "WINDOWS=C:\\\\data\\new\r\n"
        "LAST=${REGION}"
    )
    assert found.values == {
        "REGION": "north",
        "URL": "jdbc:x?a=b#c",
        "EMPTY": "",
        "SPACED": "a  b",
        "WINDOWS": "C:\\\\data\\new",
        "LAST": "${REGION}",
    }
    assert found.warnings == ()


def test_malformed_lines_are_passed_over_and_the_last_of_a_name_counts() -> None:
    found = read_properties("hunter2\nA=1\n=3\nA=2\n")
    assert found.values == {"A": "2"}
    assert found.warnings == (
        "line 1 is not NAME=VALUE and is passed over",
        "line 3 is not NAME=VALUE and is passed over",
        "line 4 gives A a value again, which is the one that counts",
    )


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"))).map(str.strip)


@given(st.dictionaries(names, values))
def test_what_is_written_line_by_line_is_read(parameters: dict[str, str]) -> None:
    text = "".join(f"{name}={value}\n" for name, value in parameters.items())
    assert read_properties(text).values == parameters


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert isinstance(read_properties(text).values, dict)


def test_toml_gives_texts_numbers_and_dates_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "eod.toml"
    file.write_text('A = "x"\nB = 1.50\nC = 7\nD = true\nE = 2026-03-31\n"F.G" = """two\nlines"""\n')
    assert read_parameters(file).values == {
        "A": "x",
        "B": "1.50",
        "C": "7",
        "D": "true",
        "E": "2026-03-31",
        "F.G": "two\nlines",
    }


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.toml", b'A = "hunter2', "look at end of document"),
        ("a.toml", b'A = "x"\nB = hunter2\n', "look at line 2, column"),
        ("a.toml", b"[A]\nB = 1\n", "A is a list or a table"),
        ("a.toml", b"A = [1]\n", "A is a list or a table"),
        ("a.properties", b"A=\xff\xfe", "not in UTF-8"),
        ("a.properties", b"#" * (LARGEST_BYTES + 1), "more than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused_without_quoting_it(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ParameterFileUnusable, match=told) as refused:
        read_parameters(file)
    assert name in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.properties", tmp_path):
        with pytest.raises(ParameterFileUnusable, match="cannot be read"):
            read_parameters(path)
    assert stamp_of(tmp_path / "none.properties") == Stamp()


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    file = tmp_path / "a.properties"
    file.write_bytes(b"\xef\xbb\xbfA=1\n")
    assert read_parameters(file).values == {"A": "1"}


def test_the_sources_of_plans_begin_where_the_file_is(tmp_path: Path) -> None:
    file = tmp_path / "parameters.toml"
    file.write_text(
        'eod = "files/eod.properties"\n"month end" = "/etc/month.toml"\nup = "../up.properties"\n'
    )
    assert read_plan_sources(file) == {
        "eod": tmp_path / "files/eod.properties",
        "month end": Path("/etc/month.toml"),
        "up": tmp_path.parent / "up.properties",
    }
    file.write_text("eod = 5\n")
    with pytest.raises(ParameterFileUnusable, match="give plan eod the name of a file"):
        read_plan_sources(file)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    for name in ("a.toml", "a.properties"):
        file = tmp_path_factory.getbasetemp() / name
        file.write_bytes(content)
        try:
            read_parameters(file)
        except ParameterFileUnusable:
            continue
