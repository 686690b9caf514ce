"""Who plays in a story: plans and instances by the names that its lines use, as they were last looked at."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobledger.domain.plan import EventJob, EventKind, Job, JobPlan
from jobledger.http.wire.views import ContextView, FactView, InstanceView, JobView
from scenario_agents import Order
from scenario_language import AGENT, ScenarioMistake
from scenario_stage import Stage


@dataclass(frozen=True)
class Told:
    """A job, a context or an instance, as a line of a story names it."""

    instance: str
    """The instance's label, such as ``night#2``; empty when nothing tells which is meant."""
    name: str
    context: str | None = None


class Cast:
    """The plans and instances of a story by the names that its lines use, as they were last looked at."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.plans: dict[str, JobPlan] = {}
        self.versions: dict[str, list[JobPlan]] = {}
        self.instances: dict[str, InstanceView] = {}
        """By label, in the order in which they came to be."""
        self.before: dict[str, InstanceView] = {}
        self._labels: dict[str, str] = {}
        self._prepared: dict[str, str] = {}
        self._begun: Counter[str] = Counter()
        self._called_off: Counter[str] = Counter()
        self._positions: dict[str, int] = {}
        self.facts: list[tuple[str, FactView]] = []
        """Those of the last step, with the label of their instance."""
        self.orders: list[Order] = []
        """What agents were told in the last step."""
        self.plan_facts: list[tuple[str, FactView]] = []
        """Those of the last step, with the name of their plan."""
        self._plan_positions: Counter[str] = Counter()
        self._heard = 0

    # --- looking --------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """A new step begins."""
        self.before = dict(self.instances)
        self.facts = []
        self.orders = []
        self.plan_facts = []

    def look(self) -> None:
        """See what the last step led to."""
        seen = sorted(self._stage.instances(), key=_by_their_beginning)
        for plan in {view.plan for view in seen}:
            self.instances.pop(f"{plan}#next", None)
        for view in seen:
            label = self._label(view)
            position = self._positions.get(view.instance_id, 0)
            if view.position > position:
                self.facts += [(label, fact) for fact in self._stage.facts(view.instance_id, position)]
            self._positions[view.instance_id] = view.position
            self.instances[label] = view
        orders = self._stage.orders()
        self.orders += orders[self._heard :]
        self._heard = len(orders)
        for plan in self.plans:
            for fact in self._stage.plan_facts(plan, self._plan_positions[plan]):
                self.plan_facts.append((plan, fact))
                self._plan_positions[plan] = fact.position

    @property
    def missed(self) -> list[str]:
        """Why starts that were due did not happen, as the last step told, and how many in a row."""
        skipped = [fact.data for _, fact in self.plan_facts if fact.type == "StartSkipped"]
        counted = [(str(each["reason"]), int(each.get("count", 1))) for each in skipped]
        return [reason if times == 1 else f"{reason} {times} times" for reason, times in counted]

    def _label(self, view: InstanceView) -> str:
        """Instances are numbered as they begin; the one that is prepared is the next."""
        if view.status == "PREPARED":
            self._prepared[view.instance_id] = f"{view.plan}#next"
            return self._prepared[view.instance_id]
        label = self._labels.get(view.instance_id)
        if label is None and view.status == "ENDED" and not self._has_begun(view):
            self._called_off[view.plan] += 1
            label = self._labels[view.instance_id] = f"{view.plan}#never-{self._called_off[view.plan]}"
        if label is None:
            self._begun[view.plan] += 1
            label = self._labels[view.instance_id] = f"{view.plan}#{self._begun[view.plan]}"
        return label

    def _has_begun(self, view: InstanceView) -> bool:
        return any(fact.type == "InstanceStarted" for fact in self._stage.facts(view.instance_id, 0))

    def news(self) -> Iterator[str]:
        """The facts of the last step, for a person to read."""
        for label, fact in self.facts:
            yield f"{label}: {fact.type} {in_short(fact.data)}".rstrip()
        for plan, fact in self.plan_facts:
            told = {name: value for name, value in fact.data.items() if name not in {"plan", "documents"}}
            yield f"plan {plan}: {fact.type} {in_short(told)}".rstrip()

    # --- names ----------------------------------------------------------------------------------------------

    def only_instance(self) -> str:
        """The latest instance of the plan that the story is about."""
        return self.latest(next(iter(self.plans)))

    def latest(self, plan: str) -> str:
        """The instance that a plan's name means: the latest that has begun, else the one that is prepared."""
        labels = [label for label, view in self.instances.items() if view.plan == plan]
        begun = [label for label in labels if self.instances[label].status != "PREPARED"]
        if not labels:
            raise ScenarioMistake(f"plan {plan} has no instance")
        return (begun or labels)[-1]

    def id_of(self, label: str) -> str:
        """The id of the instance of a label, or the latest of a plan."""
        return self.view(label).instance_id

    def view(self, label: str) -> InstanceView:
        """An instance by label, or the latest of a plan."""
        if label not in self.instances and label in self.plans:
            label = self.latest(label)
        if label not in self.instances:
            raise ScenarioMistake(f"there is no instance {label!r}")
        return self.instances[label]

    def told(self, words: Sequence[str]) -> Told:
        """``NAME [in CONTEXT] [of INSTANCE]``, and nothing more."""
        told, rest = self.told_at(words)
        if rest:
            raise ScenarioMistake(f"{rest[0]!r} is left over")
        return told

    def told_at(self, words: Sequence[str]) -> tuple[Told, list[str]]:
        """The same at the beginning of the words, and what is left of them."""
        name, rest = words[0], list(words[1:])
        context = instance = None
        while len(rest) > 1 and ((rest[0] == "in" and self._is_context(rest[1])) or rest[0] == "of"):
            if rest[0] == "in":
                context = rest[1]
            else:
                instance = rest[1]
            rest = rest[2:]
        return Told(self._instance_for(name, context, instance), name, context), rest

    def several(self, words: Sequence[str]) -> list[Told]:
        """Any number of such names, with or without commas between them."""
        left, found = [each.rstrip(",") for each in words], []
        while left:
            told, left = self.told_at(left)
            found.append(told)
        return found

    def _is_context(self, name: str) -> bool:
        return any(name in _contexts(plan) for plan in self._all_versions())

    def _all_versions(self) -> Iterator[JobPlan]:
        for versions in self.versions.values():
            yield from versions

    def _instance_for(self, name: str, context: str | None, instance: str | None) -> str:
        if instance is not None:
            return self.latest(instance) if instance in self.plans else instance
        plans = self._plans_with(name, context)
        if len(plans) > 1:
            raise ScenarioMistake(f"{name} is in several plans; say of which instance it is")
        return self.latest(plans[0]) if plans else self.only_instance()

    def _plans_with(self, name: str, context: str | None = None) -> list[str]:
        return [
            plan
            for plan, versions in self.versions.items()
            if any(
                (name in _jobs(each) or name in _contexts(each))
                and (context is None or context in _contexts(each))
                for each in versions
            )
        ]

    def plan_of(self, label: str) -> JobPlan:
        """The version of the plan that an instance is of."""
        view = self.view(label)
        return self.versions[view.plan][view.plan_version - 1]

    def know(self, plan: JobPlan) -> None:
        """A plan was pushed; the same again is no version."""
        if self.plans.get(plan.name) != plan:
            self.plans[plan.name] = plan
            self.versions.setdefault(plan.name, []).append(plan)

    def plan_with(self, job: str) -> str:
        """The name of the one plan that has a job."""
        (plan,) = self._plans_with(job)
        return plan

    def job(self, told: Told, plan: JobPlan | None = None) -> Job:
        """The template of a job; one that the plan does not have would run on the usual agent."""
        plan = plan or self.plan_of(told.instance)
        for job in plan.jobs:
            if job.name == told.name:
                return job
        listed = (job for context in plan.root.walk() for job in context.jobs if job.name == told.name)
        agent = next((job.agent for job in listed), AGENT)
        return EventJob(agent=agent, name=told.name, kind=EventKind.LOCAL)

    def name_of(self, identifier: str, label: str) -> str:
        """The name of a job that is told by its identifier."""
        listed = (job for context in self.plan_of(label).root.walk() for job in context.jobs)
        return next((job.name for job in listed if job.identifier == identifier), identifier)

    def standing(self, told: Told) -> tuple[str | None, str]:
        """The identifier and the context of a job, or only the context when the name is one's."""
        plan = self.plan_of(told.instance)
        if told.context is None and told.name in _contexts(plan) and told.name not in _jobs(plan):
            return None, told.name
        identifier = self.job(told).identifier
        places = [
            each.name for each in plan.root.walk() if identifier in {job.identifier for job in each.jobs}
        ]
        return identifier, told.context or (places[0] if places else plan.name)

    def job_view(self, told: Told, instances: dict[str, InstanceView] | None = None) -> JobView:
        """A job as it stands."""
        identifier, context = self.standing(told)
        view = (instances or self.instances)[told.instance]
        for each in _walk(view.root):
            if each.name == context:
                for job in each.jobs:
                    if job.identifier == identifier:
                        return job
        raise ScenarioMistake(f"there is no job {told.name} in {context}")

    def status(self, told: Told) -> str:
        """Of a job, a context, or an instance (``instance``, or ``instance of night#1``)."""
        view = self.view(told.instance)
        if told.name == "instance":
            return view.status
        identifier, context = self.standing(told)
        if identifier is not None:
            return self.job_view(told).status.value
        return next(each.status for each in _walk(view.root) if each.name == context)

    def shown(self, told: Told) -> str:
        """The shortest name that means the same job."""
        plans = self._plans_with(told.name)
        here_only = getattr(self.job(told), "target_residing_context_only", False)
        place = f" in {told.context}" if here_only and told.context else ""
        obvious = len(plans) == 1 and self.latest(plans[0]) == told.instance
        return f"{told.name}{place}" if obvious else f"{told.name}{place} of {told.instance}"

    def label_of(self, instance_id: str) -> str:
        """The label of an instance by its id."""
        return self._labels.get(instance_id) or self._prepared[instance_id]


def _by_their_beginning(view: InstanceView) -> tuple[str, str, bool]:
    began_or_was_to = view.started_at or view.due_at or ""
    return began_or_was_to, view.due_at or "", view.status == "PREPARED"


def _walk(context: ContextView) -> Iterator[ContextView]:
    yield context
    for child in context.contexts:
        yield from _walk(child)


def _contexts(plan: JobPlan) -> set[str]:
    return {each.name for each in plan.root.walk()}


def _jobs(plan: JobPlan) -> set[str]:
    return {job.name for context in plan.root.walk() for job in context.jobs}


def in_short(data: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in data.items())
