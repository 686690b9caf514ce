"""What keeps a server from starting, as a sentence with the next step."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from .failures import Failure

_ADDRESS = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


_OF_ITS_DIRECTORY = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
    }
)


def an_address(
    _context: click.Context, _option: click.Parameter, given: str | tuple[str, ...] | None
) -> str | tuple[str, ...] | None:
    """What an option that takes addresses of servers was given; one that is none is a mistake."""
    for url in (given,) if isinstance(given, str) else given or ():
        if not _ADDRESS.fullmatch(url):
            raise click.BadParameter(f"{url!r} is no address of a server; write it like http://HOST:PORT")
    return given


def a_postgresql_url(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """What an option that takes the address of a database was given; one of another kind is a mistake."""
    if given is not None and not given.startswith(("postgresql://", "postgres://")):
        raise click.BadParameter("it begins with postgresql://; without it a SQLite file is used")
    return given


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
        if error.errno in _OF_ITS_DIRECTORY:
            raise Failure(
                f"the {server} cannot use {data_dir}: {error.strerror}",
                next_step="name a directory with --data-dir that it may write to and that has space",
            ) from error
        raise
