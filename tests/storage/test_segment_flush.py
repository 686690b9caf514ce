"""Many threads, one flush: who leads, what is shared, and what happens to the rest when a flush fails."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from jobledger.storage.segment_flush import FlusherClosed, FlushInterrupted, SharedFlush


class GatedFlush:
    """A flush that waits for the test before it returns or raises, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.outcome: Callable[[], None] = lambda: None

    def __call__(self, items: Sequence[str]) -> None:
        self.batches.append(list(items))
        self.entered.release()
        assert self.gate.acquire(timeout=30)
        self.outcome()


def queued(shared: SharedFlush[str], count: int) -> None:
    """Return when so many wait behind the one that flushes."""
    arrived = threading.Event()
    while len(shared._queue) < count:
        arrived.wait(0.001)


def submit_behind_a_running_flush(
    pool: ThreadPoolExecutor, shared: SharedFlush[str], flush: GatedFlush, items: str
) -> list["Future[None]"]:
    """The first item is being flushed, the others wait in order."""
    futures = [pool.submit(shared.submit, items[0])]
    assert flush.entered.acquire(timeout=30)
    for number, item in enumerate(items[1:]):
        futures.append(pool.submit(shared.submit, item))
        queued(shared, number + 1)
    return futures


def test_what_arrives_during_a_flush_shares_the_next_in_order() -> None:
    flush = GatedFlush()
    shared = SharedFlush[str](flush, len, 100)
    with ThreadPoolExecutor(8) as pool:
        futures = submit_behind_a_running_flush(pool, shared, flush, "abcdef")
        flush.gate.release(2)
        for future in futures:
            future.result(timeout=30)
    assert flush.batches == [["a"], ["b", "c", "d", "e", "f"]]


def test_a_flush_takes_no_more_than_its_weight_but_always_one() -> None:
    flush = GatedFlush()
    shared = SharedFlush[str](flush, lambda item: 5 if item == "c" else 1, 3)
    with ThreadPoolExecutor(8) as pool:
        futures = submit_behind_a_running_flush(pool, shared, flush, "abcdefg")
        flush.gate.release(10)
        for future in futures:
            future.result(timeout=30)
    assert flush.batches == [["a"], ["b"], ["c"], ["d", "e", "f"], ["g"]]


def test_nobody_is_told_of_success_before_its_own_flush_has_returned() -> None:
    flush = GatedFlush()
    shared = SharedFlush[str](flush, len, 100)
    with ThreadPoolExecutor(4) as pool:
        futures = submit_behind_a_running_flush(pool, shared, flush, "ab")
        flush.gate.release()
        futures[0].result(timeout=30)
        assert flush.entered.acquire(timeout=30)
        assert not futures[1].done()
        flush.gate.release()
        futures[1].result(timeout=30)


def test_a_failed_flush_fails_all_that_shared_it_and_none_of_the_others() -> None:
    flush = GatedFlush()
    shared = SharedFlush[str](flush, len, 100)

    def fail_the_second() -> None:
        if len(flush.batches) == 2:
            raise ValueError("no")

    flush.outcome = fail_the_second
    with ThreadPoolExecutor(4) as pool:
        futures = submit_behind_a_running_flush(pool, shared, flush, "abc")
        flush.gate.release(2)
        assert futures[0].exception(timeout=30) is None
        errors = [future.exception(timeout=30) for future in futures[1:]]
        assert [repr(error) for error in errors] == ["ValueError('no')"] * 2
        assert errors[0] is not errors[1], "threads must not share one traceback"
        flush.gate.release()
        shared.submit("d")


def test_an_interrupted_flush_leaves_nobody_waiting_and_takes_nothing_more() -> None:
    flush = GatedFlush()
    shared = SharedFlush[str](flush, len, 1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    flush.outcome = interrupt
    with ThreadPoolExecutor(4) as pool:
        futures = submit_behind_a_running_flush(pool, shared, flush, "abc")
        flush.gate.release()
        assert isinstance(futures[0].exception(timeout=30), KeyboardInterrupt)
        assert isinstance(futures[1].exception(timeout=30), FlushInterrupted)
        assert isinstance(futures[2].exception(timeout=30), FlushInterrupted)
    with pytest.raises(FlusherClosed):
        shared.submit("d")
    shared.close()


def test_closing_waits_for_what_was_taken_and_refuses_the_rest() -> None:
    flush = GatedFlush()
    shared = SharedFlush[str](flush, len, 1)
    with ThreadPoolExecutor(4) as pool:
        futures = submit_behind_a_running_flush(pool, shared, flush, "ab")
        closing = pool.submit(shared.close)
        flush.gate.release()
        assert flush.entered.acquire(timeout=30)
        assert not closing.done()
        flush.gate.release()
        closing.result(timeout=30)
        assert all(future.done() or future.result(timeout=30) is None for future in futures)
    with pytest.raises(FlusherClosed):
        shared.submit("c")
    assert flush.batches == [["a"], ["b"]]


def test_a_thousand_submissions_of_sixteen_threads_are_each_flushed_once() -> None:
    flushed: list[int] = []
    shared = SharedFlush[int](flushed.extend, lambda item: 1, 7)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(shared.submit, range(1000)))
    assert sorted(flushed) == list(range(1000))
