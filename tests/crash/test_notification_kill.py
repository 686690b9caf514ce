"""Kills a real dashboard at every step of a conversation with a real mail server.

However it dies, each failure is told: once, or a second time under the same id if the server had the mail and
the dashboard died before it could know that.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mail_server import MailServer
from rig import Rig, Server

JOBS = [f"job{number}" for number in range(4)]
STEPS = ["EHLO", "MAIL", "RCPT", "DATA", "TAKEN"]
HAD_IT = {"DATA", "TAKEN"}
"""At these the server has the whole mail and has not said that it took it."""
ROUNDS = int(os.environ.get("JOBLEDGER_CRASH_ROUNDS", "1"))


def bundle() -> dict[str, Any]:
    listed = [{"agentName": "host", "jobName": job, "identifier": f"host-{job}"} for job in JOBS]
    return {
        "contextTemplate": {"name": "p", "scheduledJobs": listed},
        "schedulerJobs": [{**each, "commandLine": "false"} for each in listed],
        "emailNotificationContext": {
            "contextName": "p",
            "monitorTypes": ["ERROR"],
            "emailSendTo": ["ops@example.org"],
        },
    }


def told(instance: str, job: str) -> dict[str, Any]:
    return {
        "agentName": "host",
        "jobName": job,
        "contextInstanceId": instance,
        "id": str(uuid4()),
        "successful": False,
        "returnCode": 1,
    }


@contextmanager
def dashboard(folder: Path, server: MailServer) -> Iterator[Rig]:
    file = folder / "notifications.toml"
    file.write_text(
        f'[smtp]\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nfrom = "jobs@example.org"\n'
    )
    rig = Rig(folder)
    arguments = ["dashboard", "--data-dir", str(folder / "dashboard"), "--auth", "none"]
    rig.dashboard = Server("dashboard", [*arguments, "--notifications", str(file)], folder)
    rig.dashboard.start()
    try:
        yield rig
    finally:
        rig.close()


@pytest.mark.crash
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", range(1, min(ROUNDS, len(JOBS)) + 1))
def test_a_dashboard_that_is_killed_while_it_sends_tells_everything_when_it_is_back(
    step: str, number: int, tmp_path: Path
) -> None:
    killed = threading.Event()
    with MailServer() as server, dashboard(tmp_path, server) as rig:
        rig.push(bundle())
        instance = rig.begin("p")

        time_of_death = 1 if step == "EHLO" else number

        def kill(at: str) -> None:
            if at == step and server.steps.count(step) == time_of_death and not killed.is_set():
                rig.dashboard.kill()
                killed.set()

        server.on_step = kill
        events = [told(instance, job) for job in JOBS]
        rig.ok("POST", "/api/v1/events", events)
        assert killed.wait(30), f"it never came to {step}: {server.steps}"
        rig.dashboard.start()
        rig.ok("POST", "/api/v1/events", events)
        server.wait_for(len(JOBS))
        rig.wait_for(instance, lambda seen: seen["counts"] == {"ERROR": len(JOBS)})
        items = _settled(rig)
        ids = {item["id"] for item in items}
        assert {item["state"] for item in items} == {"sent"}
        arrived = Counter(str(mail.message["X-Jobledger-Notification"]) for mail in server.taken)
        assert set(arrived) == ids
        assert len({mail.id for mail in server.taken}) == len(JOBS)
        again = [each for each, times in arrived.items() if times > 1]
        assert len(again) <= (step in HAD_IT), f"killed at {step}: {arrived}"
        assert all(times <= 2 for times in arrived.values())


def _settled(rig: Rig) -> list[dict[str, Any]]:
    pause = threading.Event()
    for _ in range(600):
        items: list[dict[str, Any]] = rig.ok("GET", "/api/v1/notifications")["items"]
        if len(items) == len(JOBS) and all(item["state"] != "waiting" for item in items):
            return items
        pause.wait(0.05)
    raise AssertionError(f"they are not sent: {json.dumps(items)[:3000]}")
