"""What a marker says, whatever is in it: a command is never started because its marker is odd."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.actors.agent import launcher_process
from jobledger.actors.agent.launcher_process import (
    KILL,
    MARKER_BYTES,
    RESULT,
    STARTED,
    Place,
    encode_record,
    record_body,
    write_record,
)
from jobledger.actors.agent.markers import (
    CouldNotStart,
    Ended,
    NotStarted,
    OutcomeUnknown,
    ProcessIdentity,
    Recovered,
    Running,
    Started,
    classify,
    initiation_ids,
    marker_path,
    request_kill,
    safe_name,
)

ENDED = {"type": "Ended", "return_code": 3, "completed_at": 20, "timed_out": False, "killed": True}


@pytest.fixture(scope="module")
def alive() -> Iterator[ProcessIdentity]:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        try:
            ticks = launcher_process.start_ticks(process.pid)
            assert ticks is not None
            yield ProcessIdentity(process.pid, ticks, launcher_process.boot_id())
        finally:
            process.kill()


@pytest.fixture(scope="module")
def dead() -> ProcessIdentity:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        ticks = launcher_process.start_ticks(process.pid)
        process.kill()
    assert ticks is not None
    return ProcessIdentity(process.pid, ticks, launcher_process.boot_id())


def started(command: ProcessIdentity, supervisor: ProcessIdentity, **changed: object) -> dict[str, Any]:
    return {
        "initiation_id": "one",
        "boot_id": command.boot_id,
        "pid": command.pid,
        "start_ticks": command.start_ticks,
        "supervisor_pid": supervisor.pid,
        "supervisor_start_ticks": supervisor.start_ticks,
        "started_at": 10,
        "deadline_monotonic_ms": None,
        **changed,
    }


def write(path: Path, *records: tuple[Place, dict[str, Any]]) -> None:
    path.write_bytes(bytes(MARKER_BYTES))
    fd = os.open(path, os.O_RDWR)
    for place, record in records:
        write_record(fd, place, record, durably=False)
    os.close(fd)


def read(path: Path) -> Recovered:
    return classify(path, "one")


def test_no_marker_means_nothing_ever_ran(tmp_path: Path) -> None:
    assert read(tmp_path / "one.run") == NotStarted()


def test_a_living_supervisor_means_running(
    tmp_path: Path, alive: ProcessIdentity, dead: ProcessIdentity
) -> None:
    write(tmp_path / "m", (STARTED, started(dead, alive)))
    state = read(tmp_path / "m")
    assert isinstance(state, Running)
    assert state.supervised
    assert state.started == Started("one", dead.pid, 10)


def test_a_living_command_without_its_supervisor_means_running_unsupervised(
    tmp_path: Path, alive: ProcessIdentity, dead: ProcessIdentity
) -> None:
    write(tmp_path / "m", (STARTED, started(alive, dead)))
    state = read(tmp_path / "m")
    assert isinstance(state, Running)
    assert not state.supervised


@pytest.mark.parametrize("changed", [{"start_ticks": 1, "supervisor_start_ticks": 1}, {"boot_id": "before"}])
def test_a_process_of_the_same_id_that_started_at_another_time_or_boot_is_not_ours(
    tmp_path: Path, alive: ProcessIdentity, changed: dict[str, object]
) -> None:
    write(tmp_path / "m", (STARTED, started(alive, alive, **changed)))
    assert isinstance(read(tmp_path / "m"), OutcomeUnknown)


def test_a_recorded_outcome_counts_whatever_processes_are_alive(
    tmp_path: Path, alive: ProcessIdentity
) -> None:
    run = Started("one", alive.pid, 10)
    path = tmp_path / "m"
    write(path, (STARTED, started(alive, alive)), (RESULT, ENDED))
    assert read(path) == Ended(return_code=3, started=run, completed_at=20, killed=True)
    write(path, (STARTED, started(alive, alive)), (RESULT, {"type": "CouldNotStart", "reason": "no"}))
    assert read(path) == CouldNotStart("no")
    write(path, (STARTED, started(alive, alive)), (RESULT, {"type": "OutcomeUnknown", "reason": "why"}))
    assert read(path) == OutcomeUnknown("why", run)
    write(path, (STARTED, started(alive, alive)), (RESULT, {"type": "Something newer"}))
    assert isinstance(read(path), OutcomeUnknown)


def test_a_marker_without_outcome_or_process_is_outcome_unknown(
    tmp_path: Path, dead: ProcessIdentity
) -> None:
    write(tmp_path / "m", (STARTED, started(dead, dead)))
    assert read(tmp_path / "m") == OutcomeUnknown(
        "it and the process that would have recorded its outcome are gone", Started("one", dead.pid, 10)
    )


def test_a_zombie_does_not_count_as_alive() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert launcher_process.start_ticks(process.pid) is None


def test_a_marker_of_another_initiation_or_a_directory_in_its_place_is_outcome_unknown(
    tmp_path: Path, alive: ProcessIdentity
) -> None:
    write(tmp_path / "m", (STARTED, started(alive, alive, initiation_id="two")))
    assert isinstance(read(tmp_path / "m"), OutcomeUnknown)
    (tmp_path / "d").mkdir()
    assert isinstance(read(tmp_path / "d"), OutcomeUnknown)


def test_a_result_torn_at_any_byte_is_no_result(tmp_path: Path, dead: ProcessIdentity) -> None:
    path = tmp_path / "m"
    write(path, (STARTED, started(dead, dead)), (RESULT, ENDED))
    whole = path.read_bytes()
    for length in range(len(encode_record(ENDED))):
        kept = whole[: RESULT.offset + length]
        path.write_bytes(kept.ljust(MARKER_BYTES, b"\0"))
        assert isinstance(read(path), OutcomeUnknown), length
        path.write_bytes(kept)
        assert isinstance(read(path), OutcomeUnknown), length


def test_any_flipped_bit_of_a_started_record_is_noticed(tmp_path: Path, dead: ProcessIdentity) -> None:
    path = tmp_path / "m"
    write(path, (STARTED, started(dead, dead)), (RESULT, ENDED))
    whole = path.read_bytes()
    for position in range(len(encode_record(started(dead, dead)))):
        damaged = bytearray(whole)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        assert read(path) == OutcomeUnknown("its marker is damaged"), position


@settings(max_examples=200)
@given(content=st.binary(max_size=MARKER_BYTES + 10))
def test_no_content_makes_a_marker_say_not_started(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.run"
    path.write_bytes(content)
    assert isinstance(read(path), OutcomeUnknown)


def test_a_request_to_kill_leaves_the_other_records_alone(tmp_path: Path, alive: ProcessIdentity) -> None:
    path = tmp_path / "m"
    write(path, (STARTED, started(alive, alive)), (RESULT, ENDED))
    before = read(path)
    request_kill(path, force=False)
    request_kill(path, force=True)
    assert read(path) == before
    assert record_body(path.read_bytes(), KILL) == b'{"force": true}'


def test_the_places_of_a_marker_do_not_overlap_and_fill_it() -> None:
    places = sorted((STARTED, KILL, RESULT))
    ends = [place.offset + place.length for place in places]
    assert [place.offset for place in places] == [0, *ends[:-1]]
    assert ends[-1] == MARKER_BYTES


def test_the_longest_id_and_the_longest_reason_fit_their_places(alive: ProcessIdentity) -> None:
    for identity in ('"' * 500, "ü" * 250, "\U0001f600" * 125):
        assert len(encode_record(started(alive, alive, initiation_id=identity))) < STARTED.length
    for character in "\U0001f600", '"', "\0", "\n":
        reason = launcher_process._short(character * 5000)
        assert len(encode_record({"type": "OutcomeUnknown", "reason": reason})) < RESULT.length


@given(st.lists(st.text(st.characters(), max_size=200), unique=True, max_size=20))
def test_every_text_has_a_safe_name_of_its_own(texts: list[str]) -> None:
    names = [safe_name(text) for text in texts]
    assert len(set(names)) == len(names)
    for name in names:
        assert 0 < len(name) <= 150
        assert name.isascii()
        assert not name.startswith(".")
        assert not set(name) & set("/\\ \0\n:*?\"'$`;&|<>")


def test_a_name_cannot_be_chosen_to_collide_with_a_shortened_one() -> None:
    assert safe_name(safe_name("x" * 400)) != safe_name("x" * 400)
    assert safe_name("a b") != safe_name("a+b")
    assert safe_name("..") not in {"..", "."}


def test_the_initiations_with_markers_can_be_listed_and_damaged_ones_are_left_out(
    tmp_path: Path, dead: ProcessIdentity
) -> None:
    for name in ("a/b", "c"):
        write(marker_path(tmp_path, name), (STARTED, started(dead, dead, initiation_id=name)))
    marker_path(tmp_path, "damaged").write_bytes(b"?")
    (tmp_path / "generation").write_text("x")
    assert sorted(initiation_ids(tmp_path)) == ["a/b", "c"]
