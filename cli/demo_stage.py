"""Where the demo is seen: a live tree below its remarks in a terminal, plain lines in a pipe, or nowhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from . import answers, render, tree

if TYPE_CHECKING:
    from rich.console import Console


class Stage(Protocol):
    """What the demo shows itself on."""

    def say(self, text: str) -> None:
        """A remark on what happens now."""
        ...

    def look(self, instance: answers.Instance) -> None:
        """The instance as it is now."""
        ...


class Lines:
    """A line for each remark and each change, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last: answers.Instance | None = None

    def say(self, text: str) -> None:
        """Print a remark."""
        render.line(f"{time.monotonic() - self._began:5.1f}  == {text}")

    def look(self, instance: answers.Instance) -> None:
        """Print what has changed."""
        for text in tree.changes(self._last, instance):
            render.line(f"{time.monotonic() - self._began:5.1f}  {text}")
        self._last = instance


class Live:
    """The tree at the bottom of the terminal, remarks above it."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._last: answers.Instance | None = None

    def say(self, text: str) -> None:
        """Print a remark above the tree."""
        from rich.text import Text

        self._console.print(Text(f"== {render.clean(text)}", style="bold"))

    def look(self, instance: answers.Instance) -> None:
        """Draw this from now on."""
        self._last = instance

    def drawn(self) -> Any:
        """What stands at the bottom now."""
        from .drawing import drawn

        if self._last is None:
            return ""
        return drawn(self._last, height=self._console.height - 1, now=datetime.now(UTC))


class Nowhere:
    """Shows nothing: only the verdict is asked for."""

    def say(self, text: str) -> None:
        """Nothing."""

    def look(self, instance: answers.Instance) -> None:
        """Nothing."""


@contextmanager
def stage_for(*, in_terminal: bool, quiet: bool) -> Iterator[Stage]:
    """The stage for those who watch."""
    if quiet:
        yield Nowhere()
    elif in_terminal:
        from rich.live import Live as Display

        terminal = render.console()
        stage = Live(terminal)
        with Display(console=terminal, get_renderable=stage.drawn, refresh_per_second=8):
            yield stage
    else:
        yield Lines()
