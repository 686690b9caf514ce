"""Random histories of a segment log on a failing disk, compared with what its user was told."""

import errno
import os
import random
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from segment_log_expectations import Expectations
from simulated_disk import Crashed, SimulatedDisk


class SegmentLogHistory(RuleBasedStateMachine):
    """One log through appends, acknowledgements, full and failing disks, kills and power losses."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimulatedDisk()
        self.expectations = Expectations()
        self.crashed = False

    @initialize(segment_bytes=st.integers(60, 400), retain_segments=st.integers(0, 3))
    def begin(self, segment_bytes: int, retain_segments: int) -> None:
        self.expectations.segment_bytes = segment_bytes
        self.expectations.retain_segments = retain_segments
        self.expectations.open(self.disk)

    @precondition(lambda self: not self.crashed)
    @rule(count=st.integers(1, 6))
    def append(self, count: int) -> None:
        self.unless_it_crashes(lambda: self.expectations.append(count))

    @precondition(lambda self: not self.crashed)
    @rule(seed=st.integers(0, 1 << 16), part=st.floats(0, 1))
    def acknowledge(self, seed: int, part: float) -> None:
        rng = random.Random(seed)
        self.unless_it_crashes(
            lambda: self.expectations.acknowledge(lambda told: rng.sample(told, int(part * len(told))))
        )

    @precondition(lambda self: not self.crashed)
    @rule(full=st.booleans())
    def fill_or_free_the_disk(self, full: bool) -> None:
        self.disk.full = full

    @precondition(lambda self: not self.crashed)
    @rule(calls=st.integers(1, 12), error=st.sampled_from([errno.EIO, errno.ENOSPC, errno.EDQUOT]))
    def a_call_will_fail(self, calls: int, error: int) -> None:
        self.at_call(calls, OSError(error, os.strerror(error)))

    @precondition(lambda self: not self.crashed)
    @rule(calls=st.integers(1, 12))
    def it_will_crash(self, calls: int) -> None:
        self.at_call(calls, Crashed())

    @rule()
    def killed_and_opened_again(self) -> None:
        self.open_again(self.disk.after_kill())

    @rule(seed=st.integers(0, 1 << 16))
    def power_lost_and_opened_again(self, seed: int) -> None:
        self.open_again(self.disk.after_power_loss(random.Random(seed) if seed else None))

    @precondition(lambda self: not self.crashed)
    @rule()
    def closed_and_opened_again(self) -> None:
        self.disk.fault = None
        self.disk.full = False
        self.expectations.log.close()
        assert self.disk.open_descriptors == []
        self.open_again(self.disk)

    @invariant()
    def what_was_told_holds(self) -> None:
        if not self.crashed and hasattr(self.expectations, "log"):
            fault, self.disk.fault = self.disk.fault, None
            self.expectations.check_running()
            self.disk.fault = fault

    def at_call(self, calls: int, error: BaseException) -> None:
        number = self.disk.calls + calls

        def fault(call: int, name: str) -> None:
            if call == number:
                raise error

        self.disk.fault = fault

    def unless_it_crashes(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Crashed:
            self.crashed = True

    def open_again(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.crashed = False
        self.expectations.open(disk)
        self.expectations.check_recovered()


SegmentLogHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyHistoryKeepsWhatItTold = SegmentLogHistory.TestCase
