"""The jobs that an agent is to hold for a plan, from and to the JSON of the compatible services."""

from dataclasses import dataclass

from ...domain.messages import ProvisionedJobs
from ...domain.plan import CommandJob, FileJob, Job, ScheduleJob
from .documents import Fields, Reader, WireError, WireProblem, decode_object, encode
from .job_templates import TemplateKind, job_template_fields, read_job, template_kind


def decode_provision(raw: bytes) -> ProvisionedJobs:
    """The jobs of one plan in a request's body; raises ``WireError`` naming every flaw.

    Event jobs and templates of commands are left out: no agent holds them.
    """
    plan, jobs = decode_jobs(raw)
    held = tuple(job for job in jobs if isinstance(job, CommandJob | ScheduleJob | FileJob))
    return ProvisionedJobs(plan=plan, jobs=held)


def decode_jobs(raw: bytes) -> tuple[str, tuple[Job, ...]]:
    """The plan's name and the job templates, of any kind, in ``{"jobs": […]}``; raises ``WireError``.

    The plan is the one that the jobs name as their ``contextName``. A list that is empty needs a
    ``contextName`` beside it.
    """
    plan, templates = decode_templates(raw)
    problems: list[WireProblem] = []
    jobs = [
        read_job(each.reader(problems), each.kind)
        for each in templates
        if each.kind is not TemplateKind.COMMAND_TEMPLATE
    ]
    if problems:
        raise WireError(problems)
    return plan, tuple(jobs)


@dataclass(frozen=True, slots=True)
class GivenTemplate:
    """A job template in a request, or a template of commands."""

    kind: TemplateKind
    fields: Fields
    pointer: str

    def reader(self, problems: list[WireProblem]) -> Reader:
        """A reader of its fields."""
        return Reader(self.fields, problems, pointer=self.pointer)


def decode_templates(raw: bytes) -> tuple[str, list[GivenTemplate]]:
    """The plan's name and the templates in ``{"jobs": […]}``, as they are; raises ``WireError``."""
    problems: list[WireProblem] = []
    reader = Reader(decode_object(raw), problems)
    if not isinstance(reader.fields.get("jobs"), list):
        raise WireError.of('give a list of job templates, as {"jobs": []}', pointer="/jobs")
    plan = reader.text("contextName")
    templates = []
    for each in reader.objects("jobs"):
        plan = plan or each.text("contextName")
        kind = template_kind(each.fields)
        if kind is not TemplateKind.COMMAND_TEMPLATE:
            _check(each, plan)
        if kind is None:
            each.flaw("", "what kind of job this is cannot be told; give its class or its kind's fields")
        else:
            templates.append(GivenTemplate(kind, each.fields, each.pointer))
    if not plan:
        reader.flaw("contextName", "no job names its plan; give its name as contextName")
    if problems:
        raise WireError(problems)
    return plan, templates


def _check(reader: Reader, plan: str) -> None:
    reader.required_text("agentName")
    reader.required_text("jobName")
    own = reader.text("contextName")
    if own and own != plan:
        reader.flaw("contextName", f"this job is of {own!r}, others of {plan!r}; send one plan at a time")


def encode_provision(provision: ProvisionedJobs) -> bytes:
    """The jobs as a request's body."""
    return encode(
        {
            "contextName": provision.plan,
            "jobs": [job_template_fields(job, provision.plan) for job in provision.jobs],
        }
    )
