import subprocess
import sys
from pathlib import Path

import pytest

from moefacts.errors import UserError
from moefacts.experiments.tasks.dataset import generate_dataset
from moefacts.synthetic_data.biography import PieceCatalog
from moefacts.synthetic_data.hub import BiographyWriter
from moefacts.synthetic_data.pools import ATTRIBUTES
from moefacts.synthetic_data.population import build_population
from moefacts.synthetic_data.sampling import evaluation_plan, training_plan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from tests.conftest import tiny_config

    folder = tmp_path_factory.mktemp("data") / "biographies"
    config = tiny_config("dataset.train=100", "dataset.validation=40", "dataset.unseen=32", "dataset.rows_per_group=33")
    population = generate_dataset(config, folder, "moefacts generate", lambda rows: None)
    return folder, population, config


@pytest.fixture
def loaded(dataset, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    folder = str(dataset[0])
    load = lambda *config: datasets.load_dataset(folder, *config, cache_dir=str(tmp_path))  # noqa: E731
    return load(), load("population")


def test_load_dataset_reads_the_folder(dataset, loaded):
    _, population, _ = dataset
    biographies, people = loaded
    assert {name: len(split) for name, split in biographies.items()} == {"train": 100, "validation": 40, "unseen": 32}
    assert {name: len(split) for name, split in people.items()} == {
        name: len(people) for name, people in population.cohorts.items()
    }
    person = people["unseen"][3]
    assert person["name"] == population.full_name(person["individual"])
    assert {attribute: person[attribute] for attribute in ATTRIBUTES} == population.facts(person["individual"])


def test_the_train_split_is_what_a_model_sees_first_in_that_order(dataset, loaded):
    _, population, config = dataset
    catalog, size = PieceCatalog(population), config.training.batch_size
    expected = [text for step in range(13) for text in catalog.texts_of(training_plan(population, step, size))]
    assert loaded[0]["train"]["text"] == expected[:100]
    assert loaded[0]["validation"]["text"] == catalog.texts_of(evaluation_plan(population, "seen", 40))


def test_character_spans_cut_out_the_values(dataset, loaded):
    _, population, _ = dataset
    for row in loaded[0]["train"]:
        facts = population.facts(row["individual"])
        cut = [row["text"][start:end] for start, end in zip(row["value_start"], row["value_end"], strict=True)]
        assert cut == [facts[attribute] for attribute in row["attributes"]]


def test_tables_equal_biographies_written_one_by_one_also_beyond_ascii(make_config):
    population = build_population(make_config("population.pools.cities=800").population, seed=0)
    plan = training_plan(population, 0, 500)
    rows = BiographyWriter(population).table(plan).to_pylist()
    assert any(not row["text"].isascii() for row in rows)
    for b, row in enumerate(rows):
        person = int(plan.individual_B[b])
        facts, sentences = population.facts(person), []
        for attribute, template in zip(plan.attribute_BA[b], plan.template_BA[b], strict=True):
            name = ATTRIBUTES[attribute]
            sentences.append(population.templates[name][template].fill(population.full_name(person), facts[name]))
        names = [ATTRIBUTES[attribute] for attribute in plan.attribute_BA[b]]
        cuts = [row["text"][start:end] for start, end in zip(row["value_start"], row["value_end"], strict=True)]
        assert row["text"] == "".join(sentences).strip()
        assert (row["individual"], row["attributes"], cuts) == (person, names, [facts[name] for name in names])


def test_the_card_gives_fingerprint_baseline_and_command(dataset):
    folder, population, _ = dataset
    card = (folder / "README.md").read_text()
    assert population.fingerprint in card
    assert f"{population.no_knowledge_baseline:.6f}" in card
    assert "`moefacts generate`" in card


def test_a_distribution_decides_the_training_rows_and_is_on_the_card(make_config, tmp_path):
    import pyarrow.parquet as pq

    config = make_config(
        "dataset.train=320", "sampling.kind=warmup", "sampling.warmup_individuals=5", "sampling.warmup_epochs=2"
    )
    generate_dataset(config, tmp_path / "out", "", lambda rows: None)
    table = pq.read_table(tmp_path / "out/data/biographies-train-00000-of-00001.parquet")
    individuals = table["individual"].to_pylist()
    assert set(individuals[:96]) == set(range(5))
    assert max(individuals[96:]) > 40
    card = (tmp_path / "out/README.md").read_text()
    assert "`sampling.kind=warmup sampling.warmup_individuals=5 sampling.warmup_epochs=2.0`" in card


def test_a_curriculum_that_follows_a_model_has_no_dataset(make_config, tmp_path):
    config = make_config("sampling.kind=adaptive", "sampling.initial_individuals=5")
    with pytest.raises(UserError, match="use another kind for a dataset"):
        generate_dataset(config, tmp_path / "out", "", lambda rows: None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(make_config, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not an empty folder"):
        generate_dataset(make_config(), tmp_path, "", lambda rows: None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_half_written(make_config, tmp_path):
    def full_disk(rows):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        generate_dataset(make_config(), tmp_path / "out", "", full_disk)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_million_biographies_would_stream_in_bounded_memory(tmp_path):
    code = (
        "import sys; from pathlib import Path; from moefacts.config.presets import compose;"
        "from moefacts.experiments.tasks.dataset import generate_dataset;"
        "config = compose(['scale=paper', 'population.size=64000', f'dataset.train={sys.argv[2]}']);"
        "generate_dataset(config, Path(sys.argv[1]), '', lambda rows: None);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for rows in (40_000, 120_000):
        command = [sys.executable, "-c", code, str(tmp_path / str(rows)), str(rows)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    growth_per_row = (peaks[1] - peaks[0]) / 80_000
    assert peaks[1] + growth_per_row * 880_000 < 1_000_000
