"""Templates come from whoever may push a plan: they say what they are given, and do nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.templates import (
    MAX_CHARACTERS,
    MAX_RENDERED_CHARACTERS,
    TemplateRefused,
    render,
    unknown_names,
)

VALUES = {
    "job": "load <1>",
    "code": 3,
    "nothing": None,
    "contexts": ["eod", "inner"],
    "links": {"job": "http://x/y"},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ job }} failed", "load <1> failed"),
        ("{{ links.job }} {{ links['job'] }}", "http://x/y http://x/y"),
        ("[{{ nothing }}]", "[]"),
        ("{% if code > 2 and not nothing %}bad{% else %}good{% endif %}", "bad"),
        ("{{ 'none' if nothing is none else nothing }}", "none"),
        (
            "{% for x in contexts %}{{ loop.index }}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
            "1eod, 2inner",
        ),
        ("{{ contexts|join(', ')|upper }}", "EOD, INNER"),
        ("{% for name, url in links|items %}{{ name ~ '=' ~ url }}{% endfor %}", "job=http://x/y"),
        ("{# said to nobody #}{% raw %}{{{% endraw %}\n", "{{\n"),
        ("costs ${amount} and 5 %", "costs ${amount} and 5 %"),
    ],
)
def test_a_template_says_what_it_is_given(template: str, expected: str) -> None:
    assert render(template, VALUES) == expected


def test_values_cannot_bring_markup_into_html() -> None:
    assert render("<b>{{ job }}</b>", VALUES, html=True) == "<b>load &lt;1&gt;</b>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ job.__class__ }}",
        "{{ job.__class__.__mro__[1].__subclasses__ }}",
        "{{ ''.join(contexts) }}",
        "{{ links.items }}",
        "{{ contexts.append(1) }}",
        "{{ range(3) }}",
        "{{ lipsum }}",
        "{{ job * 1000000 }}",
        "{{ 10 ** 100000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ job|center(1000000000) }}",
        "{{ job|replace('l', job) }}",
        "{% set job = job ~ job %}",
        "{% with job = job ~ job %}{% endwith %}",
        "{% macro again() %}{{ again() }}{% endmacro %}",
        "{% for a in contexts %}{% for b in contexts %}{% endfor %}{% endfor %}",
        "{% for a in contexts recursive %}{% endfor %}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}{% endfilter %}",
        "{% autoescape false %}{{ job }}{% endautoescape %}",
        "{{ job" + "|e" * 9 + " }}",
        "{{ " + "[" * 5000 + "]" * 5000 + " }}",
        "x" * (MAX_CHARACTERS + 1),
        "{{ job }}" * 2500,
        "{{ unknown }}",
        "{{ links.unknown }}",
        "{{ job + 1 }}",
        "{{ job",
        "{% if %}",
    ],
    ids=lambda text: text[:40],
)
def test_a_template_that_would_do_more_than_that_is_refused_with_a_reason(template: str) -> None:
    with pytest.raises(TemplateRefused) as refused:
        render(template, VALUES)
    assert str(refused.value)


@pytest.mark.parametrize(
    "template",
    ["{{ long|join(long) }}", "{{ long|join(long|join('xx'))|join(long) }}", "{{ (long ~ long)|e }}" * 100],
)
def test_no_template_makes_more_than_a_mail_can_hold(template: str) -> None:
    with pytest.raises(TemplateRefused, match=str(MAX_RENDERED_CHARACTERS)):
        render(template, {"long": "&" * 4000})


@given(st.text(alphabet="{}%|# ifor'\"[]().~-+*abjob\n", max_size=60))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    try:
        made = render(text, VALUES)
    except TemplateRefused as refused:
        made = str(refused)
    assert isinstance(made, str)


def test_names_that_a_template_will_not_be_given_are_found_before_it_is_used() -> None:
    template = "{{ job }}{{ jbo }}{% for each in contexts %}{{ each }}{{ loop.index }}{{ more }}{% endfor %}"
    assert unknown_names(template, frozenset(VALUES)) == ["jbo", "more"]
