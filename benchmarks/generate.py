"""Biographies per second that ``moefacts generate`` writes to Parquet on one core, including the population."""

import tempfile
import time
from pathlib import Path

import pyarrow as pa

from benchmarks.setting import Result, Row, Setting
from moefacts.experiments.tasks.dataset import generate_dataset

GOAL = 200_000


def run(setting: Setting) -> Result:
    """Measure writing one dataset of paper scale."""
    config = setting.config("scale=paper", "dataset.train=500000", "dataset.validation=1000", "dataset.unseen=1000")
    num_rows = config.dataset.train + config.dataset.validation + config.dataset.unseen
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            started, cpu_started = time.perf_counter(), time.process_time()
            generate_dataset(config, Path(name) / "biographies", "moefacts generate", lambda rows: None)
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
            num_bytes = sum(path.stat().st_size for path in Path(name).rglob("*.parquet"))
    finally:
        pa.set_cpu_count(threads)
    return {
        "biographies": num_rows,
        "biographies_per_second": num_rows / seconds,
        "biographies_per_cpu_second": num_rows / cpu_seconds,
        "bytes_per_biography": num_bytes / num_rows,
    }


def rows(result: Result) -> list[Row]:
    """The table rows of a result."""
    speed = result["biographies_per_cpu_second"]
    what = f"biographies/s of one core ({result['biographies']:,} rows; wall {result['biographies_per_second']:,.0f}/s)"
    return [Row(what, f"{speed:,.0f}", f"≥ {GOAL:,}", speed >= GOAL)]
