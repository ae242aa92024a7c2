"""What every page promises: it loads nothing, is readable at 400 px and by a screen reader, and has fonts of one size."""

import json
import re
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from moefacts.analysis import embed
from moefacts.analysis.embed import COLUMN, common_factor, embedded, first_sentence, panels, width
from moefacts.analysis.figures import Drawing
from moefacts.analysis.groups import Group
from moefacts.analysis.report import write_report
from moefacts.analysis.series import MOST_POINTS, STEP, panels_over_steps
from moefacts.analysis.study_report import StudyPage, write_study_report
from moefacts.analysis.summary import MEANINGS, in_sentence, share_in_sentence
from moefacts.analysis.table import Table
from moefacts.config.presets import compose
from tests.analysis.test_measures import made_up
from tests.conftest import TINY

CLAIM = {
    "claim": "It <knows> more", "rule": "The interval is above 0.", "verdict": "holds", "published": "none published",
    "here": "0.265 [0.190, 0.339]", "value": 0.265, "interval": [0.19, 0.339], "published_value": None,
}  # fmt: skip
RESULT = {
    "title": "A study", "study": "study", "figure": "Figure 1", "scale": "laptop", "complete": True, "missing": [],
    "claims": [CLAIM], "runs": [{"run": "runs/a", "command": "moefacts train"}], "command": "moefacts reproduce study",
    "device": "cpu", "git_commits": ["abc"], "versions": {"torch": "2"},
}  # fmt: skip


def drawing(name, points, caption='A "line" & more. It rises.'):
    return Drawing(name, caption, f'<svg width="{points}pt" height="200pt" viewBox="0 0 {points} 200"></svg>')


def of_run():
    run = made_up(compose(TINY))
    run.manifest.update(versions={"torch": "2"}, command="moefacts train", device="cpu")
    run.manifest["parameters"].update(non_embedding=5, active=7)
    return run


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    drawings = [
        drawing("attribute_loss", 331.2),
        drawing("attribute_accuracy", 331.2),
        drawing("load_over_training", 700),
    ]
    write_report([Group("dense_laptop", [of_run()])], drawings, folder / "run.html", None)
    table = Table("Sizes", ["size", "effect"], [["1", "12 ± 3"]], "A note.")
    write_study_report([StudyPage(RESULT, [table], drawings)], folder / "study.html")
    return {name: (folder / f"{name}.html").read_text() for name in ("run", "study")}


@pytest.mark.parametrize("name", ["run", "study"])
def test_a_page_is_small_loads_nothing_and_has_a_language_and_one_main_part(pages, name):
    page = pages[name]
    assert len(page) < 1_500_000
    assert not re.search(r"""(src|srcset)\s*=\s*["']|@import|url\(\s*["']?(http|//)|<link""", page)
    assert '<html lang="en">' in page
    assert page.count("<main>") == page.count("</main>") == 1


@pytest.mark.parametrize("name", ["run", "study"])
def test_every_table_scrolls_on_its_own_and_has_a_caption_and_scopes(pages, name):
    page = pages[name]
    tables = re.findall(r"(.{0,200})<table[^>]*>(.*?)</table>", page, re.DOTALL)
    assert tables
    for before, inside in tables:
        assert re.search(r'<div class="scroll" tabindex="0" role="group" aria-label="[^"]+">\s*$', before)
        assert re.search(r"<caption>\S", inside)
        assert all("scope=" in cell for cell in re.findall(r"<th\b[^>]*>", inside))
        assert all(re.findall(r'<th scope="col"[^>]*>(.*?)</th>', inside, re.DOTALL))
        for row in re.findall(r"<tr\b.*?</tr>", inside.partition("<tbody>")[2], re.DOTALL):
            assert 'scope="row' in row


@pytest.mark.parametrize("name", ["run", "study"])
def test_the_policy_against_loading_lets_heat_maps_through(pages, name):
    """They are pictures inside the figures, as data; without this a browser shows a broken picture in their place."""
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', pages[name])
    assert policy.startswith("default-src 'none'; img-src data:;")


@pytest.mark.parametrize("name", ["run", "study"])
def test_figures_are_named_by_their_caption_and_enlarged_by_one_factor(pages, name):
    shown = re.findall(
        r'<svg role="img" aria-label="([^"]+)" style="width:(\d+)px[^"]*" viewBox="0 0 ([\d.]+)', pages[name]
    )
    assert len(shown) == 3
    assert {label for label, _, _ in shown} == {"A &quot;line&quot; &amp; more. It rises."}
    factors = [int(size) / float(points) for _, size, points in shown]
    assert max(factors) - min(factors) < 0.01
    assert max(int(size) for _, size, _ in shown) <= COLUMN


def test_the_widest_drawing_sets_the_factor_and_markup_in_a_caption_stays_text():
    assert common_factor([drawing("a", 331.2)]) == pytest.approx(1.06)
    assert common_factor([]) == pytest.approx(1.06)
    wide = drawing("b", 900, "<b>")
    assert width(wide, common_factor([drawing("a", 331.2), wide])) == COLUMN
    assert 'aria-label="&lt;b&gt;"' in embedded(wide, 1.0)
    assert first_sentence("One, 0.5 of two. Three.") == "One, 0.5 of two"


def test_a_run_page_leads_with_sentences_then_the_main_picture_then_questions(pages):
    page = pages["run"]
    found = page.index('<p class="found">')
    main, other = page.index('id="figure-attribute_loss"'), page.index('id="figure-attribute_accuracy"')
    when, unseen = page.index("<h2>When did knowledge come?"), page.index("<h2>What does it say about people")
    assert (
        found
        < main
        < when
        < other
        < unseen
        < page.index("<h2>What do routers choose?")
        < page.index("load_over_training")
    )
    assert "The plateau began at step 92 and ended between steps 200 and 300; where exactly" in page
    assert "At the end the model knew 94% of the values" in page
    assert all(title.endswith("?") for title in re.findall(r"<h2>(.*?)</h2>", page))


def test_measures_have_words_first_and_their_keys_stay_to_be_found(pages):
    for key, meaning in list(MEANINGS.items())[:3]:
        assert re.search(rf'<tr data-key="{key}"><th scope="row">{re.escape(meaning)}</th>', pages["run"])
        assert f"<code>{key}</code>" in pages["run"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.951, "95%"), (1, "100%"), (0.9996, "more than 99.9%"), (0.994, "99.4%"), (0.0104, "1.0%"), (0, "0%"), (1e-5, "less than 0.1%")],
)  # fmt: skip
def test_a_share_in_a_sentence_is_never_all_or_nothing_if_it_is_not(share, text):
    assert share_in_sentence(share) == text


def test_a_number_in_a_sentence_has_three_digits_at_most():
    assert [in_sentence(value) for value in (2.6523, 1.02, 0.06821, 1234.5, 16)] == [
        "2.65",
        "1.02",
        "0.0682",
        "1,234",
        "16",
    ]


def test_a_page_without_curves_holds_no_library_for_them_and_reads_alike_without_scripts(pages):
    assert "uPlot" not in pages["study"].replace("window.uPlot", "").replace("uPlot.", "").replace("uPlot(", "")
    plain = re.sub(r"<script.*?</script>", "", pages["study"], flags=re.DOTALL)
    assert "hidden>" not in plain
    assert "It &lt;knows&gt; more" in plain


def test_the_library_is_named_with_its_license_and_is_part_of_the_package():
    folder = Path(embed.__file__).parent / "vendor"
    assert "Leon Sorokin" in (folder / "LICENSE.uPlot.txt").read_text()
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "vendor/*" in project["tool"]["setuptools"]["package-data"]["moefacts.analysis"]
    assert "moefacts/analysis/vendor/LICENSE.*" in project["project"]["license-files"]


def curves():
    figure, axes = plt.subplots(2, 1, sharex=True)
    for seed in (0, 1):
        axes[0].plot([0, 10, 20], [3, 2, 1 + seed], linewidth=0.7, color="#0072b2")
    axes[0].plot([0, 10, 20], [3, 2, 1.5], linewidth=1.6, color="#0072b2", label="</script> people", linestyle="--")
    axes[0].axhline(2.5, label="baseline")
    axes[0].axhline(2.7)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("loss")
    axes[1].plot(range(2000), np.arange(2000) / 3, label="other")
    axes[1].set_xlabel(STEP)
    plt.close(figure)
    return figure


def test_curves_over_steps_are_read_with_their_seeds_and_at_most_so_many_points():
    above, below = panels_over_steps(curves())
    assert (above.title, above.is_log) == ("loss", True)
    assert [(one.label, one.is_seed) for one in above.series] == [
        ("</script> people, run 1", True), ("</script> people, run 2", True), ("</script> people", False),
        ("baseline", False),
    ]  # fmt: skip
    assert (above.series[1].steps, above.series[1].values) == ([0, 10, 20], [3, 2, 2])
    assert (above.series[3].steps, above.series[3].values) == ([0, 10, 20], [2.5, 2.5, 2.5])  # at every step
    (long,) = below.series
    assert (len(long.steps), long.steps[0], long.steps[-1]) == (MOST_POINTS, 0, 1999)
    assert long.values[-1] == pytest.approx(1999 / 3, rel=1e-4)


@pytest.mark.parametrize(("low", "begins"), [(0.2147, 0.2), (0.001, 0.001), (0.3, 0.3), (9.99, 9.0), (312.0, 300.0)])
def test_a_logarithmic_chart_begins_at_a_round_number_from_which_its_labels_are_counted(low, begins):
    figure = curves()
    figure.axes[0].set_ylim(low, 1000)
    figure.axes[1].set_ylim(0.2147, 7)
    above, below = panels_over_steps(figure)
    assert above.limits == (begins, 1000)
    assert below.limits == (0.2147, 7)  # which counts from a round number by itself


def test_what_is_not_over_training_steps_has_no_curves():
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set_xlabel("confidence")
    plt.close(figure)
    assert panels_over_steps(figure) == []


def test_labels_are_data_in_the_page_and_never_markup():
    shown = panels(Drawing("a", "b", "<svg></svg>", panels_over_steps(curves())))
    assert "</script>" not in shown
    assert json.loads(str(shown))[0]["series"][2]["label"] == "</script> people"
