"""Bundles with all that people and other programs put into them, and plan files of every kind of job."""

import json
from typing import Any

from hypothesis import strategies as st
from jobledger.http.wire.bundle_writing import new_documents
from jobledger.http.wire.bundles import split_contexts
from wire_strategies import json_values, plans

ODD_NAMES = (
    "..", ".", " ", "a/b", "a\\b", "a:b", "A/B", "con", "x.json", "-", "\u202eevil", "日本", "e\u0301",
    "é" * 200, "x" * 300, 'say "hi"', "two\nlines", "_", "a-b-c", "[[x]]", "null", "0",
)  # fmt: skip
MARK = "not known here "


@st.composite
def bundles(draw: st.DrawFn) -> dict[str, bytes]:
    """The documents of a bundle, with fields, files and folders that are not known here."""
    documents = new_documents(draw(plans()))
    if draw(st.booleans()):
        documents = split_contexts(documents)
    number = iter(range(10**6))
    marked = {}
    for path, content in documents.items():
        value = json.loads(content)
        _mark(value, draw, number)
        form = draw(st.sampled_from([None, 4]))
        marked[path] = json.dumps(value, indent=form, ensure_ascii=draw(st.booleans())).encode()
    for name in draw(
        st.lists(st.sampled_from(["profiles/mine.json", "README.md", "extra/a/b.bin"]), unique=True)
    ):
        marked[name] = draw(st.binary(max_size=20)) if name.endswith("bin") else b'{"profileName": "mine"}'
    return marked


def _mark(value: Any, draw: st.DrawFn, number: Any) -> None:
    """Give some objects of a document a field that is not known here, the whole document first."""
    if isinstance(value, dict) and not _is_map(value):
        if draw(st.integers(0, 2)) == 0 or "contexts" in value:
            value[f"{MARK}{next(number)}"] = draw(json_values)
        for name in ("contexts", "scheduledJobs"):
            for inner in value.get(name) or ():
                _mark(inner, draw, number)


def _is_map(value: dict[str, Any]) -> bool:
    return not {"name", "jobName", "contextName"} & value.keys()


# --- plan files ---------------------------------------------------------------------------------------------

keys = st.sampled_from(ODD_NAMES) | st.text(min_size=1, max_size=8).filter(lambda text: text != "@class")
words = st.text(max_size=10)
durations = st.sampled_from(["30s", "90m", "1d 2h", "0m"])
whole_minutes = st.sampled_from(["1m", "2h", "0m"])
crons = st.sampled_from(["0 0 7 ? * *", "0 0/5 * * * ?"])
blackouts = st.lists(
    st.sampled_from(["* * * 25 12 ?", {"from": "2026-12-31T00:00:00Z", "to": "2027-01-01T00:00:00Z"}]),
    max_size=2,
    unique_by=str,
)
parameters = st.dictionaries(keys, st.none() | words | st.integers(-9, 9) | st.booleans(), max_size=2)
common = {
    "agent": st.sampled_from(["a", "b", "a-b", "ägent"]),
    "description": words,
    "display_name": words,
    "startup": st.sampled_from(["automatic", "manual", "disabled"]),
    "held": st.booleans(),
    "skipped": st.booleans(),
}
trigger = {
    "zone": st.sampled_from(["UTC", "Europe/London"]),
    "group": words,
    "ignore_misfire": st.booleans(),
    "eager": st.booleans(),
    "max_eager_callbacks": st.integers(0, 5),
    "persistent_recovery": st.booleans(),
    "recovery_tolerance": durations,
    "passthrough": st.dictionaries(keys, words, max_size=2),
    "blackout": blackouts,
    "drop_event_on_blackout": st.booleans(),
}
commands = st.fixed_dictionaries(
    {"command": st.text(min_size=1, max_size=10)},
    optional=common
    | {
        "directory": words,
        "success": st.lists(st.integers(-255, 255), max_size=3) | st.integers(0, 9),
        "min_time": whole_minutes,
        "max_time": whole_minutes,
        "timeout": whole_minutes,
        "parameters": parameters,
        "days": st.lists(st.sampled_from(["MON", "sunday", "Wed"]), max_size=2),
        "once_per_context": st.booleans(),
        "repeatable": st.booleans(),
        "shell": words,
    },
)
schedules = st.fixed_dictionaries({"schedule": crons}, optional=common | trigger)
files = st.fixed_dictionaries(
    {"file": st.lists(words, min_size=1, max_size=2) | st.text(min_size=1, max_size=9), "every": crons},
    optional=common
    | trigger
    | {
        "in": words,
        "move_to": words,
        "encoding": words,
        "min_age": durations,
        "depth": st.integers(0, 9),
        "include_header": st.booleans(),
        "include_trailer": st.booleans(),
        "sort_by_modified": st.booleans(),
        "sort_ascending": st.booleans(),
        "log_matched_filenames": st.booleans(),
        "ignore_rename_whilst_scanning": st.booleans(),
        "sla": crons,
    },
)
events = st.fixed_dictionaries(
    {"event": st.sampled_from(["global", "local", "start", "terminal", "bridging"])},
    optional={name: values for name, values in common.items() if name != "agent"},
)
described_jobs = commands | schedules | files | events


@st.composite
def plan_files(draw: st.DrawFn) -> dict[str, Any]:
    """A plan file as the value that its text stands for; it reads, whether or not it may be pushed."""
    described = draw(st.dictionaries(keys, described_jobs, min_size=1, max_size=5))
    names = list(described)
    members = st.sampled_from(names)
    lists = st.lists(members, min_size=1, max_size=2)
    nested = st.fixed_dictionaries({"any": lists}, optional={"none": lists})
    after = (
        members
        | lists
        | st.lists(members | nested, min_size=1, max_size=2)
        | st.fixed_dictionaries({"all": lists}, optional={"any": lists, "none": members, "and": nested})
    )
    for entry in described.values():
        if draw(st.booleans()):
            entry["after"] = draw(after)
    contexts = draw(st.lists(keys, max_size=3, unique=True))
    plan: dict[str, Any] = {"plan": draw(keys), "agent": "a", "jobs": {}}
    below: dict[str, Any] = {name: {"jobs": {}} for name in contexts if name != plan["plan"]}
    for name, entry in described.items():
        where = draw(st.sampled_from([plan, *below.values()]))
        where["jobs"][name] = entry
        if below and draw(st.booleans()):
            draw(st.sampled_from(list(below.values())))["jobs"].setdefault(name, {})
    if below:
        plan["contexts"] = below
    return plan | draw(
        st.fixed_dictionaries(
            {},
            optional={
                "description": words,
                "environment_group": words,
                "start": st.fixed_dictionaries(
                    {"cron": crons},
                    optional={
                        "zone": st.just("UTC"),
                        "time_to_live": durations,
                        "working_days": st.booleans(),
                        "blackout": blackouts,
                    },
                ),
                "concurrent": st.booleans(),
                "end_on_completion": st.booleans(),
                "disabled": st.booleans(),
                "schedules_disabled": st.booleans(),
                "delay_agent_synchronisation": st.booleans(),
                "parameters": parameters,
                "locks": st.dictionaries(
                    keys,
                    st.fixed_dictionaries(
                        {"jobs": lists.map(lambda found: list(dict.fromkeys(found)))},
                        optional={"count": st.integers(1, 9), "exclusive": st.booleans()},
                    ),
                    max_size=2,
                ),
            },
        )
    )
