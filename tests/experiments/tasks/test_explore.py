"""The page of people has the numbers of the probes, is small, and reads every text of a run as text."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import moefacts
from moefacts.analysis import explore_page as page
from moefacts.errors import UserError
from moefacts.experiments.tasks import explore
from moefacts.experiments.tasks.explore import explore_run, spread
from moefacts.experiments.tasks.materials import load_run, prepare
from moefacts.experiments.tasks.train import execute
from moefacts.probes.decisions import decisions_table
from moefacts.probes.reading import readings
from moefacts.probes.value_distributions import beginnings_of
from moefacts.runs import keys
from moefacts.synthetic_data.sampling import evaluation_plan
from moefacts.training.evaluation import Biographies
from tests.conftest import tiny_config

MOE = ["model=moe_laptop", "model.num_layers=2", "model.moe.num_experts=4", "model.moe.d_expert=16", "training.steps=4"]
SCRIPT = "</script><script>alert(1)</script>"


class Reader(HTMLParser):
    """The tags of a page, and what is in each of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.is_script = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.is_script = tag == "script"
        if self.is_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.is_script = False

    def handle_data(self, data):
        if self.is_script:
            self.scripts[-1] += data


def data_of(text):
    return json.loads(Reader(text).scripts[0])


@pytest.fixture(scope="module")
def runs(trained_once, tmp_path_factory):
    """Runs by name, and the data of the page of each: three people of each cohort at two checkpoints."""
    folder = tmp_path_factory.mktemp("explored")
    dense = shutil.copytree(trained_once, folder / "dense")
    mixture = execute(tiny_config(*MOE, f"run.dir={folder}/mixture"))
    steps = {"dense": (dense, [4, 12]), "mixture": (mixture, [0, 4])}
    return {
        name: (run, data_of(explore_run(run, people=3, steps=chosen).path.read_text()))
        for name, (run, chosen) in steps.items()
    }


@pytest.mark.parametrize("name", ["dense", "mixture"])
def test_answers_and_probabilities_are_those_of_the_decisions_probe(runs, name):
    run, data = runs[name]
    for place, step in enumerate(data["steps"]):
        _, materials = load_run(run, step)
        population = materials.batcher.population
        table = decisions_table(materials.model, materials.batcher, ["seen", "unseen", "new"], step)
        table = table.set_index(["individual", "attribute"])
        assert [one["cohort"] for one in data["people"]] == ["seen"] * 3 + ["unseen"] * 3 + ["new"] * 3
        for person in data["people"]:
            individual, moment = population.find(person["name"]), person["moments"][place]
            for value, p, top in zip(person["values"], moment["p"], moment["top"], strict=True):
                attribute = data["attributes"][value["attribute"]].replace(" ", "_")
                expected = table.loc[individual, attribute]
                assert data["texts"][value["truth"]] == population.facts(individual)[attribute]
                assert len(top) == 2 * explore.TOP
                assert top[1::2] == sorted(top[1::2], reverse=True)
                assert top[1] == pytest.approx(expected["confidence"], rel=6e-3, abs=1e-6)
                assert p == pytest.approx(np.exp(-expected[keys.ATTRIBUTE_LOSS]), rel=6e-3, abs=1e-6)
                assert (top[0] == value["truth"]) == expected["right"]


@pytest.mark.parametrize("name", ["dense", "mixture"])
def test_attention_and_experts_are_those_of_the_text_read_by_itself(runs, name):
    run, data = runs[name]
    for person in (data["people"][0], data["people"][-1]):
        (inside,) = moefacts.load_run(run, data["steps"][-1]).activations(["".join(person["tokens"][1:])])
        moment = person["moments"][-1]
        assert inside.tokens == person["tokens"]
        found = np.frombuffer(base64.b64decode(moment["attention"]), np.uint8) / 255
        rows = [inside.attention_LHTT[:, :, v["at"], : v["at"] + 1].mean(axis=1).ravel() for v in person["values"]]
        assert found == pytest.approx(np.concatenate(rows), abs=0.5 / 255 + 1e-5)
        expected = [expert_TK[:, 0].tolist() for _, expert_TK in sorted(inside.experts_TK.items())]
        assert moment["experts"] == expected
        assert len(expected) == len(data["expert_layers"]) == (2 if name == "mixture" else 0)


def test_roles_mark_all_mentions_of_the_name_and_all_values(runs):
    _, data = runs["dense"]
    for person in data["people"]:
        signs = dict.fromkeys("nv.", "")
        for token, sign in zip(person["tokens"], person["roles"], strict=True):
            signs[sign] += token
        assert signs["n"] == f" {person['name']}" * 6
        assert signs["v"] == "".join(f" {data['texts'][value['truth']]}" for value in person["values"])


def test_named_people_come_first_and_once_with_the_biography_of_evaluation(finished_run, population, batcher):
    unseen, seen = population.cohort("unseen")[7], population.cohort("seen")[40]
    names = [population.full_name(one) for one in (unseen, seen, unseen)]
    data = data_of(explore_run(finished_run, names=names, steps=[12]).path.read_text())
    assert [one["name"] for one in data["people"]] == names[:2]
    plan = evaluation_plan(population, "unseen", 32)
    (row,) = np.flatnonzero(plan.individual_B == unseen)
    (text,) = batcher.catalog.texts_of(plan.rows(slice(row, row + 1)))
    assert "".join(data["people"][0]["tokens"][1:]).strip() == text
    both = data_of(explore_run(finished_run, people=32, names=names, steps=[12]).path.read_text())
    found = [one["name"] for one in both["people"]]
    assert found[:2] == names[:2]
    assert len(found) == len(set(found)) == 32 + 32 + 8


def test_the_page_loads_nothing_and_reads_without_scripts(runs):
    run, data = runs["mixture"]
    text = (run / "explore.html").read_text()
    assert not re.search(r"https?:|//[a-z]|url\(|@import|import\(|fetch\(|XMLHttpRequest", text)
    tags = Reader(text).tags
    assert not [tag for tag, attributes in tags if {"src", "href"} & set(attributes)]
    assert [attributes for tag, attributes in tags if "default-src 'none'" in attributes.get("content", "")]
    plain = text[text.index('id="plain"') : text.index("</section>")]
    person = data["people"][0]
    for value in person["values"]:
        assert data["texts"][value["truth"]] in plain
    assert person["name"] in plain
    assert "Step 4" in plain
    before, _, main = text.partition("<body>")[2].partition("<main>")
    assert not before.strip()  # its heading, too, is in the main part
    assert not re.sub(
        "<script.*?</script>", "", main.partition("</main>")[2].partition("</body>")[0], flags=re.S
    ).strip()


def test_the_page_says_why_there_are_dates_that_do_not_exist(runs):
    run, _ = runs["dense"]
    assert "so that dates such as 31 June occur" in (run / "explore.html").read_text()


def test_what_the_script_looks_for_is_on_the_page(runs):
    run, _ = runs["dense"]
    ids = {attributes["id"] for _, attributes in Reader((run / "explore.html").read_text()).tags if "id" in attributes}
    script = (Path(page.__file__).parent / "explore.js").read_text()
    assert set(re.findall(r'byId\("(\w+)"\)', script)) <= ids
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_no_text_of_the_run_is_markup(runs):
    _, data = runs["dense"]
    data = json.loads(json.dumps(data))
    data["people"][0] |= {"name": SCRIPT, "status": SCRIPT, "tokens": [SCRIPT] * len(data["people"][0]["tokens"])}
    data["texts"] = [SCRIPT] * len(data["texts"])
    data |= {"run": SCRIPT, "about": SCRIPT, "attributes": [SCRIPT] * 6}
    text = page.explore_page(data).decode()
    assert text.count("<script") == 2
    assert text.count("</script") == 2
    assert data_of(text) == data


def test_a_page_that_would_be_too_large_has_fewer_people_or_is_refused(finished_run, monkeypatch):
    whole = explore_run(finished_run, steps=[12])
    assert whole.num_people == 12 + 12 + 8
    _, materials = load_run(finished_run)
    bounds = {
        number: explore._bound(materials, explore._biographies(materials.batcher.population, [], number), 1)
        for number in (3, 12)
    }
    assert whole.num_bytes <= bounds[12] < page.MOST_BYTES
    monkeypatch.setattr(explore, "MOST_BYTES", bounds[3])
    assert explore_run(finished_run, steps=[12]).num_people == 9
    (finished_run / "explore.html").unlink()
    with pytest.raises(
        UserError, match=r"the page of 12 people at 1 checkpoints would be larger than .* MB; take fewer"
    ):
        explore_run(finished_run, people=4, steps=[12])
    assert not (finished_run / "explore.html").exists()


def test_a_recurrence_has_no_attention_and_the_page_none():
    materials = prepare(tiny_config("model.mixer=rg_lru"))
    batcher = materials.batcher
    biographies = Biographies(batcher, evaluation_plan(batcher.population, "seen", 2), 2)
    found = dict(readings(materials.model, biographies, beginnings_of(batcher), batcher.population, 5))
    assert set(found) == {0, 1}
    assert [each.shape[0] for each in found[0].attention_LT] == [0] * 6
    assert page.moment([], [], found[0].attention_LT, {})["attention"] == ""


@settings(max_examples=30)
@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=80), st.data())
def test_checkpoints_are_few_and_include_the_first_the_last_and_those_wanted(there, data):
    steps = sorted(there)
    wanted = data.draw(st.lists(st.sampled_from(steps), max_size=3))
    found = spread(steps, wanted)
    assert found == sorted(set(found))
    assert {steps[0], steps[-1], *wanted} <= set(found) <= there
    assert len(found) <= explore.MOST_STEPS


def test_checkpoints_are_denser_early():
    found = spread(range(0, 2001, 10), [])
    assert len(found) == explore.MOST_STEPS
    distances = np.diff(found)
    assert distances[-1] > 5 * distances[1]
