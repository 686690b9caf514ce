"""Files that come are told once to every instance that waits for them, and none is lost on its way."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pykka
import pytest
from agent_rig import AGENT, WAIT_SECONDS, ManualTime
from jobledger.actors.agent.file_marks import FileMarks
from jobledger.actors.agent.file_moves import move
from jobledger.actors.agent.file_places import HOST_PLACES
from jobledger.actors.agent.file_search import PatternInvalid, look, searches
from jobledger.actors.agent.file_watchers import (
    FilesChanged,
    FileWatchersActor,
    LookForFiles,
    ReadWatchers,
    RefreshWatchers,
    ReleaseWatchers,
)
from jobledger.actors.agent.instance_store import InstanceStore
from jobledger.actors.agent.provision_store import ProvisionStore
from jobledger.actors.agent.reports import Reports
from jobledger.actors.file_notices import FileSystemNotices
from jobledger.domain.instants import Instant
from jobledger.domain.messages import ProcessEvent, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import FileJob, Trigger
from jobledger.storage.segment_log import LogFull, SegmentLog

SECOND, MINUTE = 1_000, 60_000
SIX = 1_796_536_800_000  # 2026-12-06T06:00Z
EVERY_MINUTE = "0 * * * * ?"
DAILY = Trigger(cron="0 0 0 * * ?", zone="UTC")


def file_job(*filenames: str, trigger: Trigger | None = None, **more: object) -> FileJob:
    return FileJob(
        agent=AGENT,
        name="arrival",
        trigger=trigger or Trigger(cron=EVERY_MINUTE, zone="UTC"),
        filenames=filenames,
        **more,  # type: ignore[arg-type]
    )


def instance(number: str = "i1", **parameters: str) -> PublishedInstance:
    return PublishedInstance(
        instance_id=number, plan="plan", jobs=(f"{AGENT}-arrival",), parameters=parameters, started_at=SIX
    )


class NoNotices:
    """A file system that says nothing."""

    def __init__(self, _on_change: Callable[[], None]) -> None:
        self.watched: set[Path] = set()

    def watch(self, directories: set[Path]) -> None:
        self.watched = directories

    def close(self) -> None:
        self.watched = set()


class Bench:
    """The file watchers of an agent whose time is moved by hand; can be begun again from its disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "in"
        self.inbox.mkdir()
        self.time = ManualTime(SIX)
        self._log: SegmentLog | None = None

    def begin(self) -> None:
        self._log, _ = SegmentLog.open(self.folder / "outbound")
        self.reports = Reports(self._log, lambda: None)
        self.provision = ProvisionStore(self.folder / "provisioned.json", lambda: None)
        self.instances = InstanceStore(self.folder / "instances", lambda: None)
        self.actor: pykka.ActorRef[FileWatchersActor] = FileWatchersActor.start(
            agent=AGENT,
            host="here",
            instances=self.instances,
            provision=self.provision,
            marks=FileMarks(self.folder / "files.json"),
            reports=self.reports,
            alarms=self.time,
            clock=self.time,
            zone=ZoneInfo("UTC"),
            open_notices=NoNotices,
            on_failed=lambda: None,
        )
        self.actor.tell(ReleaseWatchers())
        self.settle()

    def end(self) -> None:
        if self._log is not None:
            self.actor.stop(timeout=10)
            self._log.close()
            self._log = None
            self.time.alarms.clear()

    def restart(self) -> None:
        self.end()
        self.begin()

    def settle(self) -> dict[str, object]:
        answer: dict[str, object] = self.actor.ask(ReadWatchers(), timeout=10)
        return answer

    def arm(self, job: FileJob, *instances: PublishedInstance) -> None:
        self.provision.replace([ProvisionedJobs(plan="plan", jobs=(job,))])
        self.instances.save(instances or [instance()])
        self.actor.tell(RefreshWatchers())
        self.settle()

    def pass_time(self, milliseconds: int) -> None:
        """In steps of a second, so that every alarm rings at its time."""
        end = self.time.now + milliseconds
        while self.time.now < end:
            self.time.move_to(min(self.time.now + SECOND, end))
            self.settle()

    def put(self, name: str, content: str = "content", age_ms: int = MINUTE) -> Path:
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.touch(path, self.time.now - age_ms)
        return path

    def touch(self, path: Path, at: Instant) -> None:
        os.utime(path, (at / 1000, at / 1000))

    @property
    def events(self) -> list[ProcessEvent]:
        return list(self.reports.reported(0))

    @property
    def told(self) -> list[str]:
        """The files' names and the instances that were told of them, in order."""
        lines = [
            (event.instance_id, line)
            for event in self.events
            for line in (event.details or "").splitlines()
            if line.startswith("file ")
        ]
        return [f"{number} {Path(line.split(',')[0][5:]).name}" for number, line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.begin()
    yield made
    made.end()


def test_a_file_is_told_once_to_every_instance_with_its_path_size_and_time(bench: Bench) -> None:
    bench.arm(file_job(f"{bench.inbox}/orders_\\d+\\.csv"), instance("i1"), instance("i2"))
    bench.put("orders_1.csv", "12345")
    bench.put("orders_x.csv")
    bench.put("else.csv")
    bench.pass_time(5 * MINUTE)
    assert bench.told == ["i1 orders_1.csv", "i2 orders_1.csv"]
    event = bench.events[0]
    assert event.successful
    assert f"{bench.inbox}/orders_1.csv, 5 bytes, modified 2026-12-06T05:59:00.000Z" in (event.details or "")


def test_names_are_matched_in_a_directory_of_its_own_and_parameters_stand_for_themselves(
    bench: Bench,
) -> None:
    job = file_job("${region}\\.csv", file_path=str(bench.inbox))
    bench.arm(job, instance("i1", region="a.b"), instance("i2", region="north"))
    for name in ("a.b.csv", "axb.csv", "north.csv"):
        bench.put(name)
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.b.csv", "i2 north.csv"]


def test_every_matching_file_is_told_also_those_that_come_later_and_those_that_change(bench: Bench) -> None:
    bench.arm(file_job(".*\\.csv", file_path=str(bench.inbox)))
    bench.put("b.csv")
    bench.put("a.csv")
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv", "i1 b.csv"]
    assert len(bench.events) == 1
    bench.put("c.csv")
    bench.pass_time(2 * MINUTE)
    bench.put("a.csv", "changed", age_ms=0)
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv", "i1 b.csv", "i1 c.csv", "i1 a.csv"]


def test_a_restart_tells_nothing_again(bench: Bench) -> None:
    bench.arm(file_job(".*", file_path=str(bench.inbox)))
    bench.put("a.csv")
    bench.pass_time(2 * MINUTE)
    bench.restart()
    bench.pass_time(5 * MINUTE)
    assert bench.told == ["i1 a.csv"]


def test_a_file_that_still_grows_is_waited_for(bench: Bench) -> None:
    path = bench.put("a.csv", age_ms=0)
    bench.arm(file_job(".*", file_path=str(bench.inbox)))
    for _ in range(10):
        with path.open("a") as file:
            file.write("more")
        bench.touch(path, SIX)
        bench.pass_time(SECOND)
    assert bench.told == []
    bench.pass_time(2 * SECOND)
    assert bench.told == ["i1 a.csv"]


def test_a_file_counts_when_it_is_old_enough(bench: Bench) -> None:
    bench.arm(file_job(".*", file_path=str(bench.inbox), min_file_age_seconds=30))
    bench.put("a.csv", age_ms=0)
    bench.pass_time(29 * SECOND)
    assert bench.told == []
    bench.pass_time(61 * SECOND)
    assert bench.told == ["i1 a.csv"]


def test_a_file_is_found_although_the_clock_was_set_back(bench: Bench) -> None:
    bench.arm(file_job(".*", file_path=str(bench.inbox)))
    bench.pass_time(2 * MINUTE)
    bench.time.now -= 60 * MINUTE
    bench.put("a.csv")
    bench.actor.tell(LookForFiles())  # the timers ring everything
    bench.settle()
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv"]


def test_directories_are_searched_as_deep_as_the_job_says_and_are_no_files(bench: Bench) -> None:
    (bench.inbox / "dir.csv").mkdir()
    bench.put("one.csv")
    bench.put("sub/two.csv")
    bench.put("sub/sub/three.csv")
    (bench.inbox / "link").symlink_to(bench.inbox / "sub")
    bench.arm(file_job(".*\\.csv", file_path=str(bench.inbox), directory_depth=2))
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 one.csv", "i1 two.csv"]


def test_directories_may_be_patterns_too(bench: Bench) -> None:
    bench.put("2026/a.csv")
    bench.put("old/a.csv")
    bench.arm(file_job(f"{bench.inbox}/\\d+/a\\.csv", directory_depth=2))
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv"]


def test_files_that_come_in_a_blackout_are_told_when_it_ends(bench: Bench) -> None:
    blackout = Trigger(
        cron="0 0 0 * * ?",
        zone="UTC",
        blackout_ranges=((SIX, SIX + 10 * MINUTE),),
        drop_event_on_blackout=True,
    )
    bench.arm(file_job(".*", file_path=str(bench.inbox), trigger=blackout))
    bench.put("a.csv")
    bench.pass_time(10 * MINUTE)
    assert bench.told == []
    bench.pass_time(MINUTE)
    assert bench.told == ["i1 a.csv"]


def test_word_from_the_file_system_hastens_the_next_look(bench: Bench) -> None:
    bench.arm(file_job(".*", file_path=str(bench.inbox), trigger=Trigger(cron="0 0 0 1 1 ?")))
    bench.put("a.csv")
    bench.pass_time(5 * SECOND)
    assert bench.told == []
    bench.actor.tell(FilesChanged())
    bench.settle()
    bench.pass_time(2 * SECOND)
    assert bench.told == ["i1 a.csv"]


def test_several_files_are_told_in_the_order_that_the_job_wants(bench: Bench) -> None:
    for name, age in (("a", 3), ("b", 1), ("c", 2)):
        bench.put(name, age_ms=age * MINUTE)
    bench.arm(file_job(".*", file_path=str(bench.inbox), sort_by_modified=True, sort_ascending=False))
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 b", "i1 c", "i1 a"]


def test_every_instance_is_told_of_a_file_and_it_is_moved_once(bench: Bench) -> None:
    done = bench.folder / "done"
    bench.arm(
        file_job(".*", file_path=str(bench.inbox), move_directory=str(done)), instance("i1"), instance("i2")
    )
    source = bench.put("a.csv", "12345")
    bench.pass_time(5 * MINUTE)
    assert bench.told == ["i1 a.csv", "i2 a.csv"]
    assert f"moved to {done}/a.csv" in (bench.events[0].details or "")
    assert (done / "a.csv").read_text() == "12345"
    assert not source.exists()


def test_a_move_replaces_no_file_that_is_there(bench: Bench) -> None:
    done = bench.folder / "done"
    done.mkdir()
    (done / "a.csv").write_text("earlier")
    bench.arm(file_job(".*", file_path=str(bench.inbox), move_directory=str(done)))
    bench.put("a.csv", "later")
    bench.pass_time(2 * MINUTE)
    assert sorted(path.read_text() for path in done.iterdir()) == ["earlier", "later"]


def test_a_move_that_fails_sends_nothing_and_is_tried_again(bench: Bench) -> None:
    done = bench.folder / "done"
    done.write_text("a file in the way")
    bench.arm(file_job(".*", file_path=str(bench.inbox), move_directory=str(done)))
    source = bench.put("a.csv")
    bench.pass_time(5 * MINUTE)
    assert bench.told == []
    assert source.exists()
    done.unlink()
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv"]
    assert not source.exists()


@pytest.mark.parametrize("moment", ["before the move", "between link and unlink", "after the move"])
def test_a_crash_around_the_move_neither_loses_nor_doubles_the_event(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    done = bench.folder / "done"
    bench.arm(file_job(".*", file_path=str(bench.inbox), move_directory=str(done)))

    def crash(source: Path, target: Path) -> None:
        if moment == "after the move":
            move(source, target)
        elif moment == "between link and unlink":
            target.parent.mkdir()
            os.link(source, target)
        raise SystemError("the process is killed")

    bench.put("a.csv", "12345")
    with monkeypatch.context() as patched:
        patched.setattr(HOST_PLACES, "move", crash)
        with pytest.raises((pykka.ActorDeadError, SystemError)):
            bench.pass_time(5 * MINUTE)
    bench.restart()
    bench.pass_time(2 * MINUTE)
    bench.restart()
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv"]
    assert [path.read_text() for path in done.iterdir()] == ["12345"]
    assert list(bench.inbox.iterdir()) == []


def test_a_moved_file_is_told_although_the_disk_was_full_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_log: SegmentLog, _payloads: object) -> list[int]:
        raise LogFull("no space")

    done = bench.folder / "done"
    bench.put("a.csv")
    bench.arm(file_job(".*", file_path=str(bench.inbox), move_directory=str(done)))
    with monkeypatch.context() as patched:
        patched.setattr(SegmentLog, "append_many", full)
        bench.pass_time(5 * SECOND)
        assert (done / "a.csv").exists()
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv"]


@pytest.mark.parametrize("moves", [False, True])
def test_a_file_that_a_full_disk_kept_from_being_told_does_not_wait_for_tomorrow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moves: bool
) -> None:
    def full(_log: SegmentLog, _payloads: object) -> list[int]:
        raise LogFull("no space")

    directory = str(bench.folder / "done") if moves else None
    job = file_job(".*", trigger=DAILY, file_path=str(bench.inbox), move_directory=directory)
    bench.put("a.csv")
    bench.arm(job)
    with monkeypatch.context() as patched:
        patched.setattr(SegmentLog, "append_many", full)
        bench.pass_time(5 * SECOND)
    bench.pass_time(MINUTE)
    assert bench.told == ["i1 a.csv"]


def test_a_file_from_the_future_does_not_keep_others_waiting(bench: Bench) -> None:
    ahead = bench.put("ahead.csv")
    os.utime(ahead, (SIX / 1000 + 86_400, SIX / 1000 + 86_400))
    bench.put("now.csv")
    bench.arm(file_job(".*", trigger=DAILY, file_path=str(bench.inbox)))
    bench.pass_time(5 * SECOND)
    assert bench.told == ["i1 now.csv"]


@pytest.mark.parametrize("closed", ["in/lost+found", "other"])
def test_a_directory_that_cannot_be_read_hides_no_file_elsewhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    scandir = os.scandir
    (bench.folder / closed).mkdir()

    def scan(path: Path) -> Any:
        if Path(path) == bench.folder / closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    bench.put("a.csv")
    bench.put("z.csv")
    patterns = (f"{bench.folder}/other/.*csv", f"{bench.folder}/in/.*csv")
    bench.arm(file_job(*patterns, directory_depth=2))
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv", "i1 z.csv"]


def test_files_of_one_name_that_come_at_once_are_all_moved_and_told(bench: Bench) -> None:
    done = bench.folder / "done"
    for number in range(3):
        bench.put(f"{number}/a.csv", str(number))
    job = file_job("a.csv", trigger=DAILY, file_path=str(bench.inbox), directory_depth=2)
    bench.arm(msgspec.structs.replace(job, move_directory=str(done)))
    bench.pass_time(5 * SECOND)
    assert bench.told == ["i1 a.csv"] * 3
    assert sorted(path.read_text() for path in done.iterdir()) == ["0", "1", "2"]
    assert [path for path in bench.inbox.rglob("*") if path.is_file()] == []


def test_a_thousand_files_that_come_at_once_are_not_noted_one_by_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []
    write = FileMarks.write
    monkeypatch.setattr(
        FileMarks, "write", lambda marks, armed: (writes.append(len(marks.moving)), write(marks, armed))
    )
    done = bench.folder / "done"
    for number in range(1_000):
        bench.put(f"{number}.csv")
    bench.arm(file_job(".*", file_path=str(bench.inbox), move_directory=str(done)))
    bench.pass_time(2 * SECOND)
    assert len(bench.told) == len(list(done.iterdir())) == 1_000
    assert len(writes) < 20, "each is a sync of the disk and holds all that were seen"


def test_of_files_that_come_at_once_each_that_cannot_be_moved_is_left_for_the_next_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = bench.folder / "done"

    def obstinate(source: Path, target: Path) -> None:
        if source.name == "b.csv":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source))
        move(source, target)

    for name in ("a.csv", "b.csv", "c.csv"):
        bench.put(name)
    bench.arm(file_job(".*", file_path=str(bench.inbox), move_directory=str(done)))
    with monkeypatch.context() as patched:
        patched.setattr(HOST_PLACES, "move", obstinate)
        bench.pass_time(2 * SECOND)
        assert bench.told == ["i1 a.csv", "i1 c.csv"]
    bench.restart()
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv", "i1 c.csv", "i1 b.csv"]
    assert list(bench.inbox.iterdir()) == []


def test_many_changes_that_are_told_late_are_looked_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    refresh = FileWatchersActor._refresh
    monkeypatch.setattr(FileWatchersActor, "_refresh", lambda self: (looked.append(1), refresh(self)))
    bench.provision.replace([ProvisionedJobs(plan="plan", jobs=(file_job(".*", file_path="/nowhere"),))])
    for number in range(100):
        bench.instances.save([instance(f"i{number}")])
    for _ in range(101):
        bench.actor.tell(RefreshWatchers())
    assert bench.settle()["armed"] == 100
    assert len(looked) == 1
    bench.instances.remove("i0", SIX)
    bench.actor.tell(RefreshWatchers())
    assert bench.settle()["armed"] == 99


def test_a_directory_that_is_not_there_yet_has_no_files(bench: Bench) -> None:
    bench.arm(file_job(".*", file_path=str(bench.folder / "later")))
    bench.pass_time(2 * MINUTE)
    (bench.folder / "later").mkdir()
    bench.put("../later/a.csv")
    bench.pass_time(2 * MINUTE)
    assert bench.told == ["i1 a.csv"]


@pytest.mark.parametrize(
    "bad", [file_job("*.txt", file_path="/in"), file_job("a.txt"), file_job("x", file_path="in")]
)
def test_patterns_that_cannot_work_are_refused(bad: FileJob) -> None:
    with pytest.raises(PatternInvalid):
        searches(bad, {})


def test_a_file_that_goes_while_it_is_looked_at_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (found,) = searches(file_job(".*", file_path=str(tmp_path)), {})
    assert list(look(found, 1)) == []


def test_the_file_system_tells_of_a_new_file(tmp_path: Path) -> None:
    changed = threading.Event()
    notices = FileSystemNotices(changed.set)
    notices.watch({tmp_path, tmp_path / "missing"})
    try:
        deadline = WAIT_SECONDS
        number = 0
        while not changed.wait(0.1) and deadline > 0:
            (tmp_path / f"file{number}").write_text("x")
            number += 1
            deadline -= 0.1
        assert changed.is_set()
    finally:
        notices.close()


def test_a_place_may_begin_with_a_parameter_of_the_instance(tmp_path: Path) -> None:
    values = {"BASE": str(tmp_path)}
    by_folder = FileJob(agent="a", name="f", trigger=Trigger(), file_path="${BASE}/in", filenames=("x",))
    by_path = FileJob(agent="a", name="f", trigger=Trigger(), filenames=("${BASE}/in/x[0-9]",))
    assert [search.root for search in searches(by_folder, values)] == [tmp_path / "in"]
    (search,) = searches(by_path, values)
    assert (search.root, search.matches(f"{tmp_path}/in/x7")) == (tmp_path / "in", True)
    with pytest.raises(PatternInvalid):
        searches(by_path, {"BASE": "not absolute"})
