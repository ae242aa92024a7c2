"""``moefacts people``."""

from pathlib import Path
from typing import Annotated

import typer

from moefacts.cli.completion import complete_runs

_OF_EACH = 10


def people(
    run: Annotated[Path, typer.Argument(help="Run directory.", autocompletion=complete_runs)],
    cohort: Annotated[
        str | None, typer.Option(help="List this cohort only, one name per line: seen, unseen, new, or a part of them.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="List this many people of each cohort at most.")] = None,
) -> None:
    """List the names of a run's people by cohort, of each 10 unless --cohort or --limit says otherwise."""
    from moefacts.config.loader import read_config
    from moefacts.errors import UserError, nearest
    from moefacts.runs import layout
    from moefacts.runs.fingerprint import check_population
    from moefacts.runs.manifest import read_manifest
    from moefacts.synthetic_data.population import build_population

    manifest, config = read_manifest(run), read_config(run / layout.CONFIG)
    check_population(run, config, manifest)
    population = build_population(config.population, config.seed)
    if cohort is not None:
        if cohort not in population.cohorts:
            raise UserError(f"{run} has no cohort {cohort}; {nearest(cohort, population.cohorts)}")
        for individual in population.cohort(cohort)[:limit]:
            typer.echo(population.full_name(individual))
        return
    for name, members in population.cohorts.items():
        shown = members[: limit or _OF_EACH]
        rest = f", the first {len(shown):,} of them" if len(shown) < len(members) else ""
        typer.echo(f"{name}: {len(members):,} people{rest}")
        for individual in shown:
            typer.echo(f"  {population.full_name(individual)}")
