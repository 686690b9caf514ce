"""Every shell command in the README is run, in order, against real servers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
MAKE = [block.strip() for block in BLOCKS if block.startswith("make ")]
SHELL = [block for block in BLOCKS if not block.startswith("make ")]

_WAIT = """
until jobledger agent list 2>/dev/null | grep -q scheduler-agent; do sleep 0.1; done
"""
"""What a person does between two blocks: wait until the servers are there."""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Like a checkout after ``make demo``; whatever is started in it is ended."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "activate").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    for name in ("examples", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    yield tmp_path
    for process in psutil.process_iter():
        try:
            if any(str(tmp_path) in word for word in (*process.cmdline(), process.environ().get("HOME", ""))):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_shell_blocks_of_the_readme_run_one_after_the_other(directory: Path) -> None:
    port = _free_port()
    steps = []
    for number, block in enumerate(SHELL, 1):
        steps.append(f"echo '--- block {number}'\n{block}")
        if "jobledger up" in block:
            steps.append(_WAIT)
    script = "set -euo pipefail\n" + "\n".join(steps)
    # A default port may be taken where tests run; nothing else of the README is changed.
    script = script.replace("jobledger up ", f"jobledger up --port {port} ")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBLEDGER_")}
    environment = {**kept, "HOME": str(directory), "JOBLEDGER_URL": f"http://127.0.0.1:{port}"}
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            told, _nothing = shell.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            told, _nothing = shell.communicate()
            pytest.fail(f"the README's commands did not end:\n{told}")
    assert shell.returncode == 0, told
    assert f"--- block {len(SHELL)}" in told
    for promised in ("Ada waves back", "exit code 6", "there is nobody", "scheduler-agent-wave"):
        assert promised in told, told
    assert (directory / "jobledger-copy.db").is_file()


def test_what_the_readme_promises_of_make_is_run_by_ci() -> None:
    pipeline = (ROOT / ".ci" / "run").read_text("utf-8")
    assert set(MAKE) == {"make demo", "make test"}
    for command in MAKE:
        assert re.search(rf"^{command}\b", pipeline, re.MULTILINE), f"{command} is not run by .ci/run"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
            if not target.startswith(("http://", "https://")):
                assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links to {target}"


NAMED_BENCHMARKS = re.findall(r"`python (benchmarks/\w+\.py)`", README)


def test_the_readme_names_benchmarks() -> None:
    assert len(NAMED_BENCHMARKS) == README.count("`python ")
    assert NAMED_BENCHMARKS


@pytest.mark.parametrize("path", NAMED_BENCHMARKS)
def test_every_benchmark_that_the_readme_names_runs_and_prints_its_figures(path: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / path), "--small", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, *figures = json.loads(done.stdout).items()
    assert name == ("benchmark", path.removeprefix("benchmarks/").removesuffix(".py").replace("_", " "))
    assert figures
    assert all(isinstance(value, int | float) and value >= 0 for _figure, value in figures), figures
    row = next(line for line in README.splitlines() if f"`python {path}`" in line)
    if re.search(r"\d", row.rpartition("` |")[2]):
        floors = [figure for figure, _value in figures if "floor" in figure or "at most" in figure]
        assert floors, "no figure stands beside its floor"
        assert [figure for figure, _value in figures if " / " in figure], "no figure stands in relation"
        assert all(value > 0 for figure, value in figures if figure in floors), figures
