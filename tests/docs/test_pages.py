"""What README and the pages say of commands, studies and each other is so."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from moefacts.cli.app import app
from moefacts.experiments.studies import catalog

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")])
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
COMMANDS = get_command(app).commands


def anchors(page):
    """The anchors of a page's headings, as both the repository's page and the site make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(FENCE.sub("", page.read_text())):
        place = page.parent / target if target else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_on_a_page_exist_and_have_the_options_that_are_shown(page):
    for line in re.findall(r"(?:^|[`$ ])moefacts ([a-z]+(?: [^`\n]*)?)", page.read_text(), re.MULTILINE):
        name, *words = line.partition("  #")[0].split()
        if name not in COMMANDS:
            continue  # a sentence about moefacts
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        is_hydra = COMMANDS[name].context_settings.get("ignore_unknown_options")
        for word in words:
            if word.startswith("--") and word.partition("=")[0] not in known | {"--help", "--no-report", "--no-reuse"}:
                assert is_hydra, line
                assert word.partition("=")[0] in {"--cfg", "--hydra-help", "--multirun"}, line


def test_the_readme_is_short_and_lists_every_command():
    assert len(README.splitlines()) <= 110
    assert set(re.findall(r"^\| `moefacts ([a-z]+)", README, re.MULTILINE)) == set(COMMANDS)


def test_the_page_of_studies_lists_each_and_marks_those_that_are_not_in_all():
    rows = re.findall(r"^\| `([\w-]+)`( \*)? \|", (ROOT / "docs" / "studies.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == set(catalog.STUDIES)
    assert {name for name, star in rows if not star} == {study.name for study in catalog.find_studies("all", "laptop")}


def test_every_page_is_in_the_site_and_on_its_first_page():
    site = (ROOT / "mkdocs.yml").read_text()
    first = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in site, page.name
        assert page.name == "index.md" or f"({page.name})" in first, page.name


def test_findings_of_the_readme_are_those_of_the_page():
    table = README.partition("| finding | number | command |")[2].partition("\n\n")[0]
    page = " ".join((ROOT / "docs" / "findings.md").read_text().split())
    numbers = [interval for interval in re.findall(r"\[[^\]]*\d[^\]]*\]", table) if "earlier" not in interval]
    assert len(numbers) >= 9
    assert all(interval in page for interval in numbers)
