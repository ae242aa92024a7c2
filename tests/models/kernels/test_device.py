"""Only ``kernels/`` asks which device or precision is in use."""

from pathlib import Path

import moefacts.models
from moefacts.models import kernels

MODELS = Path(moefacts.models.__file__).parent


def test_no_other_file_of_the_models_asks_about_devices_or_precision():
    others = [path for path in MODELS.rglob("*.py") if kernels.__name__.rsplit(".", 1)[1] not in path.parts]
    assert len(others) > 8
    for path in others:
        text = path.read_text(encoding="utf-8")
        for question in ("device.type", "is_plain_cpu", "is_autocast", "is_compiling", "is_cuda", "product_dtype"):
            assert question not in text, (path.name, question)


def test_every_kernel_stands_beside_its_reference():
    files = [path for path in (MODELS / "kernels").glob("*.py") if path.stem not in ("__init__", "device")]
    assert len(files) >= 6
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert f"def {path.stem}(" in text
        assert f"def {path.stem}_reference(" in text
