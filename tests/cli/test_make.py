"""``make`` on a machine where something is missing: what it says, and that nothing half-made is left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOO_OLD = "#!/bin/sh\nexit 1\n"
WITHOUT_VENV = f"""#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && echo "ensurepip is not available" >&2; exit 1;;
  *) exec {sys.executable} "$@";;
esac
"""
TELLS = f"""#!/bin/sh
case "$*" in
  "-m venv "*)
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    printf '#!/bin/sh\\necho demo "$@"\\n' > "$3/bin/jobledger"
    chmod +x "$3/bin/jobledger";;
  -c*) exec {sys.executable} "$@";;
  *) echo "python $*" >> "$TOLD";;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone, and a PATH with the usual tools and no Python."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "rm", "touch", "mkdir", "cp", "chmod"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return tmp_path


def python(checkout: Path, name: str, script: str) -> None:
    program = checkout / "tools" / name
    program.write_text(script)
    program.chmod(0o755)


def make(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    tools = checkout / "tools"
    return subprocess.run(
        [str(tools / "make"), *arguments],
        cwd=checkout,
        env={
            "PATH": str(tools),
            "HOME": str(checkout),
            "TOLD": str(checkout / "told"),
            "LANG": os.environ.get("LANG", "C"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("target", ["demo", "test"])
def test_without_a_python_that_is_new_enough_it_says_which_one_is_needed(checkout: Path, target: str) -> None:
    python(checkout, "python3", TOO_OLD)
    done = make(checkout, target)
    assert done.returncode != 0
    assert "jobledger needs Python 3.11 or newer" in done.stdout
    assert not (checkout / ".venv").exists()


def test_where_no_environment_can_be_made_it_says_what_to_install_and_leaves_none(checkout: Path) -> None:
    python(checkout, "python3", WITHOUT_VENV)
    done = make(checkout, "demo")
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stdout
    assert not (checkout / ".venv").exists()


def test_a_newer_python_beside_an_old_one_is_found(checkout: Path) -> None:
    python(checkout, "python3", TOO_OLD)
    python(checkout, "python3.13", TELLS)
    done = make(checkout, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo demo" in done.stdout
    assert "pip install" in (checkout / "told").read_text()


def test_a_second_time_nothing_is_installed_again_unless_the_project_has_changed(checkout: Path) -> None:
    python(checkout, "python3", TELLS)
    make(checkout, "demo")
    (checkout / "told").unlink()
    assert "demo demo" in make(checkout, "demo").stdout
    assert not (checkout / "told").exists()
    later = (checkout / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(checkout / "pyproject.toml", (later, later))
    make(checkout, "demo")
    assert "--editable ." in (checkout / "told").read_text()


def test_make_test_installs_what_tests_need_and_runs_all_of_them(checkout: Path) -> None:
    python(checkout, "python3", TELLS)
    done = make(checkout, "test", "PYTEST_OPTIONS=-x")
    assert done.returncode == 0, done.stdout + done.stderr
    told = (checkout / "told").read_text()
    assert "--editable .[test,lint]" in told
    assert "python -m pytest -x" in told
