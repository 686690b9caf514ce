"""What must hold of a segment log, whatever happened to it: kept beside it and compared with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from jobledger.storage.segment_log import LogUnavailable, RecoveryReport, SegmentLog
from simulated_disk import SimulatedDisk

DIRECTORY = Path("/log")

ResultT = TypeVar("ResultT")


def insist(read: Callable[[], ResultT]) -> ResultT:
    """Reading may fail while the disk does; it has no effect, so that the second time counts."""
    try:
        return read()
    except OSError:
        return read()


class Expectations:
    """Runs appends and acknowledgements on a log and remembers what it was told of each.

    Payloads are numbers that never repeat, so that each can be recognised.
    """

    def __init__(self, segment_bytes: int = 150, retain_segments: int = 1) -> None:
        self.segment_bytes = segment_bytes
        self.retain_segments = retain_segments
        self.told: dict[int, object] = {}
        """By position: what an append that returned was given."""
        self.failed: list[list[object]] = []
        """What an append that raised, or never came back, was given."""
        self.acknowledged: set[int] = set()
        self.acknowledging: set[int] = set()
        """Of acknowledgements that raised or never came back."""
        self.found: dict[int, object] = {}
        """By position: failed ones that an earlier recovery brought back; they are to stay."""
        self._next_payload = 0
        self.log: SegmentLog

    def open(self, disk: SimulatedDisk) -> RecoveryReport:
        self.log, report = SegmentLog.open(
            DIRECTORY, segment_bytes=self.segment_bytes, retain_segments=self.retain_segments, files=disk
        )
        return report

    def append(self, count: int) -> None:
        payloads: list[object] = [f"p{self._next_payload + number}" for number in range(count)]
        self._next_payload += count
        self.failed.append(payloads)
        try:
            positions = self.log.append_many(payloads)
        except LogUnavailable:
            return
        self.failed.remove(payloads)
        assert not set(positions) & self.told.keys(), "a position was given out twice"
        assert not self.told or positions[0] > max(self.told), "positions went back"
        self.told.update(zip(positions, payloads, strict=True))

    def acknowledge(self, choose: Callable[[Sequence[int]], Sequence[int]]) -> None:
        positions = set(choose(sorted(self.told)))
        self.acknowledging |= positions
        try:
            self.log.acknowledge(positions)
        except LogUnavailable:
            return
        self.acknowledged |= positions

    def check_running(self) -> None:
        """In the process that was told: exactly what it was told."""
        pending = {record.position: record.payload for record in insist(self.log.pending)}
        known = self.told | self.found
        for position, payload in pending.items():
            assert known[position] == payload
        for position in known.keys() - self.acknowledging:
            assert position in pending
        assert not self.acknowledged & pending.keys(), "an acknowledged record is pending again"
        for record in insist(lambda: list(self.log.scan())):
            assert known[record.position] == record.payload

    def check_recovered(self) -> None:
        """After whatever happened: what was told holds, and nothing is there twice or in part."""
        records = list(self.log.scan())
        positions = [record.position for record in records]
        assert positions == sorted(set(positions)), "records out of order or twice"
        scanned = {record.position: record.payload for record in records}
        pending = {record.position: record.payload for record in self.log.pending()}
        assert list(pending) == sorted(pending)
        assert len(pending) == self.log.size
        assert pending.items() <= scanned.items()
        for position, payload in (self.told | self.found).items():
            if position not in self.acknowledging:
                assert pending.get(position) == payload, f"record {position} is lost"
            elif position in self.acknowledged:
                assert position not in pending, f"record {position} was acknowledged and is pending again"
            assert scanned.get(position, payload) == payload
        self._check_found(
            {p: one for p, one in scanned.items() if p not in self.told and p not in self.found}
        )
        assert self.log.last_position >= max(self.told | self.found, default=0), "positions would repeat"

    def _check_found(self, unexpected: dict[int, object]) -> None:
        payloads = list(unexpected.values())
        for group in self.failed:
            there = [payload for payload in payloads if payload in group]
            assert there in ([], group), f"of {group}, appended together, {there} was recovered"
            payloads = [payload for payload in payloads if payload not in group]
        assert payloads == [], "records that nobody appended"
        self.failed = [group for group in self.failed if group[0] not in unexpected.values()]
        self.found.update(unexpected)
