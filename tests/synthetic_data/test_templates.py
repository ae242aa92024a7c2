import pytest

from moefacts.errors import UserError
from moefacts.synthetic_data.pools import ATTRIBUTES, full_pools
from moefacts.synthetic_data.templates import load_templates, parse_templates


def test_there_are_25_templates_for_each_attribute_that_pass_the_loader_with_the_full_pools():
    templates = load_templates(full_pools())
    assert {attribute: len(group) for attribute, group in templates.items()} == dict.fromkeys(ATTRIBUTES, 25)


def test_filling_a_template_gives_the_line_back():
    line = "[name]'s home, they say, is in [location] now."
    template = parse_templates({"location": line}, full_pools())["location"][0]
    assert template.fill("[name]", "[location]") == " " + line


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[location] is where [name] lives.", "comes before"),
        ("[name] lives in [location], [location].", "occurs 2 times"),
        ("[name] lives here.", r"\[location\] occurs 0 times"),
        ("Somebody lives in [location].", r"\[name\] occurs 0 times"),
        ("[name] lives in [city].", r"tag \[city\] is unknown"),
        ("[name] lives in [location]", "full stop"),
        ("[name] lives. In [location].", "full stop"),
        ("[name] lives in[location].", "separated by"),
        ("[name] lives  in [location].", "single spaces"),
        ("[name]'s [location].", "no word before the value"),
        ("[name] loves Paris and lives in [location].", "contains 'Paris'"),
        ("[name] studied Computer Science in [location].", "contains 'Computer Science'"),
        ("[name] lives since March in [location].", "contains 'March'"),
        ("[name] lives at number 7 in [location].", "digit"),
    ],
)
def test_a_template_that_breaks_a_rule_is_refused_with_file_and_line(line, complaint):
    with pytest.raises(UserError, match=rf"location.txt line 2: .*{complaint}"):
        parse_templates({"location": f"[name] resides in [location].\n{line}"}, full_pools())


def test_two_templates_that_say_the_same_before_the_value_are_refused_even_across_attributes():
    sources = {"birthplace": "[name] is from [birthplace].", "location": "[name] is from [location] now."}
    with pytest.raises(
        UserError, match=r"location.txt line 1: the text before the value is the same as in birthplace.txt line 1"
    ):
        parse_templates(sources, full_pools())
