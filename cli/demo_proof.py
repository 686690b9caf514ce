"""The proof of the demo: what was promised, looked up in what happened."""

from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec

from . import answers, plan_files, render
from .audit_table import print_audit
from .client import Client
from .demo_run import Ran
from .replaying import replayed_view

_RUNS = {"check-prices": 2}
"""How often each command is to have run, if not once."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    status: str
    position: int
    seconds: float
    checks: dict[str, bool]
    audit: list[dict[str, Any]]
    silent: int
    """Events that changed nothing and started nothing: the schedule goes on firing."""

    @property
    def good(self) -> bool:
        """Whether all that was promised was kept."""
        return all(self.checks.values())

    def document(self) -> dict[str, Any]:
        """The verdict for scripts."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return {"good": self.good, **document}

    def show(self) -> None:
        """Print the audit, then each promise and whether it was kept."""
        click.echo("\nThe audit: each event, what it changed, what it started\n")
        print_audit(answers.read(answers.AuditRow, row) for row in self.audit)
        if self.silent:
            click.echo(f"({self.silent} more that changed nothing: the schedule goes on firing)")
        click.echo()
        for promise, kept in self.checks.items():
            click.echo(f"{'kept  ' if kept else 'BROKEN'}  {promise}")
        click.echo(f"\n{self.status} at position {self.position} after {self.seconds:.1f} s")


class Proof:
    """Asks the dashboard, the log and the disk."""

    def __init__(self, client: Client, ran: Ran, plan: Path, directory: Path) -> None:
        self._client = client
        self._ran = ran
        self._plan = plan_files.readable(plan_files.load(plan))
        self._directory = directory
        self._path = f"/instances/{ran.instance_id}"

    def verdict(self) -> Verdict:
        """Look everything up."""
        live = self._client.get(self._path)
        position = live["position"]
        past = self._client.get(self._path, at=position)
        facts = [fact for fact in self._client.records(f"{self._path}/log") if fact["position"] <= position]
        rows = [row for row in self._client.records(f"{self._path}/audit") if row["after"] <= position]
        telling = [row for row in rows if row["changed"] or row["initiated"] or isinstance(row["event"], str)]
        replayed = replayed_view(self._plan, self._ran.instance_id, facts)
        return Verdict(
            status=live["status"],
            position=position,
            seconds=self._ran.seconds,
            checks={
                "the instance is COMPLETE": live["status"] == "COMPLETE",
                "every command ran exactly once, and the one that was submitted again twice": self._once(),
                "commands lived on when their agent was killed": self._lived_on(),
                f"time travel to position {position} shows the live state": past == live,
                f"a fresh replay of {len(facts)} facts gives the live state": replayed == live,
            },
            audit=telling,
            silent=len(rows) - len(telling),
        )

    def _once(self) -> bool:
        from ..domain.plan import CommandJob

        expected = {
            job.name: _RUNS.get(job.name, 1) for job in self._plan.jobs if isinstance(job, CommandJob)
        }
        noted = (self._directory / "work" / "ran").read_text().split()
        counted = Counter(noted)
        for name in sorted(expected | counted):
            if counted[name] != expected.get(name, 0):
                click.echo(render.clean(f"{name} ran {counted[name]} times"), err=True)
        return counted == expected

    def _lived_on(self) -> bool:
        return bool(self._ran.outlived) and set(self._ran.outlived) == set(self._ran.survivors)
