"""Made-up fine-tuned runs, whose curves are given."""

from pathlib import Path

from moefacts.runs.reader import Run
from tests.conftest import tiny_config

BASELINE, BIOGRAPHIES = 4.0, 10_000
ATTRIBUTES = ("easy", "hard")


def fine_tuned(steps, new, *, error=0.001, seen_before=((0, 48),), overrides=(), losses=None, **old):
    """A run that learned the new people, with accuracies ``new`` of them and ``old`` of other cohorts at ``steps``."""
    config = tiny_config(
        "init.run=before", "init.step=4", "init.source=abc", "sampling.cohort=new",
        f"evaluation.biographies={BIOGRAPHIES}", "evaluation.cohorts=[new,seen,unseen]", *overrides,
    )  # fmt: skip
    curves = {"new": new, "unseen": [0.1] * len(steps)} | old
    records = []
    for place, step in enumerate(steps):
        record = {"step": step}
        for cohort, curve in curves.items():
            key, accuracy = f"eval/{cohort}", curve[place]
            loss = BASELINE * (1 - accuracy) if losses is None or cohort == "new" else losses[place]
            for name, value in (("accuracy", accuracy), ("loss", loss)):
                record[f"{key}/attribute_{name}"] = value
                record |= {f"{key}/attribute_{name}/{attribute}": value for attribute in ATTRIBUTES}
            record |= {f"{key}/max_probability": 0.5, f"{key}/entropy": 1.0}
            if error is not None:
                record |= {f"{key}/attribute_accuracy_standard_error": error}
                record |= {f"{key}/attribute_loss_standard_error": error}
        records.append(record)
    manifest = {
        "state": "finished", "no_knowledge_baseline": BASELINE, "no_knowledge_baseline_by_attribute": [BASELINE] * 2,
        "parameters": {"total": 7, "non_embedding": 5, "active": 7}, "seen_before": [list(pair) for pair in seen_before],
        "device": "cpu", "command": "moefacts finetune before", "versions": {"moefacts": "0"},
    }  # fmt: skip
    return Run(Path("nowhere"), config, manifest, records)
