"""Both drivers' errors reach callers as the event store library's, of the nearest kind."""

import sqlite3

import psycopg
import pytest
from eventsourcing import persistence
from jobledger.storage.driver_errors import library_errors

KINDS = (
    "InterfaceError",
    "DataError",
    "OperationalError",
    "IntegrityError",
    "InternalError",
    "ProgrammingError",
    "NotSupportedError",
    "DatabaseError",
)


@pytest.mark.parametrize("driver", [sqlite3, psycopg])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_driver_is_the_librarys_of_that_name(driver, kind: str) -> None:
    theirs = getattr(driver, kind)("what went wrong")

    with (
        pytest.raises(persistence.PersistenceError, match="what went wrong") as told,
        library_errors(driver.Error),
    ):
        raise theirs

    assert type(told.value) is getattr(persistence, kind)
    assert told.value.__cause__ is theirs


def test_an_error_of_a_narrower_kind_is_the_nearest_that_the_library_knows() -> None:
    with pytest.raises(persistence.IntegrityError), library_errors(psycopg.Error):
        raise psycopg.errors.UniqueViolation("there is one already")


@pytest.mark.parametrize("driver", [sqlite3, psycopg])
def test_an_error_of_no_kind_is_a_persistence_error(driver) -> None:
    with pytest.raises(persistence.PersistenceError) as told, library_errors(driver.Error):
        raise driver.Error("nobody knows")

    assert type(told.value) is persistence.PersistenceError


def test_errors_that_are_not_of_the_driver_stay_what_they_are() -> None:
    with pytest.raises(KeyError), library_errors(sqlite3.Error):
        raise KeyError("a fault of ours")
