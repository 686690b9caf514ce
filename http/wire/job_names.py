"""What documents call jobs, and what the jobs' identifiers are.

Documents name a job by its identifier in many places. Where an identifier disagrees with the agent and the
job name beside it, the two win, and all that refers to the old identifier is made to refer to the new.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ...domain.plan import EventJob, EventKind, Job, JobIdentifier
from ...domain.problems import Place, Problem
from .job_templates import kind_of_event


@dataclass(frozen=True, slots=True)
class ReadTemplate:
    """A job as its template describes it, with the other identifiers by which documents may call it."""

    job: Job
    also_called: tuple[str, ...] = ()


class JobNames:
    """Finds the job that is meant, by context."""

    def __init__(self, templates: Iterable[ReadTemplate]) -> None:
        self.warnings: list[Problem] = []
        self._templates: dict[JobIdentifier, Job] = {}
        self._aliases: dict[str, JobIdentifier] = {}
        self._listed: dict[str, set[JobIdentifier]] = {}
        self._aliases_in: dict[str, dict[str, JobIdentifier]] = {}
        for template in templates:
            self._templates.setdefault(template.job.identifier, template.job)
            for alias in template.also_called:
                self._aliases.setdefault(alias, template.job.identifier)
        names = Counter(job.name for job in self._templates.values())
        self._global_events = {
            job.name
            for job in self._templates.values()
            if isinstance(job, EventJob) and job.kind is EventKind.GLOBAL and names[job.name] == 1
        }

    def listed(
        self, context: str, agent: str, name: str, identifier: str, pointer: str = ""
    ) -> tuple[str, str]:
        """The agent and the name of a job that a context lists, either of which may have been left out.

        A job that has no template, under the name of a global event, is that event: exports with tokens
        write an agent's token in place of the event's own name.
        """
        if not (agent and name):
            known = self._templates.get(identifier) or self._templates.get(self._aliases.get(identifier, ""))
            agent, name = (known.agent, known.name) if known is not None else (agent, name)
        given = f"{agent}-{name}"
        if name in self._global_events and kind_of_event(agent) is None and given not in self._templates:
            agent = EventKind.GLOBAL.value
            self.warnings.append(
                Place(context or None, given).warning(
                    f"no template describes this job; it is taken for the global event '{agent}-{name}'",
                    pointer,
                )
            )
        made = f"{agent}-{name}"
        self._listed.setdefault(context, set()).add(made)
        aliases = self._aliases_in.setdefault(context, {})
        for alias in (given, identifier):
            aliases.setdefault(alias, made)
        return agent, name

    def resolve(self, context: str, identifier: str) -> JobIdentifier:
        """The identifier of the job that a document calls so in a context."""
        if identifier in self._listed.get(context, ()):
            return identifier
        in_context = self._aliases_in.get(context, {}).get(identifier)
        if in_context is not None:
            return in_context
        return identifier if identifier in self._templates else self._aliases.get(identifier, identifier)
