"""What tests of several rooms share: a check of every answer over HTTP, and a real PostgreSQL server.

The server is started only when a test asks for it.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from wsgiref import validate

import pytest

_INSTALLED = Path("/usr/lib/postgresql")
_LONG_RUNS = (
    "JOBLEDGER_CRASH_ROUNDS",
    "JOBLEDGER_SEED",
    "JOBLEDGER_FUZZ_EXAMPLES",
    "JOBLEDGER_SIMULATION_SECONDS",
)
_UNPRIVILEGED = ("postgres", "nobody")


def pytest_report_header() -> str:
    """Say which long runs were asked for, so that a run can be repeated."""
    asked = [f"{name}={os.environ[name]}" for name in _LONG_RUNS if name in os.environ]
    return f"long runs: {', '.join(asked) or 'as short as they go'}"


@pytest.fixture(autouse=True, scope="session")
def _media_types_of_answers() -> Iterator[None]:
    """What Falcon's test client checks of each answer: one that has a body says of what media type it is.

    The check of the standard library asks this of those without a body too, which no HTTP does.
    """

    def check(status: str, headers: list[tuple[str, str]]) -> None:
        told = {name.lower(): value for name, value in headers}
        media, empty = told.get("content-type"), told.get("content-length", "0") == "0"
        assert media is not None or empty, f"{status} says not what it holds: {headers}"
        assert media is None or not (empty and "json" in media), f"{status} says that nothing is JSON"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "check_content_type", check)
        yield


def _postgres_binaries() -> Path | None:
    """The folder of the newest server found."""
    on_path = shutil.which("initdb")
    folders = [] if on_path is None else [Path(on_path).resolve().parent]
    if _INSTALLED.is_dir():
        by_version = sorted(_INSTALLED.iterdir(), key=lambda each: (len(each.name), each.name), reverse=True)
        folders += [each / "bin" for each in by_version]
    return next((each for each in folders if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)


def _account_for_server() -> pwd.struct_passwd | None:
    """Whom to run the server as: it refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


class PostgresServer:
    """A PostgreSQL server of the tests' own, listening on the loopback interface."""

    def __init__(self, binaries: Path, account: pwd.struct_passwd, folder: Path) -> None:
        self._binaries = binaries
        self._account = account
        self._folder = folder
        self._data = folder / "data"
        self._numbers = count(1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def initialise(self) -> None:
        """Make the cluster of databases."""
        self._run(
            "initdb", "-D", str(self._data), "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"
        )

    def start(self) -> None:
        """Start, and return once connections are accepted."""
        # The server's syncs are the server's promise; without them these tests take a fraction of the time.
        options = (
            f"-h 127.0.0.1 -p {self.port} -k {self._folder} -c fsync=off -c max_connections=200 "
            "-c shared_buffers=16MB -c log_min_messages=error"
        )
        self._run(
            "pg_ctl",
            "start",
            "-w",
            "-D",
            str(self._data),
            "-l",
            str(self._folder / "server.log"),
            "-o",
            options,
        )

    def stop(self) -> None:
        """Cut all connections and stop."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))

    @contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """Have nothing left behind at the end, and not even if the tests are killed."""
        # The watcher reads until this process is gone, however it goes. Nobody waits for the deletion: with a
        # hundred databases that have reached the disk it takes minutes.
        clean_up = 'cat; "$1" stop -m immediate -D "$2/data"; rm -rf "$2" &'
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", clean_up, "watcher", str(self._binaries / "pg_ctl"), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._as_whom(),
        )
        assert watcher.stdin is not None
        try:
            yield
        finally:
            watcher.stdin.close()
            try:
                watcher.wait(120)
            except subprocess.TimeoutExpired:
                watcher.kill()
                watcher.wait()
                raise

    def url(self, database: str) -> str:
        """How to reach one of its databases."""
        return f"postgresql://tests@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database; returns its URL."""
        name = f"fresh_{next(self._numbers)}"
        self.query("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def query(self, database: str, statement: str) -> str:
        """Run a statement as an administrator would; returns what was printed."""
        return self._run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement)

    def _run(self, program: str, *arguments: str) -> str:
        # Output goes to a file: the server inherits it, and a pipe would stay open for as long as it runs.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                check=False,
                **self._as_whom(),
            )
            output.seek(0)
            told = output.read()
        assert done.returncode == 0, f"{program} failed with {done.returncode}:\n{told}"
        return told

    def _as_whom(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; a test that stops it must start it again."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed: neither initdb on PATH nor /usr/lib/postgresql/*/bin")
    account = _account_for_server()
    if account is None:
        pytest.skip("PostgreSQL does not run as root, and there is no account postgres or nobody")
    folder = Path(tempfile.mkdtemp(prefix="jobledger-pg-"))
    os.chown(folder, account.pw_uid, account.pw_gid)
    server = PostgresServer(binaries, account, folder)
    with server.cleaned_up():
        server.initialise()
        server.start()
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of a database on a real server, the same one for all tests of a session."""
    return postgres_server.new_database()


@pytest.fixture
def fresh_postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database on a real server, for one test alone."""
    return postgres_server.new_database()
