"""Why a job is not running, or why it ran, in words."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from . import answers, render
from .why_answers import Agent, Blocker, CauseStep, Explained, Lacks, Why

_LONGEST_ROW = 6
"""Jobs that wait one for the other that are drawn; of a longer row the first and the last are."""


@dataclass(slots=True)
class Node:
    """A line, and those that belong beneath it."""

    text: str
    children: list["Node"] = field(default_factory=list)
    plain: bool = False
    """It is about a job that waits for others, and nothing more is to be said of it."""

    def walk(self) -> Iterator[tuple[int, "Node"]]:
        """This and all beneath it, each with its depth; without recursion, since chains may be long."""
        left = [(0, self)]
        while left:
            depth, node = left.pop()
            yield depth, node
            left += [(depth + 1, child) for child in reversed(node.children)]


def told(why: Why, instance_text: str) -> list[Node]:
    """The whole answer; commands in it name the instance as the caller did."""
    job = why.job
    head = Node(f"{job.identifier} in {why.context} is {_status(job)}")
    if why.latest is not None:
        head.text += f" since {render.moment(why.latest.at)}{_author(why.latest)}"
    nodes = [head]
    if job.status == "ERROR" and not job.acknowledged and not why.blockers:
        place = _place(job, why.context, instance_text)
        head.children += [Node(f"Next: {each}") for each in _after_failure(place)]
    if why.blockers:
        nodes.append(_in_the_way(why, instance_text))
    if len(why.jobs) > 1:
        nodes.append(_folded(Node("It waits for", _Waits(why).beneath(why.jobs[0]))))
    if why.chain:
        nodes.append(Node("What it does comes from", [Node(each) for each in _causes(why)]))
    return nodes


def _status(job: answers.Job) -> str:
    if job.initiated and job.status == "WAITING":
        return "WAITING, on its way to its agent"
    return f"{job.status}, accepted" if job.status == "ERROR" and job.acknowledged else job.status


# --- what stands in the way ---------------------------------------------------------------------------------


def _in_the_way(why: Why, instance_text: str) -> Node:
    node = Node("What stands in the way")
    for blocker in why.blockers:
        line = Node(f"{blocker.job.identifier}: {sentence(blocker, why)}")
        for letter in blocker.dead_letters:
            line.children.append(Node(f"an event about it could not be processed: {letter.error}"))
        line.children += [Node(f"Next: {each}") for each in _next_steps(blocker, why, instance_text)]
        node.children.append(line)
    if (more := why.blockers_count - len(why.blockers)) > 0:
        node.children.append(Node(f"and {more} more"))
    return node


def sentence(blocker: Blocker, why: Why) -> str:
    """What is the matter with a job."""
    if blocker.kind == "ended":
        return f"the instance has ended{'' if why.ended is None else _since(why.ended)}"
    if blocker.kind in _BY_ORDER:
        return f"{_BY_ORDER[blocker.kind]}{_since(blocker.fact)}"
    words = _IN_WORDS.get(blocker.kind)
    return _OTHERWISE.get(blocker.kind, blocker.kind) if words is None else words(blocker)


def _runs(blocker: Blocker) -> str:
    process = "" if blocker.job.pid is None else f", pid {blocker.job.pid}"
    return f"runs{_since_moment(blocker.job.started_at)}{process}{_silent(blocker.agent)}"


def _failed(blocker: Blocker) -> str:
    code = "" if blocker.job.return_code is None else f", return code {blocker.job.return_code}"
    details = f": {blocker.job.details}" if blocker.job.details else ""
    return f"failed{_since_moment(blocker.job.finished_at, 'at')}{code}{details}"


def _has_not_fired(blocker: Blocker) -> str:
    zone = f" ({blocker.trigger['zone']})" if blocker.trigger.get("zone") else ""
    return f"its schedule has not fired: {blocker.trigger.get('cron')}{zone}{_silent(blocker.agent)}"


def _has_not_come(blocker: Blocker) -> str:
    names = ", ".join(blocker.trigger.get("filenames") or ()) or "any"
    place = f" in {blocker.trigger['file_path']}" if blocker.trigger.get("file_path") else ""
    return f"no file has come: {names}{place}{_silent(blocker.agent)}"


def _on_its_way(blocker: Blocker) -> str:
    agent = blocker.agent
    name = blocker.job.agent
    if agent is None or not agent.announced:
        return f"agent {name} has not taken it: it never announced itself"
    if blocker.undelivered:
        return f"agent {name} has not taken it{_silent(agent) or ' yet'}"
    busy = f" ({agent.running} running, {agent.queued} queued)"
    told = "".join(f"; it says: {problem}" for problem in agent.problems)
    return f"agent {name} has it and has not reported its start{busy}{_silent(agent)}{told}"


def _waits_for_lock(blocker: Blocker) -> str:
    lock = blocker.lock
    if lock is None:
        return f"waits for its lock{_since(blocker.fact)}"
    holders = [f"{each.job} of {each.plan or 'an instance'} {each.instance_id[:8]}" for each in lock.held_by]
    others = lock.held_by_count - len(holders)
    held = ", ".join([*holders, *([f"{others} others"] if others > 0 else [])])
    told = f"waits for lock {lock.name} since {render.moment(lock.waiting_since)}"
    if held:
        told += f", held by {held}"
    return f"{told}, {lock.ahead} before it" if lock.ahead else told


_IN_WORDS: Mapping[str, Callable[[Blocker], str]] = {
    "running": _runs,
    "on its way": _on_its_way,
    "lock": _waits_for_lock,
    "error": _failed,
    "schedule": _has_not_fired,
    "file": _has_not_come,
}
_BY_ORDER = {
    "held": "is held",
    "skipped": "is to be passed over: it was skipped",
    "schedules disabled": "the schedules of the instance are switched off",
}
_OTHERWISE = {
    "prepared": "the instance has not started",
    "event": "its global event has not been raised",
    "raised": "its global event is raised and has not been heard yet",
    "by hand": "it depends on nothing and has to be submitted",
    "unfired": "what it waits for is so already, and nothing more is to come that starts it",
    "prevents": "it has succeeded, and something waits for its not having done so",
    "circle": "it waits for itself, by way of others",
}


def _since(fact: answers.Fact | None) -> str:
    return " since the beginning" if fact is None else f" since {render.moment(fact.at)}{_author(fact)}"


def _since_moment(moment: str | None, word: str = "since") -> str:
    return f" {word} {render.moment(moment)}" if moment else ""


def _author(fact: answers.Fact) -> str:
    """Who did it, and why; nothing for what agents report."""
    if "command" not in fact.cause:
        return ""
    by = f" by {fact.cause.get('by', 'somebody')}"
    return f'{by}: "{fact.cause["reason"]}"' if fact.cause.get("reason") else by


def _silent(agent: Agent | None) -> str:
    if agent is None or agent.reachable:
        return ""
    if not agent.announced:
        return f"; agent {agent.name} never announced itself"
    seen = f", last seen {render.moment(agent.last_seen)}" if agent.last_seen else ""
    return f"; agent {agent.name} does not answer{seen}"


def _place(job: answers.Job, context: str, instance_text: str) -> str:
    """The job as it is named on the command line."""
    words = [instance_text, job.identifier, *(() if job.context is None else ("--context", context))]
    return shlex.join(words)


def _after_failure(place: str) -> Iterator[str]:
    yield f"`jobledger job output {place} --stderr`; then `job submit` it again, or `job acknowledge` it"


def _next_steps(blocker: Blocker, why: Why, instance_text: str) -> Iterator[str]:
    place = _place(blocker.job, blocker.context, instance_text)
    for letter in blocker.dead_letters:
        yield f"`jobledger dead-letter resubmit {letter.id}` once its cause is put right"
    match blocker.kind:
        case "ended":
            yield f"`jobledger instance start {shlex.quote(why.plan)}`"
        case "held":
            yield f"`jobledger job release {place}`"
        case "skipped":
            yield f"`jobledger job enable {place}`"
        case "schedules disabled":
            yield f"`jobledger instance schedules {shlex.quote(instance_text)} on`"
        case "error":
            yield from _after_failure(place)
        case "by hand" | "unfired" | "circle":
            yield f"`jobledger job submit {place}`"
        case "prevents":
            yield f"`jobledger job reset {place}`"
        case "lock":
            yield "`jobledger lock list`"
        case _ if blocker.agent is not None and not blocker.agent.reachable:
            yield f"start agent {blocker.agent.name}; `jobledger agent list` says which answer"


# --- what it waits for --------------------------------------------------------------------------------------


class _Waits:
    """The jobs that a job waits for as a tree; one that stands there already is not drawn again."""

    def __init__(self, why: Why) -> None:
        self._by_place = {(context, each.identifier): each for each in why.jobs for context in each.contexts}
        self._kinds: dict[str, list[str]] = {}
        for blocker in why.blockers:
            self._kinds.setdefault(blocker.job.identifier, []).append(sentence(blocker, why))
        self._drawn: set[int] = set()

    def beneath(self, explained: Explained) -> list[Node]:
        """What one job waits for, without recursion: chains may be long."""
        root = Node("")
        left: list[tuple[Node, str, Lacks]] = []
        self._drawn.add(id(explained))
        self._push(left, root, explained)
        while left:
            above, context, lacks = left.pop()
            if lacks.all_of is not None or lacks.any_of is not None:
                group = Node("all of" if lacks.all_of is not None else "one of")
                above.children.append(group)
                parts = lacks.all_of if lacks.all_of is not None else lacks.any_of or ()
                left += [(group, context, part) for part in reversed(parts)]
            else:
                self._add_job(left, above, context, lacks)
        return root.children

    def _push(self, left: list[tuple[Node, str, Lacks]], node: Node, explained: Explained) -> None:
        waits = explained.waits
        above = node
        if len(waits) > 1:
            above = Node("one of")
            node.children.append(above)
        left += [(above, wait.context, wait.lacks) for wait in reversed(waits)]

    def _add_job(self, left: list[tuple[Node, str, Lacks]], above: Node, context: str, lacks: Lacks) -> None:
        if lacks.preventing is not None:
            above.children.append(Node(f"not {lacks.preventing}, which has succeeded"))
            return
        identifier = lacks.lacking or ""
        found = self._by_place.get((context, identifier))
        if found is None:
            above.children.append(Node(f"{identifier}  …"))
            return
        node = Node(f"{identifier}  {found.status}")
        above.children.append(node)
        if id(found) in self._drawn:
            node.text += "  (see above)"
            return
        self._drawn.add(id(found))
        node.plain = not self._kinds.get(identifier)
        if not node.plain:
            node.text += f"  {'; '.join(self._kinds[identifier])}"
        self._push(left, node, found)


def _folded(root: Node) -> Node:
    """The same without the middle of long rows, in which each waits for the next and for nothing else."""
    seen: set[int] = set()
    for _depth, node in list(root.walk()):
        if id(node) in seen:
            continue
        row = [node]
        while len(row[-1].children) == 1 and row[-1].children[0].plain:
            row.append(row[-1].children[0])
        seen.update(map(id, row))
        if len(row) > _LONGEST_ROW:
            row[1].children = [Node(f"… {len(row) - 3} more in a row …", [row[-1]])]
    return root


# --- why it ran ---------------------------------------------------------------------------------------------

_DID = {
    "JobStarted": "started",
    "JobInitiated": "was initiated",
    "JobCompleted": "completed",
    "JobFailed": "failed",
    "JobPassedOver": "was passed over",
    "JobLockQueued": "was ready, and waited for its lock",
    "GlobalEventRaised": "was raised",
    "DependantsFired": "had its dependants fired",
}


def _causes(why: Why) -> Iterator[str]:
    left_out = why.chain_count - len(why.chain)
    for number, step in enumerate(why.chain, 1):
        if left_out > 0 and number == len(why.chain):
            yield f"… {left_out} more …"
        yield _cause(step)


def _cause(step: CauseStep) -> str:
    fact = step.fact
    did = _DID.get(fact.type, fact.type)
    text = f"{render.moment(fact.at)}  {fact.position}  {fact.data.get('job', '')} {did}"
    if fact.data.get("return_code") is not None:
        text += f", return code {fact.data['return_code']}"
    if "command" in fact.cause:
        text += f": {fact.cause['command']}{_author(fact)}"
    elif step.raised_by is not None:
        text += f", raised by instance {step.raised_by}"
    elif step.event.get("agent"):
        host = f" on {step.event['host']}" if step.event.get("host") else ""
        text += f", as {step.event['agent']} reported{host}"
    if step.skipped is not None:
        text += f"; it was skipped{_since(step.skipped)}"
    return text
