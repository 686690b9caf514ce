"""A night with secrets, from end to end with real processes: nobody but the commands has seen them.

Looked through are all files of the dashboard and of the agent, their log lines, every answer of every service
that can be read, what the command line prints, and dumps of what is on disk.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jobledger.storage.secret_keys import Keys, new_key
from rig import Rig, bundle, command, jobs_of, running

OF_PLAN, OF_SOURCE, BY_HAND = "the plan's hunter2!", "the source's hunter2!", "somebody's hunter2!"
SECRETS = (OF_PLAN, OF_SOURCE, BY_HAND)


def spellings(secret: str) -> Iterator[bytes]:
    """A secret as it may hide: as it is, in JSON, as hexadecimal, in base64."""
    raw = secret.encode()
    yield raw
    yield json.dumps(secret)[1:-1].encode()
    yield raw.hex().encode()
    yield base64.b64encode(raw).rstrip(b"=")
    yield base64.urlsafe_b64encode(raw).rstrip(b"=")


def secrets_in(content: bytes) -> list[str]:
    return [secret for secret in SECRETS if any(each in content for each in spellings(secret))]


def jobledger(rig: Rig, *arguments: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "jobledger", *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(rig.folder), "JOBLEDGER_URL": rig.dashboard.url},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1, 6), (arguments, done.stderr)
    return done.stdout + done.stderr


def plan(rig: Rig) -> dict[str, Any]:
    """Jobs that check their secrets, one that fails, one that is killed, one whose secret nobody can open."""
    checks = "\n".join(
        f'test "${name}" = {json.dumps(value)} || exit 9'
        for name, value in (("KEY", "$(cat expected-key)"), ("URL", "db://$(cat expected-key)@h"))
    )
    told = f'cd {rig.folder}\n{checks}\ntest "$TOKEN_OF_SOURCE" = "$(cat expected-source)" || exit 8'
    names = [{"name": name} for name in ("KEY", "URL", "TOKEN_OF_SOURCE")]
    stranger = Keys([new_key()]).seal(OF_PLAN)
    token = rig.ok("POST", "/api/v1/encrypt", {"value": OF_PLAN})["token"]
    jobs = [
        command("use", f"{told}\necho right", contextParameters=names),
        command("fail", f"{told}\nexit 3", contextParameters=names),
        command("wait", f"{told}\ntouch waits\nsleep 600", contextParameters=names),
        command("stranger", "touch never", contextParameters=[{"name": "P", "defaultValue": stranger}]),
        command(
            "byhand",
            f'cd {rig.folder}; test "$GIVEN" = "$(cat expected-given)"',
            contextParameters=[{"name": "GIVEN"}],
        ),
    ]
    parameters = [{"name": "KEY", "defaultValue": token}, {"name": "URL", "defaultValue": "db://${KEY}@h"}]
    made = bundle("night", jobs, {})
    made["contextTemplate"]["contextParameters"] = parameters
    return made


def status_of(seen: Any, job: str) -> str:
    return next(each["status"] for each in jobs_of(seen) if each["name"] == job)


def every_readable_service(rig: Rig, instance: str) -> Iterator[str]:
    """The address of every service that is read, with names of this night in it."""
    names = {
        "name": "night",
        "plan": "night",
        "n": "1",
        "version": "1",
        "instance_id": instance,
        "context": "night",
        "identifier": "host-use",
        "job": "host-use",
        "agent": "host",
    }
    described = rig.ok("GET", "/api/v1/openapi.json")["paths"]
    for path, operations in described.items():
        if "get" not in operations:
            continue
        address = path
        for name, value in names.items():
            address = address.replace(f"{{{name}}}", quote(value))
        yield address
    yield f"/api/v1/instances/{instance}?at=1"
    yield f"/api/v1/instances/{instance}/log?limit=1000"
    yield "/rest/jobContext/getByAgentName?agentName=host"
    yield "/api/v1/actors/gateway-host/snapshot"
    yield f"/api/v1/actors/instance-{instance}/snapshot"
    for job in ("use", "fail", "wait", "stranger", "byhand"):
        for rest in ("", "/parameters", "/log/stdout", "/log/stderr"):
            yield f"/api/v1/instances/{instance}/contexts/night/jobs/host-{job}{rest}"


def look_through_answers(rig: Rig, instance: str) -> None:
    read = 0
    for path in every_readable_service(rig, instance):
        answer = rig.http.request("GET", rig.dashboard.url + path)
        assert secrets_in(answer.data) == [], path
        read += answer.status == 200
    assert read > 25
    assert rig.agent is not None
    for path in ("/api/v1/runs", "/api/v1/actors", "/health/ready"):
        answer = rig.http.request("GET", rig.agent.url + path)
        assert secrets_in(answer.data) == [], path


def look_through_files(rig: Rig) -> None:
    looked = 0
    for path in rig.folder.rglob("*"):
        if path.is_file() and not path.name.startswith("expected-"):
            assert secrets_in(path.read_bytes()) == [], path
            looked += 1
    assert looked > 20


def test_nobody_but_the_commands_has_seen_a_secret(tmp_path: Path) -> None:
    (tmp_path / "expected-key").write_text(OF_PLAN)
    (tmp_path / "expected-source").write_text(OF_SOURCE)
    (tmp_path / "expected-given").write_text(BY_HAND)
    sources = tmp_path / "parameters.toml"
    sources.write_text('night = "night.properties"\n')
    (tmp_path / "night.properties").write_text("TOKEN_OF_SOURCE=\n")
    with running(tmp_path, options=("--parameters", str(sources))) as rig:
        rig.push(plan(rig))
        sealed = rig.ok("POST", "/api/v1/encrypt", {"value": OF_SOURCE})["token"]
        (tmp_path / "night.properties").write_text(f"TOKEN_OF_SOURCE={sealed}\n")
        rig.ok("POST", "/api/v1/parameters/refresh")
        instance = rig.begin("night")
        given = rig.ok("POST", "/api/v1/encrypt", {"value": BY_HAND})["token"]
        job = f"/api/v1/instances/{instance}/contexts/night/jobs/host-"
        rig.ok("POST", f"{job}byhand/submit", {"parameters": {"GIVEN": given}})
        for name in ("use", "fail", "stranger", "wait"):
            rig.submit(instance, "night", f"host-{name}")
        seen = rig.wait_for(
            instance,
            lambda seen: (
                [status_of(seen, each) for each in ("use", "fail", "stranger", "byhand", "wait")]
                == ["COMPLETE", "ERROR", "ERROR", "COMPLETE", "RUNNING"]
            ),
        )
        assert next(each["return_code"] for each in jobs_of(seen) if each["name"] == "fail") == 3
        assert not (tmp_path / "never").exists()
        (stranger,) = [each for each in jobs_of(seen) if each["name"] == "stranger"]
        assert "the parameter P cannot be decrypted" in stranger["details"]
        look_through_answers(rig, instance)

        # Both die with a command that runs, and come back.
        assert rig.agent is not None
        rig.agent.kill()
        rig.dashboard.kill()
        look_through_files(rig)
        rig.dashboard.start()
        rig.start_agent()
        rig.ok("POST", f"{job}wait/kill", {"force": True})
        rig.wait_for(instance, lambda seen: status_of(seen, "wait") == "ERROR")
        rig.ok("POST", f"{job}use/submit", {})
        rig.wait_for(instance, lambda seen: status_of(seen, "use") == "COMPLETE")
        look_through_answers(rig, instance)

        for arguments in (
            ("instance", "show", instance),
            ("instance", "log", instance),
            ("instance", "audit", instance),
            ("job", "parameters", instance, "use"),
            ("job", "output", instance, "use"),
            ("parameters", "list"),
            ("plan", "show", "night"),
            ("agent", "list", "--json"),
        ):
            assert secrets_in(jobledger(rig, *arguments)) == [], arguments
        assert "KEY  " in jobledger(rig, "job", "parameters", instance, "use").decode()
        rig.ok("POST", f"/api/v1/instances/{instance}/end", {})
        for arguments in (("log", str(tmp_path)), ("log", str(tmp_path), "--json")):
            dumped = jobledger(rig, *arguments)
            assert secrets_in(dumped) == [], arguments
            assert b"{enc:gAAA" not in dumped, "a token is no secret, but shown to nobody either"
            assert b"********" in dumped
    look_through_files(rig)


@pytest.mark.parametrize("name", ["secrets.key", "jobledger.db"])
def test_what_holds_or_opens_secrets_is_readable_by_its_owner_alone(tmp_path: Path, name: str) -> None:
    with running(tmp_path) as rig:
        rig.ok("POST", "/api/v1/encrypt", {"value": "x"})
        (found,) = (tmp_path / "dashboard").rglob(name)
        readable_by_others = found.stat().st_mode & 0o077
        guarded = found.parent.stat().st_mode & 0o077 == 0
        assert not readable_by_others or guarded
