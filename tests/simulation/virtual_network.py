"""A network between processes that loses, delays, repeats and reorders, as networks do."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from virtual_time import Loop, Process, Signal, current_process

AnswerT = TypeVar("AnswerT")

TIME_LIMIT_US = 30_000_000
"""After so long a caller gives up; what it asked for may happen all the same, or may have happened."""
_ALREADY_GONE_US = 300


class NetworkFailed(ConnectionError):
    """No answer: nobody can tell whether what was asked for has been done."""


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """How bad it is, as probabilities for each request."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    """Delivered only after the caller has given up, perhaps."""


class Station:
    """Where requests arrive: a host's address, and whatever process listens there now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Process | None = None
        """``None`` while nobody listens."""
        self.served: Any = None
        self.cut_off_until_us = 0
        self._under_way: list[_Request] = []

    def listen(self, process: Process, served: Any) -> None:
        """From now on requests are handled in this process."""
        self.process = process
        self.served = served
        process.on_death.append(self.reset)

    def close(self) -> None:
        """Listen no more; what is being handled goes on."""
        self.process = None
        self.served = None

    def reset(self) -> None:
        """The process that listened is gone, and every connection with it."""
        self.close()
        under_way, self._under_way = self._under_way, []
        for request in under_way:
            request.fail_soon("the connection was reset")

    def begin(self, request: "_Request") -> None:
        self._under_way.append(request)

    def end(self, request: "_Request") -> None:
        if request in self._under_way:
            self._under_way.remove(request)


class _Request:
    """One request, from its caller's side."""

    def __init__(self, network: "Network", caller: Process) -> None:
        self._network = network
        self._caller = caller
        self.settled = Signal()
        self.answer: Any = None
        self.error: BaseException | None = None

    def succeed(self, answer: Any) -> None:
        if not self.settled.is_set and self._caller.alive:
            self.answer = answer
            self.settled.set()

    def fail(self, error: BaseException) -> None:
        if not self.settled.is_set and self._caller.alive:
            self.error = error
            self.settled.set()

    def fail_soon(self, why: str) -> None:
        loop = self._network.loop
        loop.after(_ALREADY_GONE_US, lambda: self.fail(NetworkFailed(why)), "reset", self._caller)


class Network:
    """Carries requests to stations, and answers back.

    A request is for the process that listens when it is sent, as with a connection: no later one gets it.
    """

    def __init__(self, loop: Loop, weather: Weather) -> None:
        self.loop = loop
        self.weather = weather
        self.overhear: Callable[[str, object], None] | None = None
        """Is told of the messages in which no secret may be."""
        self.faults = loop.kinds

    def request(self, station: Station, link: str, handle: Callable[[Any], AnswerT]) -> AnswerT:
        """Have something handled by whoever listens at a station; raises what that raised.

        It may come late, or once more, behind what was sent after it. ``link`` names the stream of chance.
        Raises ``NetworkFailed``.
        """
        caller = current_process()
        chance = self.loop.chance(f"network {link}")
        weather = self.weather
        request = _Request(self, caller)
        fate = chance.random()
        delay_us = 200 + int(chance.expovariate(1 / 3_000))
        if fate < weather.late:
            delay_us += chance.randrange(60_000_000)
            self.faults["fault: request late"] += 1
        answer_lost = chance.random() < weather.lost_answers
        if answer_lost:
            self.faults["fault: answer lost"] += 1
        if chance.random() < weather.lost_requests:
            self.faults["fault: request lost"] += 1
        else:
            self._send(station, request, handle, delay_us, answer_lost=answer_lost)
        if chance.random() < weather.repeated:
            self.faults["fault: request repeated"] += 1
            again_us = delay_us + chance.choice([500, 20_000, 5_000_000, 90_000_000])
            self._send(station, request, handle, again_us, answer_lost=False)
        if not request.settled.wait(TIME_LIMIT_US):
            request.error = NetworkFailed("no answer in time")
        if request.error is not None:
            raise request.error
        return request.answer  # type: ignore[no-any-return]

    def _send(
        self,
        station: Station,
        request: _Request,
        handle: Callable[[Any], Any],
        delay_us: int,
        *,
        answer_lost: bool,
    ) -> None:
        process = station.process
        if process is None:
            request.fail_soon("nobody listens")
            return
        self.loop.after(
            delay_us,
            lambda: self._arrive(station, process, request, handle, answer_lost=answer_lost),
            "request",
        )

    def _arrive(
        self,
        station: Station,
        process: Process,
        request: _Request,
        handle: Callable[[Any], Any],
        *,
        answer_lost: bool,
    ) -> None:
        if station.cut_off_until_us > self.loop.now_us:
            return
        if process is not station.process:
            request.fail_soon("the connection was reset")
            return
        served = station.served
        station.begin(request)
        process.spawn(lambda: self._handle(station, served, request, handle, answer_lost), "handle")

    def _handle(
        self,
        station: Station,
        served: Any,
        request: _Request,
        handle: Callable[[Any], Any],
        answer_lost: bool,
    ) -> None:
        answer: Any = None
        failed: Exception | None = None
        try:
            answer = handle(served)
        except Exception as error:  # noqa: BLE001  it is the answer
            failed = error
        station.end(request)
        if answer_lost or station.cut_off_until_us > self.loop.now_us:
            return
        delay_us = 200 + int(current_process().chance.expovariate(1 / 2_000))
        if failed is None:
            self.loop.after(delay_us, lambda: request.succeed(answer), "answer")
        else:
            self.loop.after(delay_us, lambda: request.fail(failed), "answer")
