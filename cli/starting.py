"""What keeps a server from starting, as a sentence with the next step."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .failures import Failure


@contextmanager
def told_when_it_cannot_start(server: str, data_dir: Path, host: str, port: int) -> Iterator[None]:
    """Turn what the operating system refuses into a ``Failure``; other errors go their way."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Failure(
                f"port {port} of {host} is in use",
                next_step=f"stop what uses it, or give the {server} another --port (0 picks a free one)",
            ) from error
        if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES) and error.filename is None:
            raise Failure(
                f"the {server} cannot listen on {host} port {port}: {error.strerror}",
                next_step="give an address of this host with --host, and a port above 1023 with --port",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST):
            raise Failure(
                f"the {server} cannot use {data_dir}: {error.strerror}",
                next_step="name a directory with --data-dir that it may write to and that has space",
            ) from error
        raise
