"""What must have followed: the lines of a story that begin with an arrow."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jobledger.domain.instants import parse_rfc3339
from jobledger.domain.lock_group import group_key
from jobledger.http.wire.lock_views import ClaimView
from scenario_agents import Order
from scenario_cast import Told, in_short
from scenario_language import ScenarioMistake, dry_run_in, instant, pairs_in

if TYPE_CHECKING:
    from runner import Play


class Expectations:
    """What a line that begins with an arrow says, beside what is."""

    def __init__(self, play: "Play") -> None:
        self._play = play
        self._cast = play.cast

    def pairs(self, words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Pairs of what was expected and what was found."""
        check = getattr(self, f"_{words[0].replace('-', '_')}", None)
        if check is None:
            raise ScenarioMistake(f"nobody can expect {words[0]!r}")
        yield from check(list(words[1:]))

    def _initiates(self, words: list[str]) -> Iterator[tuple[str, str]]:
        expected = [self._cast.shown(told) for told in self._cast.several(_some(words))]
        yield ", ".join(expected) or "nothing", ", ".join(self._initiated()) or "nothing"

    def _initiated(self) -> list[str]:
        """Jobs that agents were told to run, by instance and then in the order in which they were told."""
        found = []
        for label, view in self._cast.instances.items():
            for order in self._cast.orders:
                if order.verb == "initiate" and order.instance_id == view.instance_id:
                    found.append(self._cast.shown(self._told_by(order, label)))
        return found

    def _told_by(self, order: Order, label: str) -> Told:
        assert order.initiation is not None
        return Told(label, order.initiation.job, order.initiation.contexts[0])

    def _nothing(self, _words: list[str]) -> Iterator[tuple[str, str]]:
        changed = self._initiated()
        for label, view in self._cast.instances.items():
            before = self._cast.before.get(label)
            if before is None or (before.root, before.status) != (view.root, view.status):
                changed.append(f"{label} changed")
        yield "nothing", ", ".join(changed) or "nothing"

    def _status(self, words: list[str]) -> Iterator[tuple[str, str]]:
        for pair in " ".join(words).split(","):
            *name, status = pair.split()
            told = self._cast.told(name)
            yield f"{' '.join(name)} {status}", f"{' '.join(name)} {self._cast.status(told)}"

    def _ignored(self, words: list[str]) -> Iterator[tuple[str, str]]:
        yield self._reasons("EventIgnored", words)

    def _skipped(self, words: list[str]) -> Iterator[tuple[str, str]]:
        yield self._reasons("FireSkipped", words)

    def _ended(self, words: list[str]) -> Iterator[tuple[str, str]]:
        yield self._reasons("InstanceEnded", words)

    def _missed(self, words: list[str]) -> Iterator[tuple[str, str]]:
        yield " ".join(words), ", ".join(self._cast.missed) or "nothing"

    def _plan(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``plan NAME STANDING [next TIME] [waiting TIME]``: how it stands, and the starts to come."""
        name, standing, *rest = words
        found = self._play.stage.plan_shown(name)
        yield standing, found.standing
        for what, moment in _times(rest):
            told = found.next_start if what == "next" else found.waiting_start
            yield f"{what} {moment}", f"{what} {_told(told)}"
        if "waiting" not in rest:
            yield "nothing waits", found.waiting_start or "nothing waits"

    def _plan_facts(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``plan-facts PlanDisabled NextPrepared``: as ``facts``, of plans."""
        yield " ".join(words), " ".join(fact.type for _, fact in self._cast.plan_facts) or "none"

    def _dropped(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``dropped HoldJob load, SetParameters``: what was set on a prepared instance and is lost."""
        found = [
            " ".join([each["order"], *([each["job"].partition("-")[2]] if each.get("job") else [])])
            for _, fact in self._cast.plan_facts
            for each in fact.data.get("dropped", ())
        ]
        yield " ".join(words), ", ".join(found) or "nothing"

    def _lives(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``lives INSTANCE [due TIME] [until TIME | until ended] [for DATE] [version N]``: its times."""
        view, rest = self._cast.view(words[0]), words[1:]
        while rest:
            match rest:
                case ["due", "never", *rest]:
                    yield "due never", f"due {_told(view.due_at)}"
                case ["due", day, time, *rest]:
                    yield f"due {instant(day, time)}", f"due {_told(view.due_at)}"
                case ["until", "ended", *rest]:
                    yield "until never", f"until {_told(view.ends_at)}"
                case ["until", day, time, *rest]:
                    yield f"until {instant(day, time)}", f"until {_told(view.ends_at)}"
                case ["for", day, *rest]:
                    yield f"for {day}", f"for {view.business_date}"
                case ["version", number, *rest]:
                    yield f"version {number}", f"version {view.plan_version}"
                case _:
                    raise ScenarioMistake(
                        "write lives INSTANCE [due TIME] [until TIME] [for DATE] [version N]"
                    )

    def _reasons(self, fact: str, words: list[str]) -> tuple[str, str]:
        found = sorted({str(each.data["reason"]) for _, each in self._cast.facts if each.type == fact})
        return " ".join(words), ", ".join(found)

    def _raises(self, words: list[str]) -> Iterator[tuple[str, str]]:
        found = [str(each.data["name"]) for _, each in self._cast.facts if each.type == "GlobalEventRaised"]
        yield " ".join(_some(words)), " ".join(found)

    def _refused(self, words: list[str]) -> Iterator[tuple[str, str]]:
        refusal = self._play.refusal
        if refusal is None:
            yield " ".join(["refused", *words]), "done"
        elif words == ["unknown"]:
            yield "refused unknown", "refused unknown" if refusal.unknown else f"refused {refusal.status}"
        elif words:
            status, *rest = [each.rstrip(",") for each in words]
            permitted = sorted(rest[2:]) if rest[:2] == ["permitted", "in"] else None
            found = sorted(refusal.permitted) if permitted is not None else None
            yield f"refused {status} {permitted}", f"refused {refusal.status} {found}"

    def _done(self, _words: list[str]) -> Iterator[tuple[str, str]]:
        refusal = self._play.refusal
        yield "done", "done" if refusal is None else f"refused: {refusal.reason}"

    def _invalid(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """Every text must be part of one of the errors of the plan."""
        told = " | ".join(self._play.problems)
        if words == ["nothing"]:
            yield "nothing", told or "nothing"
            return
        for text in words or [""]:
            yield text, text if self._play.problems and text in told else told or "the plan was accepted"

    def _tells(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``tells AGENT ORDER, …``: all of it, in order, unless it says ``in any order``."""
        agent, *rest = words
        found = [self._order(order) for order in self._cast.orders if order.agent == agent]
        if rest[:3] == ["in", "any", "order"]:
            expected = sorted(" ".join(rest[3:]).split(", "))
            yield ", ".join(expected), ", ".join(sorted(found)) or "nothing"
        else:
            yield " ".join(rest) or "nothing", ", ".join(found) or "nothing"

    def _order(self, order: Order) -> str:
        match order.verb:
            case "provision":
                return f"provision {order.plan}"
            case "withdraw":
                return f"withdraw {order.plan}"
            case "publish" | "remove":
                return f"{order.verb} {self._cast.label_of(order.instance_id)}"
            case "kill":
                return f"kill {self._killed(order)}{' by force' if order.force else ''}"
        told = self._told_by(order, self._cast.label_of(order.instance_id))
        return f"initiate {self._cast.shown(told)}"

    def _kills(self, words: list[str]) -> Iterator[tuple[str, str]]:
        expected = [self._cast.shown(told) for told in self._cast.several(_some(words))]
        found = [self._killed(order) for order in self._cast.orders if order.verb == "kill"]
        yield ", ".join(expected) or "nothing", ", ".join(found) or "nothing"

    def _killed(self, order: Order) -> str:
        meant = self._play.initiation_of(order)
        for each in self._play.stage.orders():
            if each.verb == "initiate" and each.initiation_id == meant:
                return self._cast.shown(self._told_by(each, self._cast.label_of(each.instance_id)))
        return f"an unknown run {meant}"

    def _previews(self, words: list[str]) -> Iterator[tuple[str, str]]:
        yield " ".join(words), " ".join(self._play.listed)

    def _gets(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """The parameters that the latest initiation of a job carries, all of them."""
        told, rest = self._cast.told_at(words)
        expected = {} if rest == ["nothing"] else pairs_in(rest)
        found = dict(self._latest(told).parameters)
        yield in_short(dict(sorted(expected.items()))), in_short(dict(sorted(found.items())))

    def _latest(self, told: Told) -> Any:
        instance_id = self._cast.id_of(told.instance)
        for order in reversed(self._play.stage.orders()):
            initiation = order.initiation
            if (
                initiation is not None
                and (order.instance_id, initiation.job) == (instance_id, told.name)
                and (told.context is None or told.context in initiation.contexts)
            ):
                return initiation
        raise ScenarioMistake(f"{told.name} was not initiated")

    def _contexts(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``contexts JOB are CONTEXT …``: those that the latest initiation of a job is for."""
        told, rest = self._cast.told_at(words)
        yield " ".join(rest[1:]), " ".join(self._latest(told).contexts)

    def _caused(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``caused JOB by OTHER``: the job whose event the latest initiation names as its catalyst."""
        told = self._cast.told(words[:1])
        catalyst = self._latest(told).catalyst
        found = "nothing" if catalyst is None else catalyst.job
        yield words[2], self._cast.name_of(found, told.instance)

    def _dry(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``dry JOB …``: how its agent is to pretend."""
        told, rest = self._cast.told_at(words)
        expected = None if rest == ["not", "at", "all"] else dry_run_in(rest)[1]
        yield str(expected), str(self._latest(told).dry_run)

    def _lock(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``lock NAME [group GROUP] held by JOB, … waiting JOB, …``, the word ``nobody`` for none."""
        name, group, rest = words[0], None, words[1:]
        if rest[:1] == ["group"]:
            group, rest = rest[1], rest[2:]
        at = rest.index("waiting") if "waiting" in rest else len(rest)
        view = next(
            each
            for each in self._play.stage.locks()
            if each.name == name and group_key(each.environment_group) == group_key(group)
        )
        yield self._listed("held by", rest[2:at]), self._claims("held by", view.holders)
        yield self._listed("waiting", rest[at + 1 :]), self._claims("waiting", view.waiting)

    def _listed(self, what: str, words: list[str]) -> str:
        told = [] if words == ["nobody"] else self._cast.several(words)
        return f"{what} {', '.join(self._cast.shown(each) for each in told) or 'nobody'}"

    def _claims(self, what: str, claims: tuple[ClaimView, ...]) -> str:
        shown = []
        for claim in claims:
            label = self._cast.label_of(claim.instance_id)
            shown.append(self._cast.shown(Told(label, self._cast.name_of(claim.job, label), claim.context)))
        return f"{what} {', '.join(shown) or 'nobody'}"

    def _permits(self, words: list[str]) -> Iterator[tuple[str, str]]:
        told, rest = self._cast.told_at(words)
        expected = sorted(each.rstrip(",") for each in rest)
        yield " ".join(expected), " ".join(sorted(self._cast.job_view(told).permitted))

    def _flags(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """Which of held, skipped, initiated, acknowledged and killed a job shows."""
        told, rest = self._cast.told_at(words)
        view = self._cast.job_view(told)
        names = ("held", "skipped", "initiated", "acknowledged", "killed")
        found = [name for name in names if getattr(view, name)]
        expected = [] if rest == ["none"] else rest
        yield " ".join(sorted(expected)) or "none", " ".join(sorted(found)) or "none"

    def _shows(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``shows JOB FIELD VALUE``: a field of a job as the API has it."""
        told, rest = self._cast.told_at(words)
        found = getattr(self._cast.job_view(told), rest[0])
        yield " ".join(rest[1:]), str(found)

    def _counts(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``counts [of INSTANCE] STATUS NUMBER, …``."""
        label = self._cast.only_instance()
        if words[:1] == ["of"]:
            label, words = words[1], words[2:]
        numbers = (pair.split() for pair in " ".join(words).split(","))
        expected = {status: int(number) for status, number in numbers}
        found = self._cast.view(label).counts
        yield in_short(dict(sorted(expected.items()))), in_short(dict(sorted(found.items())))

    def _instances(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``instances night#1 ENDED, night#2 WAITING``: all that have begun, with their statuses.

        What is prepared counts where it is expected: ``night#next PREPARED``.
        """
        expected = [pair.strip() for pair in " ".join(words).split(",") if pair.strip()]
        found = [
            told
            for label, view in self._cast.instances.items()
            if (told := f"{label} {view.status}") in expected or view.ended_at or view.status != "PREPARED"
        ]
        yield ", ".join(expected) or "none", ", ".join(found) or "none"

    def _recorded(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``recorded by WHO [because REASON]``: the cause of the facts of the last step."""
        by, reason = words[1], " ".join(words[3:])
        for _, fact in (*self._cast.facts, *self._cast.plan_facts):
            found = fact.cause.reason if isinstance(fact.cause.reason, str) else ""
            yield (
                f"{by} {reason} from somewhere",
                f"{fact.cause.by} {found} from {'somewhere' if fact.cause.source else 'nowhere'}",
            )
        if not (self._cast.facts or self._cast.plan_facts):
            yield "a fact", "no fact"

    def _facts(self, words: list[str]) -> Iterator[tuple[str, str]]:
        """``facts JobHeld JobReleased``: the types of the facts of the last step, in order."""
        yield " ".join(words) or "none", " ".join(fact.type for _, fact in self._cast.facts) or "none"


def _told(moment: str | None) -> str:
    return "never" if moment is None else str(parse_rfc3339(moment))


def _times(words: list[str]) -> Iterator[tuple[str, str]]:
    """``next DATE TIME``, ``waiting DATE TIME``, or ``next never``."""
    rest = words
    while rest:
        match rest:
            case ["next", "never", *rest]:
                yield "next", "never"
            case ["next" | "waiting" as what, day, time, *rest]:
                yield what, str(instant(day, time))
            case _:
                raise ScenarioMistake("write plan NAME STANDING [next DATE TIME] [waiting DATE TIME]")


def _some(words: list[str]) -> list[str]:
    """What is listed; the word ``nothing`` lists nothing."""
    return [] if words == ["nothing"] else words
