from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.notification_settings import MonitorType
from jobledger.domain.notifications import Matter
from jobledger.domain.placeholders import expanded, left_in, read_properties, replaced
from jobledger.domain.templates import TemplateRefused
from jobledger.domain.wording import Wish, Words, duration, message_of, words_for

FAILED = Matter(
    monitor_type=MonitorType.ERROR,
    at=1_772_442_120_000,
    plan="end of day",
    plan_version=3,
    instance_id="0b2f",
    instance_started_at=1_772_438_400_000,
    zone="Europe/Paris",
    job="host/1-load",
    job_name="load",
    agent="host/1",
    kind="command",
    context="a/b",
    contexts=("a/b",),
    execution="initiation 1",
    status="ERROR",
    started_at=1_772_442_000_000,
    finished_at=1_772_442_120_000,
    return_code=3,
    output_path="/out/1.log",
    error_path="/out/1.err",
    details="disk full",
)


def words(wish: Wish | None = None, *, public_url: str = "http://dash:9090/") -> Words:
    return words_for(FAILED, wish or Wish(), public_url=public_url, zone="UTC")


def test_without_a_template_a_mail_says_what_happened_where_and_when() -> None:
    found = words()
    assert found.subject == "end of day: load failed with return code 3"
    for told in (
        "end of day, version 3",
        "0b2f",
        "a/b",
        "load (command)",
        "host/1",
        "ERROR",
        "return code  3",
        "2026-03-02 10:00:00 CET",
        "2026-03-02 10:02:00 CET",
        "/out/1.log",
        "/out/1.err",
        "disk full",
        "http://dash:9090/api/v1/instances/0b2f/contexts/a%2Fb/jobs/host%2F1-load/log/stdout",
        "http://dash:9090/api/v1/instances/0b2f/contexts/a%2Fb/jobs/host%2F1-load/log/stderr",
    ):
        assert told in found.text
    assert found.html is None


def test_without_an_address_of_the_dashboard_a_mail_has_no_links() -> None:
    assert "http" not in words(public_url="").text


def test_a_subject_is_one_line_however_it_was_written() -> None:
    found = words(Wish(subject="{{ plan }}\r\nBcc: everybody@example.org\n{{ message }}"))
    assert found.subject == "end of day Bcc: everybody@example.org load failed with return code 3"
    assert len(words(Wish(subject="x" * 9000)).subject) == 250


def test_a_body_in_html_comes_beside_the_built_in_text() -> None:
    found = words(Wish(body="<p>{{ details }} {{ tag }}</p>", html=True, variables={"tag": "<b>"}))
    assert found.html == "<p>disk full &lt;b&gt;</p>"
    assert "end of day, version 3" in found.text


def test_the_names_that_templates_of_the_reference_have_are_known() -> None:
    wish = Wish(subject="{{ EMAIL_JOB_NAME }} {{ EMAIL_FIRE_TIME }}", body="{{ EMAIL_BODY_LINK_2 }}")
    found = words(wish)
    assert found.subject == "load 02-03-2026 10:00:00 CET"
    assert found.text.endswith("/log/stderr")


def test_texts_given_for_a_job_are_said_as_they_are() -> None:
    found = words(
        Wish(variables={"EMAIL_SUBJECT_TEXT": "look {{ here", "EMAIL_BODY_TEXT": "call Ann {{ now"})
    )
    assert found.subject == "look {{ here"
    assert "call Ann {{ now" in found.text


def test_a_template_that_does_not_render_is_refused() -> None:
    with pytest.raises(TemplateRefused, match="tikcet"):
        words(Wish(body="{{ tikcet }}"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"monitor_type": MonitorType.START}, "load started"),
        ({"monitor_type": MonitorType.COMPLETE}, "load is complete"),
        ({"killed": True}, "load was killed"),
        ({"return_code": None}, "load failed: disk full"),
        ({"return_code": None, "details": None}, "load failed"),
    ],
)
def test_what_happened_is_said_in_a_sentence(changes: Mapping[str, object], told: str) -> None:
    fields = {name: getattr(FAILED, name) for name in FAILED.__struct_fields__}
    assert message_of(Matter(**{**fields, **changes})) == told


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [
        (0, "less than a second"),
        (59_999, "59 s"),
        (3_600_000, "1 h"),
        (93_784_000, "1 d 2 h"),
        (-5, "less than a second"),
    ],
)
def test_durations_are_said_in_their_largest_units(milliseconds: int, told: str) -> None:
    assert duration(milliseconds) == told


def test_a_time_zone_that_went_away_does_not_keep_anybody_from_being_told() -> None:
    fields = {name: getattr(FAILED, name) for name in FAILED.__struct_fields__}
    found = words_for(Matter(**{**fields, "zone": "Mars/Crater"}), Wish(), public_url="", zone="UTC")
    assert "2026-03-02 09:00:00 UTC" in found.text


# --- placeholders -------------------------------------------------------------------------------------------

VALUES = {"oncall": "ann@example.org, bob@example.org", "env": "prod", "x": ""}


def test_a_placeholder_with_commas_is_a_list_of_recipients() -> None:
    entries = ("${oncall}", "desk-${env}@example.org", "ann@example.org", "${x}")
    assert expanded(entries, VALUES) == ("ann@example.org", "bob@example.org", "desk-prod@example.org")


def test_a_placeholder_without_a_value_stays_and_is_found() -> None:
    assert replaced("${env} ${unknown} $env ${}", VALUES) == "prod ${unknown} $env ${}"
    assert list(left_in(expanded(("${unknown}@x",), VALUES))) == ["unknown"]


@given(st.text(alphabet="${}ab,@ ", max_size=30))
def test_replacing_does_not_replace_what_was_put_in(text: str) -> None:
    assert "${a}" in replaced("${b}" + text, {"b": "${a}", "a": "never"})


def test_properties_are_lines_of_names_and_values() -> None:
    text = "# who\n\n! what\noncall = ann@x \nEmailMulti=a@x,b@x\nno value\n=nothing\noncall=bob@example.org"
    assert read_properties(text) == {"oncall": "bob@example.org", "EmailMulti": "a@x,b@x"}
