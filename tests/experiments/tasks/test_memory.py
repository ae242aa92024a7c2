"""What cannot fit is refused before it is allocated, by the setting that decides; what works is not refused."""

import pytest

from moefacts.config.preset_files import preset_names
from moefacts.config.presets import compose
from moefacts.errors import UserError
from moefacts.experiments.tasks.memory import (
    Need,
    check_memory,
    memory_here,
    need_of_dataset,
    need_of_reading,
    need_of_training,
    out_of_memory_explained,
    readable,
)
from moefacts.synthetic_data.batches import Batcher
from moefacts.synthetic_data.sampling import training_plan

GIGABYTE = 1e9


@pytest.mark.parametrize(
    ("override", "setting"),
    [
        ("training.batch_size=1000000000", "training.batch_size"),
        ("evaluation.biographies=1000000000", "evaluation.biographies"),
        ("population.unseen=100000000000", "population.unseen"),
        ("model.d_model=10000000", "model.d_model"),
        ("model.d_hidden=1000000000000", "model.d_hidden"),
        ("model.num_layers=10000", "model.num_layers"),
    ],
)
def test_the_setting_to_lower_is_the_one_that_is_large(override, setting):
    config = compose([override, *(["model.d_model=4096"] if "num_layers" in override else [])])
    with pytest.raises(UserError, match=f"lower {setting}$"):
        check_memory(need_of_training(config), 100 * GIGABYTE)


def test_experts_count_too():
    with pytest.raises(UserError, match=r"lower model\.moe\.num_experts$"):
        check_memory(need_of_reading(compose(["model=moe_laptop", "model.moe.num_experts=100000000"])), GIGABYTE)


def test_rows_of_a_dataset_count_only_as_far_as_there_are_rows():
    many = "dataset.rows_per_group=1000000000000"
    check_memory(need_of_dataset(compose([many])), GIGABYTE)
    with pytest.raises(UserError, match=r"lower dataset\.rows_per_group"):
        check_memory(need_of_dataset(compose([many, "dataset.train=1000000000000"])), GIGABYTE)


@pytest.mark.parametrize("model", preset_names("model"))
def test_no_preset_is_refused_where_it_fits(model):
    """A model with its gradients and moments needs 16 bytes per parameter; the rest of a paper run is small."""
    scale = "paper" if "m" in model.rpartition("_")[2] or "44m" in model else "laptop"
    check_memory(need_of_training(compose([f"scale={scale}", f"model={model}"])), 80 * GIGABYTE)


def test_the_bound_of_a_batch_is_a_lower_one(batcher: Batcher, make_config):
    """The tokens of real biographies take at least what the estimate says of them."""
    size = 64
    plan = training_plan(batcher.population, 0, size)
    pieces = batcher.catalog.biography_pieces(plan)
    batch = batcher.assemble(plan)
    held = plan.individual_B.nbytes + plan.attribute_BA.nbytes + plan.template_BA.nbytes + pieces.nbytes
    held += sum(field.nbytes for field in (batch.token_BT, batch.role_BT, batch.attribute_BT, batch.value_position_BT))
    tiny = ("model.num_layers=1", "model.d_model=1", "model.num_heads=1", "model.d_head=2")
    activations = size * 60 * 2 * (2 * 1 + 2 * 2)
    more, less = (need_of_training(make_config(*tiny, f"training.batch_size={n}")).num_bytes for n in (size + 1, 1))
    assert 0 < more - less - activations <= held


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")])
def test_running_out_all_the_same_says_what_to_lower(error):
    with pytest.raises(UserError, match=r"out of memory .*; lower b first"), out_of_memory_explained(Need(1, "b")):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_explained(Need(1, "b")):
        raise RuntimeError("shapes differ")


def test_the_memory_here_is_a_number_of_bytes_of_a_machine():
    assert 1e8 < memory_here() < 1e16


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(5, "5 bytes"), (17.7e12, "17.7 TB"), (999e3, "999 kB"), (3.2e21, "3,200,000 PB")]
)
def test_sizes_are_readable(num_bytes, text):
    assert readable(num_bytes) == text


def test_a_long_preview_holds_no_more_than_a_short_one(make_config):
    """The first biographies of a hundred million come at once."""
    from itertools import islice

    from moefacts.experiments.tasks.dataset import preview

    config = make_config()
    few = list(preview(config, 20))
    assert len(few) == 20
    assert list(islice(preview(config, 100_000_000), 20)) == few


def test_biographies_that_are_read_at_once_count_and_those_of_training_do_not():
    more = need_of_dataset(compose(["dataset.validation=1000000000000"]))
    assert more.setting == "dataset.validation"
    assert more.num_bytes > 1e12
    assert need_of_dataset(compose(["dataset.train=1000000000000"])).num_bytes < 1e9
