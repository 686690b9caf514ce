"""Descriptors that one thread waits on for many runs: channels of supervisors, and pidfds."""

import contextlib
import errno
import os
import select
import socket
import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

RunT = TypeVar("RunT")


@dataclass(slots=True, eq=False)
class Watch(Generic[RunT]):
    """A descriptor being watched, on behalf of a run."""

    fd: int
    run: RunT | None
    """What the supervisor looks after; nothing while it is idle."""
    channel: socket.socket | None
    """``None`` for a pidfd."""

    def close(self) -> None:
        """Close the descriptor."""
        if self.channel is None:
            os.close(self.fd)
        else:
            self.channel.close()


class Watches(Generic[RunT]):
    """What is watched, and which of the supervisors behind it are idle; only one thread may ``wait``.

    After ``close`` nothing is taken any more, and no descriptor is touched: its number may be another's then.
    """

    def __init__(self, most_idle: int) -> None:
        self._most_idle = most_idle
        self._lock = threading.RLock()
        self._closed = False
        self._watches: dict[int, Watch[RunT]] = {}
        self._idle: list[Watch[RunT]] = []
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)

    def wait(self, timeout_seconds: float | None) -> list[Watch[RunT]]:
        """Those at which something has happened; none when the time is up or ``wake`` was called."""
        ready = []
        for fd, _ in self._epoll.poll(timeout_seconds):
            if fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            elif fd in self._watches:
                ready.append(self._watches[fd])
        return ready

    def wake(self) -> None:
        """End the present wait, or the next."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def add(self, fd: int, run: RunT, channel: socket.socket | None = None) -> Watch[RunT]:
        """Watch a descriptor from now on; it is closed if that fails.

        :raises OSError: if it cannot be watched.
        """
        watch = Watch(fd, run, channel)
        with self._lock:
            if self._closed:
                watch.close()
                raise OSError(errno.ESHUTDOWN, "nothing is watched any more")
            self._watches[fd] = watch
            try:
                self._epoll.register(fd, select.EPOLLIN)
            except OSError:
                del self._watches[fd]
                watch.close()
                raise
        return watch

    def remove(self, watch: Watch[RunT]) -> None:
        """Watch a descriptor no longer, and close it."""
        with self._lock:
            if watch in self._idle:
                self._idle.remove(watch)
            del self._watches[watch.fd]
            self._epoll.unregister(watch.fd)
            watch.close()

    def take_idle(self, run: RunT) -> Watch[RunT] | None:
        """An idle supervisor for a run, if there is one."""
        with self._lock:
            if not self._idle:
                return None
            watch = self._idle.pop()
            watch.run = run
            return watch

    def release(self, watch: Watch[RunT]) -> None:
        """Keep a supervisor for runs to come, or let it go when enough are kept."""
        with self._lock:
            watch.run = None
            kept = len(self._idle) < self._most_idle
            if kept:
                self._idle.append(watch)
        if not kept:
            self.remove(watch)

    def close(self) -> None:
        """Close every descriptor."""
        with self._lock:
            self._closed = True
            for watch in list(self._watches.values()):
                self.remove(watch)
            self._epoll.close()
            os.close(self._wake)
