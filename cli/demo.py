"""``jobledger demo``: an end-of-day run from start to end, with an agent that is killed half-way."""

import shutil
import signal
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from types import FrameType

import click

from . import render
from .options import as_json_option


@click.command()
@click.option(
    "--plan", "plan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), hidden=True
)
@click.option("--keep", is_flag=True, help="Leave the directory with all data when it is over.")
@as_json_option
def demo(plan_file: Path | None, keep: bool, as_json: bool) -> None:
    """Show an end-of-day run from start to end, its agent killed half-way.

    A dashboard and an agent run as two processes in a temporary directory, on free ports of the loopback
    interface. The exit code is 0 only if the instance is COMPLETE, every command had its effect exactly
    once, and replaying the log gives the live state.
    """
    from .demo_proof import Proof, Verdict
    from .demo_run import Night
    from .demo_stage import stage_for

    signal.signal(signal.SIGTERM, _stop)
    plan = plan_file or Path(str(files("jobledger.examples").joinpath("end-of-day.yaml")))
    directory = Path(tempfile.mkdtemp(prefix="jobledger-demo-"))
    verdict: Verdict | None = None
    try:
        with (
            stage_for(in_terminal=render.in_terminal(), quiet=as_json) as stage,
            Night(directory, plan, stage) as night,
        ):
            ran = night.run()
            verdict = Proof(night.client, ran, plan, directory).verdict()
        if as_json:
            render.as_json(verdict.document())
        else:
            verdict.show()
    finally:
        if keep:
            click.echo(f"the data is in {directory}", err=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if not verdict.good:
        raise click.exceptions.Exit(1)


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Leave by the way on which everything is cleaned up."""
    sys.exit(143)
