"""Actors on a shared pool, when a turn fails in a way that nobody foresaw."""

import threading
from collections.abc import Sequence
from typing import Any

import pykka
import pytest
from jobledger.actors.pool import ActorPool, PooledActor


class Fragile(PooledActor):
    """Its turns fail as a whole, outside of what handles one message."""

    def __init__(self, *, pool: ActorPool, failed: threading.Event) -> None:
        super().__init__(pool=pool)
        self._failed = failed

    def receive_batch(self, envelopes: Sequence[Any]) -> None:
        raise OSError("the disk is gone")

    def on_failure(self, _type: object, _error: object, _trace: object) -> None:
        self._failed.set()


def test_an_actor_whose_turn_fails_ends_instead_of_hearing_nothing_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = ActorPool(1)
    failed = threading.Event()
    try:
        actor = Fragile.start(pool=pool, failed=failed)
        actor.tell("anything")
        assert failed.wait(10)
        assert not actor.is_alive()
        with pytest.raises(pykka.ActorDeadError):
            actor.tell("more")
        assert "the disk is gone" in caplog.text
    finally:
        pool.close()
