"""What goes wrong in a database, said in the event store library's words, whichever driver it came from."""

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing import persistence

_SHARED_NAMES = (
    "InterfaceError",
    "DataError",
    "OperationalError",
    "IntegrityError",
    "InternalError",
    "ProgrammingError",
    "NotSupportedError",
    "DatabaseError",
)
"""By which Python's database interface (PEP 249), and so each driver and the library, calls errors."""


@contextmanager
def library_errors(of: type[Exception]) -> Iterator[None]:
    """Raise the library's ``PersistenceError``, the nearest kind of it, for errors of a driver."""
    try:
        yield
    except of as error:
        raise _kind(type(error))(str(error)) from error


def _kind(theirs: type[Exception]) -> type[persistence.PersistenceError]:
    for each in theirs.__mro__:
        if each.__name__ in _SHARED_NAMES:
            ours: type[persistence.PersistenceError] = getattr(persistence, each.__name__)
            return ours
    return persistence.PersistenceError
