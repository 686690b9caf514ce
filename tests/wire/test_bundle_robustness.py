"""Bundles from strangers: whatever the bytes, they are read, or refused in words."""

import io
import json
import stat
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.http.wire import zip_files
from jobledger.http.wire.bundles import (
    Bundle,
    read_json,
    read_plan_file,
    read_zip,
    write_tokenised_zip,
    write_zip,
)
from jobledger.http.wire.documents import WireError
from wire_fixtures import files_in, real_document, zip_of
from wire_strategies import json_values, unhurried

PLAN = {"context/plan.json": b'{"name": "plan"}'}


def read_or_refused(read: Callable[[], Bundle]) -> None:
    try:
        found = read()
    except WireError as error:
        if error.problems:
            return
        raise
    assert read_zip(write_zip(found.plan, found.documents, 0)).plan == found.plan


@given(st.binary(max_size=200))
@unhurried
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    read_or_refused(lambda: read_zip(raw))
    read_or_refused(lambda: read_json(raw))
    read_or_refused(lambda: read_plan_file(raw.decode(errors="replace")))


@given(st.text(max_size=200))
@unhurried
def test_any_text_as_a_plan_file_is_read_or_refused(text: str) -> None:
    read_or_refused(lambda: read_plan_file(text))


@given(json_values)
@unhurried
def test_any_json_is_read_or_refused(value: object) -> None:
    raw = json.dumps(value).encode()
    read_or_refused(lambda: read_json(raw))
    read_or_refused(lambda: read_plan_file(raw.decode()))


@given(json_values, st.lists(json_values, max_size=2))
@unhurried
def test_any_json_as_a_plan_with_any_jobs_is_read_or_refused(root: object, jobs: list[object]) -> None:
    if isinstance(root, dict):
        root = root | {"name": "plan"}
    read_or_refused(lambda: read_json(json.dumps({"contextTemplate": root, "schedulerJobs": jobs}).encode()))


@given(st.data())
@unhurried
def test_a_real_bundle_with_a_few_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(real_document("MyFirstJobPlan.zip"))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read_or_refused(lambda: read_zip(bytes(raw)))


@given(st.integers(0, 8475))
@unhurried
def test_a_real_bundle_that_was_cut_short_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        read_zip(real_document("MyFirstJobPlan.zip")[: length - 1])


@given(st.data())
@unhurried
def test_a_real_bundle_with_a_value_of_anything_is_read_or_refused(data: st.DataObject) -> None:
    files = files_in(real_document("MyFirstJobPlan.zip"))
    path = data.draw(st.sampled_from(sorted(files)))
    value = json.loads(files[path])
    inner = value
    while isinstance(inner, dict | list) and inner:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], dict | list) or data.draw(st.booleans()):
            inner[key] = data.draw(json_values)
            break
        inner = inner[key]
    files[path] = json.dumps(value).encode()
    read_or_refused(lambda: read_zip(zip_of(files)))


# --- zips that mean harm ------------------------------------------------------------------------------------


def zip_with(name: str, *, mode: int = 0o100644, content: bytes = b"{}") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1-plan/context/plan.json", PLAN["context/plan.json"])
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        entry.external_attr = mode << 16
        archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    ["../x.json", "1-plan/../../x", "/etc/passwd", "C:/x", "1-plan\\jobs\\x", "1-plan//x", "1-plan/./x"],
)
def test_a_path_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(WireError) as refused:
        read_zip(zip_with(name))
    assert [problem.document for problem in refused.value.problems] == [name]


def test_a_symbolic_link_is_refused() -> None:
    with pytest.raises(WireError, match="symbolic link"):
        read_zip(zip_with("1-plan/jobs/internal/x.json", mode=stat.S_IFLNK | 0o777, content=b"/etc/passwd"))


def test_a_file_that_unpacks_to_too_much_is_refused() -> None:
    bomb = zip_of(PLAN | {"profiles/x.json": b"\0" * (zip_files.MAX_FILE_BYTES + 1)})
    assert len(bomb) < 100_000
    with pytest.raises(WireError, match="unpacks to more"):
        read_zip(bomb)


def test_files_that_together_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_files, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(WireError, match="unpacks to more"):
        read_zip(zip_of(PLAN | {f"profiles/{number}.json": b"x" * 300 for number in range(4)}))


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_files, "MAX_FILES", 3)
    with pytest.raises(WireError, match="more than 3 files"):
        read_zip(zip_of(PLAN | {f"profiles/{number}.json": b"" for number in range(4)}))


def test_a_size_that_the_zip_lies_about_is_not_believed() -> None:
    raw = bytearray(zip_of(PLAN | {"profiles/x.json": b"y" * 100_000}))
    central = raw.rindex(b"PK\x01\x02")
    raw[central + 24 : central + 28] = (10).to_bytes(4, "little")
    try:
        found = read_zip(bytes(raw))
    except WireError:
        return
    assert len(found.documents["profiles/x.json"]) <= 10


def test_two_files_of_one_name_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1/context/plan.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("1/context/plan.json", b'{"name": "other"}')
    with pytest.raises(WireError, match="two files of this name"):
        read_zip(buffer.getvalue())


def test_an_encrypted_file_is_refused() -> None:
    raw = bytearray(zip_of(PLAN))
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(WireError, match="encrypted"):
        read_zip(bytes(raw))


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_packed_in_an_unusual_way_is_refused(packing: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        archive.writestr("1/context/plan.json", b"{}")
    with pytest.raises(WireError, match="deflate"):
        read_zip(buffer.getvalue())


def test_a_zip_without_a_top_folder_and_one_with_foreign_files_are_read() -> None:
    assert read_zip(zip_of(PLAN, top="")).documents == PLAN
    mac = zip_of(PLAN | {"jobs/internal/.DS_Store": b"\0"})
    with zipfile.ZipFile(buffer := io.BytesIO(mac), "a") as archive:
        archive.writestr("__MACOSX/1-plan/context/._plan.json", b"\0")
    assert set(read_zip(buffer.getvalue()).documents) == {"context/plan.json", "jobs/internal/.DS_Store"}


def test_a_zip_with_two_top_folders_is_refused() -> None:
    with pytest.raises(WireError, match="one top folder"):
        read_zip(zip_of({"a/context/plan.json": b"{}", "b/context/plan.json": b"{}"}, top=""))


@pytest.mark.parametrize("at", [0, 1, 4_000_000_000_000, 253_402_300_799_999])
def test_a_zip_can_be_written_at_any_time_that_a_clock_may_show(at: int) -> None:
    found = read_json(b'{"contextTemplate": {"name": "plan_PROD"}}')
    assert read_zip(write_zip(found.plan, found.documents, at)) == found
    assert write_tokenised_zip(found.plan, found.documents, at)


def test_a_hundred_thousand_files_are_refused_in_a_sentence() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(100_000):
            archive.writestr(zipfile.ZipInfo(f"1/jobs/internal/{number}.json"), b"")
    with pytest.raises(WireError, match="more than 50000 files") as refused:
        read_zip(buffer.getvalue())
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp500"])
def test_a_document_that_is_not_utf_8_is_named(encoding: str) -> None:
    with pytest.raises(WireError) as refused:
        read_zip(zip_of({"context/plan.json": '{"name": "plän"}'.encode(encoding)}))
    assert [problem.document for problem in refused.value.problems] == ["context/plan.json"]
    with pytest.raises(WireError, match="no JSON"):
        read_zip(zip_of({"context/plan.json": '{"name": "plän"}'.encode("latin-1")}))


def test_a_file_name_that_says_utf_8_and_is_not_is_refused() -> None:
    raw = zip_of(PLAN | {"profiles/ü.json": b"{}"})
    with pytest.raises(WireError):
        read_zip(raw.replace("ü".encode(), b"\xff\xfe"))


def test_files_that_share_their_bytes_are_refused_or_read_within_the_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A zip whose directory names the same bytes a thousand times unpacks to a thousand times as much."""
    monkeypatch.setattr(zip_files, "MAX_TOTAL_BYTES", 10_000)
    raw = zip_of({"a.json": b"x" * 1000}, top="")
    start = raw.index(b"PK\x01\x02")
    end = raw.rindex(b"PK\x05\x06")
    entry, tail = raw[start:end], bytearray(raw[end:])
    names = [f"{number:06}".encode() for number in range(1000)]
    directory = b"".join(entry.replace(b"a.json", name) for name in names)
    tail[8:10] = tail[10:12] = len(names).to_bytes(2, "little")
    tail[12:16] = len(directory).to_bytes(4, "little")
    with pytest.raises(WireError):
        read_zip(raw[:start] + directory + bytes(tail))


def test_a_zip_within_a_zip_is_only_a_file() -> None:
    inner = zip_of(PLAN)
    assert read_zip(zip_of(PLAN | {"profiles/x.zip": inner})).documents["profiles/x.zip"] == inner


def test_a_real_bundle_cut_at_any_byte_is_refused_over_and_over_alike() -> None:
    raw = zip_of(PLAN)
    told = set()
    for length in range(len(raw)):
        with pytest.raises(WireError) as refused:
            read_zip(raw[:length])
        told.add(str(refused.value).partition(":")[0])
    assert told == {"this is no zip that can be read"}
