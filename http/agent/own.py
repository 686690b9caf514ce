"""The services that only our own dashboards call, below ``/api/v1``, and the health of the process."""

from pathlib import Path
from typing import Any

import falcon
import msgspec

from ...actors.agent.agent import Agent
from ...actors.agent.board import RunRow
from ...domain.instants import Instant, rfc3339
from ...domain.messages import Initiation, PublishedInstance
from ...storage.segment_errors import LogPositionUnknown
from ..wire.documents import WireError, decode
from ..wire.initiations import initiation_in
from .errors import Refusal, bad_wire
from .requests import BodyReader, answer, flag, whole_number

MOST_INITIATIONS = 10_000
DEFAULT_OUTPUT_BYTES = 256 * 1024
MOST_OUTPUT_BYTES = 4 * 1024 * 1024
_DEFAULT_LIMIT = 100
_MOST_ITEMS = 10_000


class Taken(msgspec.Struct, frozen=True):
    """What became of one initiation of several."""

    initiation_id: str | None
    refused: str | None
    """Why it is refused for good; ``None`` when it is on disk and will be carried out."""


class Initiations:
    """Several initiations at once."""

    def __init__(self, agent: Agent, bodies: BodyReader) -> None:
        self._agent = agent
        self._bodies = bodies

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make durable those that are in order, in one write, and say of each what became of it."""
        try:
            values = decode(self._bodies.read(req))
        except WireError as error:
            raise bad_wire(error, 422) from error
        if not isinstance(values, list) or len(values) > MOST_INITIATIONS:
            raise Refusal(422, f"give a list of at most {MOST_INITIATIONS} initiations")
        readable: list[Initiation] = []
        refused: dict[int, str] = {}
        for index, value in enumerate(values):
            try:
                readable.append(initiation_in(value))
            except WireError as error:
                refused[index] = str(error)
        verdicts = iter(zip(readable, self._agent.initiate(readable), strict=True))
        items = []
        for index in range(len(values)):
            if index in refused:
                items.append(Taken(None, refused[index]))
            else:
                initiation, refusal = next(verdicts)
                items.append(Taken(initiation.id, refusal))
        answer(resp, {"items": items})


_instances = msgspec.json.Decoder(list[PublishedInstance])


class Instances:
    """Plan instances that are active."""

    def __init__(self, agent: Agent, bodies: BodyReader) -> None:
        self._agent = agent
        self._bodies = bodies

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Arm them, or update them."""
        try:
            instances = _instances.decode(self._bodies.read(req))
        except msgspec.DecodeError as error:
            raise Refusal(422, str(error)) from error
        self._agent.publish(instances)
        answer(resp, {"armed": len(instances)})


class Runs:
    """The initiations that are not finished."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of them, in the order in which they were accepted."""
        begin = whole_number(req, "cursor", 0, 10**9)
        limit = whole_number(req, "limit", _DEFAULT_LIMIT, _MOST_ITEMS)
        rows = self._agent.runs()
        page = rows[begin : begin + limit]
        more = begin + limit < len(rows) and bool(page)
        answer(resp, {"items": [_run(row) for row in page], "next": str(begin + limit) if more else None})


def _run(row: RunRow) -> dict[str, Any]:
    initiation = row.order.initiation
    return {
        "initiation_id": initiation.id,
        "status": row.phase,
        "plan": initiation.plan,
        "instance_id": initiation.instance_id,
        "job": initiation.job,
        "contexts": initiation.contexts,
        "pid": row.pid,
        "accepted_at": rfc3339(row.order.accepted.accepted_at),
        "started_at": _written(row.started_at),
    }


def _written(at: Instant | None) -> str | None:
    return None if at is None else rfc3339(at)


class RunKill:
    """The end of a run."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_post(self, req: falcon.Request, resp: falcon.Response, initiation_id: str) -> None:
        """End its processes, or take it out of its queue; 404 if it does neither run nor wait."""
        if not self._agent.kill(initiation_id, force=flag(req, "force")):
            raise Refusal(404, f"initiation {initiation_id!r} neither runs nor waits here")
        answer(resp, {"initiation_id": initiation_id})


class RunOutput:
    """What a run has written so far."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, resp: falcon.Response, initiation_id: str, stream: str) -> None:
        """The raw bytes from an offset on; the whole size stands in a header."""
        if stream not in {"stdout", "stderr"}:
            raise Refusal(404, "a run has stdout and stderr")
        offset = whole_number(req, "offset", 0, 2**63 - 1)
        limit = whole_number(req, "limit", DEFAULT_OUTPUT_BYTES, MOST_OUTPUT_BYTES)
        paths = self._agent.output(initiation_id)
        if paths is None:
            raise Refusal(404, f"initiation {initiation_id!r} is not known here")
        data, size = _part(paths.output if stream == "stdout" else paths.error, offset, limit)
        resp.content_type = "application/octet-stream"
        resp.set_header("Jobledger-Output-Size", str(size))
        resp.data = data


def _part(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """Bytes of a file, and how many it has; one that is not there yet, or no longer, has none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(min(offset, size))
            return file.read(limit), size
    except FileNotFoundError:
        return b"", 0


class DeadLetters:
    """The events that the dashboard refused for good."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The oldest, with why they were refused."""
        limit = whole_number(req, "limit", _DEFAULT_LIMIT, _MOST_ITEMS)
        items = [
            {
                "position": position,
                "at": rfc3339(letter.at),
                "status": letter.status,
                "reason": letter.reason,
                "event": letter.event,
            }
            for position, letter in self._agent.dead_letters(limit)
        ]
        answer(resp, {"items": items, "next": None})


class DeadLetterRemoval:
    """One of them."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_delete(self, _req: falcon.Request, resp: falcon.Response, position: int) -> None:
        """Let go of it; 404 if there is none at this position."""
        try:
            self._agent.discard_dead_letter(position)
        except LogPositionUnknown as error:
            raise Refusal(404, f"there is no dead letter {position}") from error
        answer(resp, {"position": position})


class Actors:
    """The live actors, for debugging."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """A description of each."""
        answer(resp, {"items": self._agent.snapshots(), "next": None})


class Live:
    """Whether the process lives."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """It does."""
        answer(resp, {"status": "live"})


class Ready:
    """Whether requests are taken."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """200 when they are, 503 before; and whether initiations wait for room on the disk."""
        if not self._agent.ready:
            resp.status = 503
        told: dict[str, Any] = {"status": "ready" if self._agent.ready else "starting"}
        shortage = self._agent.shortage
        if shortage is not None:
            told["waiting_for_disk_space"] = {
                "initiations": shortage.waiting,
                "since": rfc3339(shortage.since),
            }
        answer(resp, told)


def add_routes(app: "falcon.App[falcon.Request, falcon.Response]", agent: Agent, bodies: BodyReader) -> None:
    """Put all of them where they belong."""
    app.add_route("/api/v1/initiations", Initiations(agent, bodies))
    app.add_route("/api/v1/instances", Instances(agent, bodies))
    app.add_route("/api/v1/runs", Runs(agent))
    app.add_route("/api/v1/runs/{initiation_id}/kill", RunKill(agent))
    app.add_route("/api/v1/runs/{initiation_id}/log/{stream}", RunOutput(agent))
    app.add_route("/api/v1/dead-letters", DeadLetters(agent))
    app.add_route("/api/v1/dead-letters/{position:int(min=1)}", DeadLetterRemoval(agent))
    app.add_route("/api/v1/actors", Actors(agent))
    app.add_route("/health/live", Live())
    app.add_route("/health/ready", Ready(agent))
