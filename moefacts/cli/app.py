"""The ``moefacts`` command."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from moefacts import __version__
from moefacts.cli import analyze, ask, explore, export, finetune, generate, listing, people, reproduce, sample, train
from moefacts.cli.output import survive_any_encoding
from moefacts.errors import UserError, is_full_disk

EXIT_USER_ERROR = 2
HYDRA_COMMAND = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="moefacts",
    help="Generate synthetic biographies, train small language models on them, and measure how they learn facts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command("generate", context_settings=HYDRA_COMMAND)(generate.generate)
app.command("train", context_settings=HYDRA_COMMAND)(train.train)
app.command("finetune", context_settings=HYDRA_COMMAND)(finetune.finetune)
app.command("analyze")(analyze.analyze)
app.command("reproduce", context_settings=HYDRA_COMMAND)(reproduce.reproduce)
app.command("ask")(ask.ask)
app.command("explore")(explore.explore)
app.command("people")(people.people)
app.command("sample")(sample.sample)
app.command("export")(export.export)
app.command("list")(listing.list_everything)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moefacts {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Define the options of ``moefacts`` itself."""


def main() -> None:
    """Run the command; an error that the user can fix becomes one line and exit code 2."""
    survive_any_encoding()
    try:
        exit_code = app(prog_name="moefacts", standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno is None:
            raise
        place = f": {error.filename}" if error.filename else ""
        if is_full_disk(error):
            _fail(f"no space left on the device{place}; free some space and run the same command again to resume")
        _fail(f"{os.strerror(error.errno)}{place}")
    except Exception as error:
        from moefacts.experiments.tasks.memory import first_line, is_out_of_memory

        if is_out_of_memory(error):
            _fail(f"out of memory ({first_line(error)}); ask for less at once, or use a machine with more")
        if not hasattr(error, "format_message"):  # only Typer's own errors about the command line have one
            raise
        message = error.format_message() or "name a command"
        _fail(f"{message} (moefacts --help shows the commands, moefacts COMMAND --help their options)")
    else:
        sys.exit(exit_code or 0)


def _fail(message: str) -> NoReturn:
    print(f"moefacts: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
