"""An instance as a tree in a terminal, with colour, folded where it does not fit."""

from datetime import datetime

from rich.text import Text
from rich.tree import Tree

from . import answers, render, tree
from .why import Node

SYMBOLS = {
    "WAITING": "·",
    "RUNNING": "▶",
    "COMPLETE": "✓",
    "ERROR": "✗",
    "LOCK_QUEUED": "⧗",
    "ON_HOLD": "‖",
    "SKIPPED": "↷",
    "SKIPPED_RUNNING": "↷",
    "SKIPPED_COMPLETE": "↷",
    "DISABLED": "–",
    "ENDED": "■",
}
_OF_INTEREST = frozenset({"RUNNING", "ERROR", "LOCK_QUEUED", "ON_HOLD"})


def drawn(instance: answers.Instance, *, height: int, now: datetime | None = None) -> Tree:
    """The tree for a terminal; what does not fit into ``height`` lines is folded into counts."""

    head = Text(f"{instance.plan} ", style="bold")
    head.append(instance.status, style=render.STYLES.get(instance.status, ""))
    head.append(f"  {render.clean(render.counts(instance.counts))}  {instance.instance_id}", style="dim")
    root = Tree(head, guide_style="dim")
    if instance.root is not None:
        folded = _size(instance.root) + 1 > height
        _draw(root, instance.root, folded=folded, now=now)
    return root


def drawn_nodes(node: Node) -> Tree:
    """Lines and what belongs beneath them, for a terminal."""
    root = Tree(Text(render.clean(node.text), style="bold"), guide_style="dim")
    branches = [root]
    for depth, each in list(node.walk())[1:]:
        branches[depth:] = [branches[depth - 1].add(Text(render.clean(each.text)))]
    return root


def _draw(above: Tree, context: answers.Context, *, folded: bool, now: datetime | None) -> None:

    branch = above.add(_labelled(context.name, context.status, ""))
    hidden: dict[str, int] = {}
    for job in context.jobs:
        if folded and job.status not in _OF_INTEREST:
            hidden[job.status] = hidden.get(job.status, 0) + 1
        else:
            branch.add(_labelled(job.name or job.identifier, job.status, tree.job_remarks(job, now)))
    if hidden:
        branch.add(Text(f"… {render.counts(hidden)}", style="dim"))
    for child in context.contexts:
        if folded and child.status in ("WAITING", "COMPLETE"):
            branch.add(_labelled(child.name, child.status, f"{_size(child) - 1} within"))
        else:
            _draw(branch, child, folded=folded, now=now)


def _labelled(name: str, status: str, remarks: str) -> Text:

    style = render.STYLES.get(status, "")
    text = Text(f"{SYMBOLS.get(status, '?')} ", style=style)
    text.append(render.clean(name), style="")
    text.append(f"  {status}", style=style)
    if remarks:
        text.append(f"  {render.clean(remarks)}", style="dim")
    return text


def _size(context: answers.Context) -> int:
    return 1 + len(context.jobs) + sum(_size(child) for child in context.contexts)
