"""How the rooms become a package, and that they are in nobody's way."""

import subprocess
import sys
import sysconfig
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("actors", "cli", "domain", "http", "storage", "examples", "jobledger")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def files_of_rooms() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    return [path.relative_to(ROOT) for path in found if "__pycache__" not in path.parts]


def package_of(folder: Path) -> str:
    return ".".join(("jobledger", *(part for part in folder.parts if part != "jobledger")))


def test_every_folder_with_modules_is_a_package_that_is_installed() -> None:
    """An editable installation would find them all the same; a real one leaves out what is not named."""
    folders = {path.parent for path in files_of_rooms() if path.suffix in {".py", ".yaml"}}
    assert {package_of(folder) for folder in folders} == set(PROJECT["packages"])
    mapped = {package: Path(folder) for package, folder in PROJECT["package-dir"].items()}
    for package in PROJECT["packages"]:
        above, _dot, name = package.rpartition(".")
        where = mapped.get(package) or mapped[above] / name
        assert (ROOT / where).is_dir(), f"{package} is said to be in {where}"
        assert package_of(where) == package


def test_every_file_that_is_no_module_is_installed_too() -> None:
    for path in files_of_rooms():
        if path.suffix != ".py":
            globs = PROJECT["package-data"].get(package_of(path.parent), ())
            assert any(fnmatch(path.name, each) for each in globs), f"{path} would be left out"


def test_no_room_is_a_package_by_itself() -> None:
    """With an ``__init__.py`` one would be imported in place of a module of the same name elsewhere."""
    assert [path for path in files_of_rooms() if path.name == "__init__.py"] == [
        Path("jobledger/__init__.py")
    ]


@pytest.mark.parametrize("where", [ROOT, ROOT / "tests"], ids=["from the root", "from the tests"])
def test_the_standard_librarys_http_is_what_is_imported_by_that_name(where: Path) -> None:
    script = "import http, http.client, jobledger.http.serving; print(http.__file__, http.client.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=where, capture_output=True, text=True, check=True
    ).stdout
    library = sysconfig.get_paths()["stdlib"]
    assert all(Path(path).is_relative_to(Path(library).resolve()) for path in told.split()), told


@pytest.mark.parametrize("how", [["-m", "pytest"], [str(Path(sys.executable).with_name("pytest"))]])
def test_pytest_runs_from_the_root_by_either_name(how: list[str]) -> None:
    one = "tests/domain/test_windows.py"
    told = subprocess.run(
        [sys.executable, *how, "-q", "-p", "no:cacheprovider", one],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
