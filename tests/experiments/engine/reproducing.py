"""The command ``moefacts reproduce`` in this process, and what it wrote, without what differs from time to time."""

import json

from typer.testing import CliRunner

from moefacts.cli import app as cli


def reproduce(*arguments):
    return CliRunner().invoke(cli.app, ["reproduce", *map(str, arguments)])


def without_timing(value):
    if isinstance(value, dict):
        return {key: without_timing(item) for key, item in value.items() if key not in ("timing", "command")}
    return [without_timing(item) for item in value] if isinstance(value, list) else value


def results(out):
    return without_timing(json.loads((out / "results.json").read_text()))
