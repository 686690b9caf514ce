"""The tables of docs/commands.md, made from those that the code decides by.

``python -m jobledger.cli.command_tables docs/commands.md`` writes them into the page, between its marks.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..domain.commands import CONTEXT_COMMANDS, JOB_COMMANDS, ContextCommand, JobCommand
from ..domain.plan import EventKind
from ..domain.status import KINDS, NOT_ON_ITS_WAY, PERMITTED, PREPARING, WITHOUT_EFFECT, JobStatus

JOB_KINDS = ("command", "schedule", "file", *(kind.name.lower() for kind in EventKind))

ACCEPTED, WITHOUT, REFUSED = "●", "○", ""


def tables() -> dict[str, str]:
    """Each table by the name of its place in the page."""
    return {
        "statuses": _table(("", *JobStatus), _by_status()),
        "kinds": _table(("", *JOB_KINDS), _by_kind()),
        "when": _table(("", "ahead of the start", "while on its way", "after the end"), _by_time()),
        "meanings": _table(("command", "what it does"), _meanings(JOB_COMMANDS)),
        "contexts": _table(("command", "what it does"), _meanings(CONTEXT_COMMANDS)),
    }


def with_tables(page: str) -> str:
    """The page with its tables as they are to be; raises ``ValueError`` when it lacks the marks of one."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if place.search(page) is None:
            raise ValueError(f"the page has no {begin} … {end}")
        text = f"{begin}\n{table}\n{end}"
        page = place.sub(lambda _found, text=text: text, page, count=1)  # type: ignore[misc]
    return page


def _by_status() -> Iterator[Sequence[str]]:
    for command, statuses in PERMITTED.items():
        without = WITHOUT_EFFECT.get(command, frozenset())
        yield (
            f"`{command}`",
            *(
                ACCEPTED if each in statuses else WITHOUT if each in without else REFUSED
                for each in JobStatus
            ),
        )


def _by_kind() -> Iterator[Sequence[str]]:
    for command in PERMITTED:
        kinds = KINDS.get(command, frozenset(JOB_KINDS))
        yield f"`{command}`", *(ACCEPTED if kind in kinds else REFUSED for kind in JOB_KINDS)


def _by_time() -> Iterator[Sequence[str]]:
    for command in PERMITTED:
        yield (
            f"`{command}`",
            ACCEPTED if command in PREPARING else REFUSED,
            REFUSED if command in NOT_ON_ITS_WAY else ACCEPTED,
            REFUSED,
        )


def _meanings(commands: Iterable[type[JobCommand] | type[ContextCommand]]) -> Iterator[Sequence[str]]:
    for command in commands:
        yield f"`{command.name}`", (command.__doc__ or "").strip()


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the tables into the page that is named."""
    page = Path(sys.argv[1])
    page.write_text(with_tables(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
