"""The main job with the ledger on a PostgreSQL server, its dashboard killed on the way."""

from pathlib import Path

from rig import bundle, command, running


def test_a_plan_runs_to_complete_through_a_kill_of_the_dashboard(
    tmp_path: Path, fresh_postgres_url: str
) -> None:
    effects = tmp_path / "effects"
    jobs = [command(f"j{n}", f"echo {n} >> {effects}") for n in range(10)]
    with running(tmp_path, database_url=fresh_postgres_url) as rig:
        rig.push(bundle("chain", jobs, {f"j{n}": [f"j{n - 1}"] for n in range(1, 10)}))
        instance = rig.begin("chain")
        rig.submit(instance, "chain", "host-j0")
        rig.wait_for(instance, lambda state: state["counts"].get("COMPLETE", 0) >= 3)
        rig.dashboard.kill()
        rig.dashboard.start()
        final = rig.wait_complete(instance)
        assert effects.read_text().split() == [str(n) for n in range(10)]
        assert rig.ok("GET", f"/api/v1/instances/{instance}?at={final['position']}") == final
    assert not (tmp_path / "dashboard" / "jobledger.db").exists()
