"""Facts as they are decided, each applied at once, because the next may depend on it.

What events and orders have in common stands here: how a job starts, how it ends, and what follows from that.
"""

from collections import deque

from msgspec.structs import replace

from .facts import (
    Cause,
    EndReason,
    GlobalEventRaised,
    InitiationKept,
    InstanceEnded,
    InstanceFact,
    JobCompleted,
    JobFailed,
    JobInitiated,
    JobLockQueued,
    JobPassedOver,
    KillRequested,
    Recorded,
)
from .instance import InstanceState, evolve, with_job
from .instants import Instant
from .job_state import JobState, Pending
from .lock_group import Claim, LockGroup
from .locks import LockStep, define, let_go, let_go_all_of, request
from .messages import Catalyst
from .parameters import parameters_for
from .plan import CommandJob, EventJob, EventKind, Lock
from .status import ContextStatus, JobStatus
from .topology import LockUse, Unit


class Decision:
    """What one event or order leads to; the state that it began with stays as it is."""

    def __init__(
        self, state: InstanceState, at: Instant, cause: Cause, locks: LockGroup | None = None
    ) -> None:
        self.state = state
        self.facts: list[Recorded] = []
        self.locks = locks
        self.lock_facts: list[Recorded] = []
        self.granted: list[Claim] = []
        self._let_go: list[int] = []
        """Tickets that jobs have no more, whose locks are not given to others yet."""
        self._at = at
        self._cause = cause if cause.command is None else replace(cause, begins=state.position + 1)
        self._completed: deque[tuple[Unit, Catalyst, bool]] = deque()
        self._as_if_satisfied: Unit | None = None

    def record(self, fact: InstanceFact) -> None:
        """Take one more fact."""
        recorded = Recorded(
            originator_id=self.state.instance_id,
            originator_version=self.state.position + 1,
            at=self._at,
            cause=self._cause,
            fact=fact,
        )
        before = self.state
        self.state = evolve(before, recorded)
        self.facts.append(recorded)
        if self.locks is not None and before.topology.uses_locks:
            self._note_what_is_let_go(self.locks, before, fact)

    def job(self, unit: Unit) -> JobState:
        """The job as it is after all that was decided."""
        return self.state.job(unit.index)

    # --- how a job ends -------------------------------------------------------------------------------------

    def complete(self, unit: Unit, fact: JobCompleted, catalyst: Catalyst) -> None:
        """The job succeeded, or its event occurred."""
        self.record(fact)
        self._fires(unit, catalyst)

    def fail(self, unit: Unit, fact: JobFailed) -> None:
        """The job did not succeed; if that was acknowledged ahead of it, it fires like a success."""
        self.record(fact)
        job = self.job(unit)
        if job.acknowledged:
            self._fires(unit, catalyst_of(unit, event_id=fact.event_id, job=job))

    def pass_over(self, unit: Unit, catalyst: Catalyst | None) -> None:
        """A skipped job's turn has come."""
        since = self.job(unit).since
        self.record(
            JobPassedOver(job=unit.identifier, context=unit.context, catalyst=catalyst, skipped_by=since)
        )
        self._fires(unit, catalyst_of(unit))

    def _fires(self, unit: Unit, catalyst: Catalyst) -> None:
        """What was just recorded may start the job's dependants."""
        self._completed.append((unit, replace(catalyst, position=self.state.position), unit.repeatable))

    # --- dependencies ---------------------------------------------------------------------------------------

    def fire_dependants(self) -> None:
        """Start what completions made ready; event jobs that complete on the way are looked at in turn.

        What waited for a lock that was let go comes first.
        """
        self.grant_what_is_free()
        topology = self.state.topology
        while self._completed:
            unit, catalyst, repeatable = self._completed.popleft()
            for number in unit.mentioned_by:
                dependency = topology.dependencies[number]
                if self._holds_now(dependency.gate):
                    dependant = topology.units[dependency.dependant]
                    how = Pending(catalyst=catalyst, within=dependency.context)
                    self.make_ready(dependant, unit, how, by_repeatable=repeatable)

    def fire_as_if_satisfied(self, unit: Unit, catalyst: Catalyst) -> None:
        """Have ``fire_dependants`` start what the success of a job would have started; it stays as it is.

        It counts as satisfied for all that follows at once.
        """
        self._as_if_satisfied = unit
        self._fires(unit, catalyst)

    def _holds_now(self, gate: int) -> bool:
        unit = self._as_if_satisfied
        if unit is None:
            return self.state.gate_holds(gate)
        job = replace(self.job(unit), status=JobStatus.COMPLETE)
        return with_job(self.state, unit, job).gate_holds(gate)

    def make_ready(self, unit: Unit, after: Unit, how: Pending, *, by_repeatable: bool) -> None:
        """Its dependencies hold, because of another job: start it, keep that for later, or do nothing."""
        job = self.job(unit)
        if job.status is JobStatus.ON_HOLD:
            if job.pending is None:
                self.record(
                    InitiationKept(
                        job=unit.identifier, context=unit.context, catalyst=how.catalyst, within=how.within
                    )
                )
            return
        fresh = job.status is JobStatus.WAITING and not job.initiated
        if job.skipped:
            if job.status is JobStatus.SKIPPED or (unit.repeatable and unit is not after):
                self.pass_over(unit, how.catalyst)
            return
        if fresh or self._again(unit, job, after, by_repeatable=by_repeatable):
            self.start(unit, how)

    @staticmethod
    def _again(unit: Unit, job: JobState, after: Unit, *, by_repeatable: bool) -> bool:
        if isinstance(unit.job, EventJob):
            return unit.job.kind is EventKind.BRIDGING and by_repeatable
        queued = job.status is JobStatus.LOCK_QUEUED
        return unit.repeatable and unit is not after and job.closed and not queued

    def left_to_wait_for(self, unit: Unit) -> bool:
        """Whether a dependency may still start the job."""
        dependencies = [self.state.topology.dependencies[number] for number in unit.dependencies]
        return bool(dependencies) and not any(self.state.gate_holds(each.gate) for each in dependencies)

    # --- how a job starts -----------------------------------------------------------------------------------

    def start(self, unit: Unit, how: Pending) -> None:
        """Initiate a command, raise a global event, let any other event job complete."""
        match unit.job:
            case CommandJob() if unit.lock is not None:
                self._ask_for_lock(unit, unit.job, unit.lock, how)
            case CommandJob():
                self._initiate(unit, unit.job, how)
            case EventJob(kind=EventKind.GLOBAL):
                group = self.state.environment_group
                self.record(
                    GlobalEventRaised(
                        job=unit.identifier,
                        name=unit.job.name,
                        environment_group=group,
                        catalyst=how.catalyst,
                    )
                )
            case EventJob():
                fact = JobCompleted(
                    job=unit.identifier, context=unit.context, by_hand=how.by_hand, catalyst=how.catalyst
                )
                self.complete(unit, fact, catalyst_of(unit))
            case _:
                # Schedules and file watchers start from outside alone; a plan that says otherwise is refused.
                return

    def _initiate(self, unit: Unit, job: CommandJob, how: Pending, *, lock_ticket: int | None = None) -> None:
        state = self.state
        within = state.topology.home_of(unit) if how.within is None else how.within
        carried = parameters_for(state.topology, unit, within, state.known_values, how.parameters)
        self.record(
            JobInitiated(
                job=unit.identifier,
                context=unit.context,
                initiation=state.initiations + 1,
                agent=job.agent,
                contexts=unit.contexts,
                parameters=carried.values,
                catalyst=how.catalyst,
                by_hand=how.by_hand,
                dry_run=None if state.dry_run is None else state.dry_run.of(unit.identifier),
                lock_ticket=lock_ticket,
                unset=carried.unset,
                unexpanded=carried.unexpanded,
            )
        )

    # --- locks ----------------------------------------------------------------------------------------------

    def _ask_for_lock(self, unit: Unit, job: CommandJob, use: LockUse, how: Pending) -> None:
        """Initiate the job if it is granted its lock now; else it waits in the lock's queue."""
        self.grant_what_is_free()
        locks = self._locks_with(use.lock)
        ticket = locks.next_ticket
        self._take(
            request(
                locks,
                lock=use.lock.name,
                instance_id=self.state.instance_id,
                job=unit.identifier,
                context=unit.context,
                count=use.count,
                at=self._at,
                cause=self._cause,
            )
        )
        if self._holds(ticket):
            self._initiate(unit, job, how, lock_ticket=ticket)
            return
        self.record(
            JobLockQueued(
                job=unit.identifier,
                context=unit.context,
                lock=use.lock.name,
                ticket=ticket,
                parameters=how.parameters,
                catalyst=how.catalyst,
                by_hand=how.by_hand,
                within=how.within,
            )
        )

    def initiate_with_lock(self, unit: Unit, ticket: int) -> bool:
        """Initiate a job that waited for its lock; false if it does not wait with that ticket any more."""
        job = self.job(unit)
        waits = job.status is JobStatus.LOCK_QUEUED and job.lock_ticket == ticket
        if self.state.ended or not waits or job.pending is None or not isinstance(unit.job, CommandJob):
            return False
        self._initiate(unit, unit.job, job.pending, lock_ticket=ticket)
        return True

    def grant_what_is_free(self) -> None:
        """Give others the locks that jobs have let go.

        This is done when all is recorded that one event or order says about several jobs: what one of them
        lets go must not start another that is to be held or reset as well.
        """
        tickets, self._let_go = self._let_go, []
        if tickets and self.locks is not None:
            self._take(let_go(self.locks, tickets, at=self._at, cause=self._cause))

    def _note_what_is_let_go(self, locks: LockGroup, before: InstanceState, fact: InstanceFact) -> None:
        if isinstance(fact, InstanceEnded):
            self._let_go = []
            self._take(let_go_all_of(locks, before.instance_id, at=self._at, cause=self._cause))
            return
        identifier = getattr(fact, "job", None)
        if identifier is None:
            return
        unit = before.topology.unit_of(identifier, getattr(fact, "context", None))
        if unit is None:
            return
        ticket = before.job(unit.index).lock_ticket
        if ticket and self.job(unit).lock_ticket != ticket:
            self._let_go.append(ticket)

    def _take(self, step: LockStep) -> None:
        """Take what was decided about locks, and initiate what was granted one."""
        self.locks = step.state
        self.lock_facts += step.facts
        for claim in step.granted:
            if claim.instance_id != self.state.instance_id:
                self.granted.append(claim)
                continue
            unit = self.state.topology.unit_of(claim.job, claim.context)
            if unit is not None:
                self.initiate_with_lock(unit, claim.ticket)

    def _locks_with(self, lock: Lock) -> LockGroup:
        """The locks of the group; the plan says what this one is, if no push has said so."""
        if self.locks is not None and lock.name in self.locks.locks:
            return self.locks
        group = self.state.environment_group
        defined = define(self.locks, group, [lock], at=self._at, cause=self._cause)
        if defined is None:
            raise ValueError(f"lock {lock.name!r} was given and is not defined")
        self._take(defined)
        return defined.state

    def _holds(self, ticket: int) -> bool:
        claim = None if self.locks is None else self.locks.claims.get(ticket)
        return claim is not None and claim.holds

    # --- how executions and the instance end ----------------------------------------------------------------

    def ask_to_kill(self, unit: Unit, *, force: bool = False) -> None:
        """Have the agent end the latest execution, or forget it if it has not begun."""
        if isinstance(unit.job, CommandJob):
            job = self.job(unit)
            self.record(
                KillRequested(
                    job=unit.identifier,
                    context=unit.context,
                    initiation=job.initiation,
                    agent=unit.job.agent,
                    pid=job.pid if job.status is JobStatus.RUNNING else None,
                    force=force,
                )
            )

    def end(self, reason: EndReason) -> None:
        """Kill what runs, let go of what is held and let the agents forget the instance."""
        state = self.state
        for index, job in sorted(state.jobs.items()):
            if job.can_be_killed:
                self.ask_to_kill(state.topology.units[index])
        agents = () if state.prepared else state.agents
        self.record(InstanceEnded(reason=reason, agents=agents))

    def end_if_complete(self) -> None:
        """End an instance that was to end as soon as it is complete."""
        state = self.state
        if not self.facts or state.ended or state.prepared or state.until_ended:
            return
        if state.topology.plan.end_on_completion and state.context_status(0) is ContextStatus.COMPLETE:
            self.end("complete")


def catalyst_of(unit: Unit, *, event_id: str | None = None, job: JobState | None = None) -> Catalyst:
    """A job as the cause of what follows from it, with the outcome of its latest execution if known."""
    return Catalyst(
        job=unit.identifier,
        context=unit.context,
        event_id=event_id,
        return_code=None if job is None else job.return_code,
        output_path=None if job is None else job.output_path,
    )
