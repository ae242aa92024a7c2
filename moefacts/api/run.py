"""``moefacts.load_run`` and what it returns."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from moefacts.config.schema import RunConfig
from moefacts.errors import UserError, check_choice
from moefacts.runs import keys
from moefacts.runs.reader import Run, read_run
from moefacts.synthetic_data.cohorts import SEEN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moefacts.experiments.tasks.materials import Materials
    from moefacts.models.transformer import Transformer
    from moefacts.probes.activations import Activations
    from moefacts.probes.ask import Answer
    from moefacts.synthetic_data.population import Population
    from moefacts.synthetic_data.tokenizer import Tokenizer


class LoadedRun:
    """A run directory, finished or still training. Whatever takes long is made when it is first asked for, and kept.

    Attributes:
        path: the run directory.
        step: the step of the checkpoint that the model is taken from; None means the newest.
        record: the reader of the directory, for what has no name here.
    """

    def __init__(self, record: Run, step: int | None = None):
        self.path, self.step, self.record = record.path, step, record

    def __repr__(self) -> str:
        return f"LoadedRun({str(self.path)!r}, {self.record.manifest['state']})"

    @property
    def config(self) -> RunConfig:
        """Every setting of the run, as in ``config.yaml``: ``run.config.training.steps``."""
        return self.record.settings

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything that was logged: one row per step, one column per metric, NaN where a metric was not logged."""
        rows: dict[int, dict[str, Any]] = {}
        for record in self.record.records:
            rows.setdefault(record[keys.STEP], {}).update(record)
        return pd.DataFrame(list(rows.values())).set_index(keys.STEP)

    @cached_property
    def measures(self) -> dict[str, Any]:
        """What ``moefacts analyze --json`` computes of this run, None where a number was not reached."""
        from moefacts.analysis.groups import Group
        from moefacts.analysis.summary import as_json

        found: dict[str, Any] = as_json([Group(self.config.model.preset, [self.record])])["runs"][0]
        return found

    @cached_property
    def population(self) -> "Population":
        """The people of the run with their facts; ``find(name)`` gives a person's number, ``facts(number)`` facts."""
        from moefacts.synthetic_data.population import build_population

        return build_population(self.config.population, self.config.seed)

    def names(self, cohort: str = SEEN, limit: int | None = None) -> list[str]:
        """The full names of the people of a cohort.

        Args:
            cohort: ``seen``, ``unseen``, ``new``, or one of ``population.cohorts``.
            limit: the largest number of names; None gives all.

        Raises:
            UserError: there is no such cohort, or it is empty.
        """
        return [self.population.full_name(individual) for individual in self._people(cohort)[:limit]]

    @cached_property
    def _materials(self) -> "Materials":
        from moefacts.experiments.tasks.materials import load_run as load_materials

        return load_materials(self.path, self.step, device="cpu")[1]

    @property
    def model(self) -> "Transformer":
        """The trained model on the CPU, in evaluation mode; its arguments are token ids, shape (B, T).

        Raises:
            UserError: there is no checkpoint yet, or it is damaged, or the run is patched.
        """
        return self._materials.model

    @property
    def tokenizer(self) -> "Tokenizer":
        """The run's tokenizer; ``tokens(ids)`` gives readable tokens. Needs the model (see ``model``)."""
        return self._materials.batcher.tokenizer

    def ask(self, name: str, top: int = 3) -> "list[Answer]":
        """Ask the model about a person, in templates that training did not show for them.

        Args:
            name: first, middle and last name.
            top: the number of answers about each attribute.

        Returns:
            One ``Answer`` per attribute: ``attribute``, ``answers`` (pairs of value and probability, likeliest first)
            and ``truth``, which is None if nobody has this name.

        Raises:
            UserError: the name cannot be asked about, or there is no model (see ``model``).
        """
        from moefacts.probes.ask import ask, check_name
        from moefacts.synthetic_data.near_names import hint

        try:
            check_name(name, self._materials.batcher)
        except UserError as error:
            raise UserError(f"{error}{hint(self.population, name)}") from None
        return list(ask(self.model, self._materials.batcher, name, top))

    def biographies(
        self, names: Sequence[str] | None = None, *, cohort: str = SEEN, count: int = 10, held_out: bool = True
    ) -> list[str]:
        """One biography for each of some people, always the same ones.

        Args:
            names: full names; None takes the first ``count`` people of ``cohort``.
            cohort: ``seen``, ``unseen``, ``new``, or one of ``population.cohorts``; not used with ``names``.
            count: how many people; not used with ``names``.
            held_out: whether to use the templates that training did not show for a person, or those that it did.

        Raises:
            UserError: nobody has one of the names, or there is no such cohort, or it is empty.
        """
        import numpy as np

        from moefacts.synthetic_data.biography import PieceCatalog
        from moefacts.synthetic_data.near_names import person_of
        from moefacts.synthetic_data.sampling import one_each_plan

        if names is None:
            people: Sequence[int] = self._people(cohort)[:count]
        else:
            people = [person_of(self.population, name, self.path) for name in names]
        plan = one_each_plan(self.population, np.array(people, dtype=np.int64), "shown", held_out=held_out)
        return PieceCatalog(self.population).texts_of(plan)

    def activations(self, texts: Sequence[str]) -> "list[Activations]":
        """What is inside the model while it reads each text by itself, as numpy arrays in fp32.

        Args:
            texts: biographies, or beginnings of them. The begin token is put before each.

        Returns:
            For each text its T ``tokens``; ``residual_LTD``, shape (L + 1, T, D), before the first of L layers and
            after each; ``attention_LHTT``, shape (L, H, T, T); ``gates_TE`` and ``experts_TK``, layer -> shapes (T, E)
            and (T, K), of the layers that are mixtures; layers are numbered from 1.

        Raises:
            UserError: a word is not in the vocabulary, or there is no model (see ``model``).
        """
        from moefacts.probes.activations import activations

        if isinstance(texts, str):
            raise UserError("activations takes a list of texts; put the text into brackets")
        return [activations(self.model, self._materials.batcher, text) for text in texts]

    def mechanism(self, steps: Sequence[int] | None = None, cohort: str | None = None) -> pd.DataFrame:
        """Which layer does what, measured now: the table of ``moefacts analyze --mechanism`` at any checkpoints.

        Nothing is written. What the command wrote, with all measures by attribute, is ``record.mechanism``.

        Args:
            steps: steps of checkpoints; None takes those that the command does, near the plateau's start and its end,
                and the last.
            cohort: two people or more; None takes the one whose plateau the run follows.

        Returns:
            One row for each of the index ``step``, ``cohort``, ``values`` and ``layer``, which counts from 1, with the
            means over attributes as columns. ``docs/mechanism.md`` says what they are.

        Raises:
            UserError: there is no such checkpoint or cohort, or no two people of it have names of equal length, or the
                run is patched.
        """
        from moefacts.analysis.mechanism import layer_frame
        from moefacts.experiments.tasks.materials import load_run as load_materials
        from moefacts.experiments.tasks.probe import moments_of
        from moefacts.probes.mechanism.table import emergence_table
        from moefacts.runs.layout import checkpoint_steps

        there, cohort = checkpoint_steps(self.path), cohort or self.record.cohort
        self._people(cohort)
        missing = [step for step in steps or () if step not in there]
        materials = load_materials(self.path, missing[0] if missing else None, device="cpu")[1]
        chosen = moments_of(self.record) if steps is None else sorted(set(steps))
        return layer_frame(emergence_table(self.path, materials.model, materials.batcher, chosen, cohort))

    def sample(self, text: str, most_tokens: int = 20, temperature: float = 0.0, seed: int = 0) -> str:
        """What the model writes after a text, until it ends the biography.

        Args:
            text: the beginning of a biography.
            most_tokens: the largest number of tokens to write.
            temperature: that of the softmax from which tokens are drawn; 0 takes the likeliest one.
            seed: of the draws.

        Raises:
            UserError: a word is not in the vocabulary, or there is no model (see ``model``).
        """
        from moefacts.probes.continuation import continue_text

        return continue_text(self.model, self._materials.batcher, text, most_tokens, temperature, seed)

    @property
    def figures(self) -> dict[str, str]:
        """Name -> caption of every figure that can be drawn. Some need probes, which ``moefacts analyze`` runs."""
        return {name: caption for name, (caption, _) in self._drawable.items()}

    def figure(self, name: str) -> "Figure":
        """Draw one of ``figures``.

        Raises:
            UserError: there is no such figure of this run.
        """
        from matplotlib import pyplot

        from moefacts.analysis.figures import STYLE

        check_choice("figure", name, self._drawable)
        with pyplot.style.context(STYLE):
            figure = self._drawable[name][1]()
        pyplot.close(figure)  # so that a notebook shows it once
        return figure

    @property
    def _drawable(self) -> dict[str, tuple[str, Any]]:
        from moefacts.analysis.figures import figures_of
        from moefacts.analysis.groups import Group

        return figures_of([Group(self.config.model.preset, [self.record])])

    def _people(self, cohort: str) -> range:
        return self.config.population.cohort_range(cohort)


def load_run(path: str | Path, step: int | None = None) -> LoadedRun:
    """Read a run directory. Its model is loaded when it is first needed.

    Args:
        path: the run directory.
        step: the step of the checkpoint to take the model from (default: the newest).

    Raises:
        UserError: the directory is missing, damaged or not a run's, or holds no evaluation yet.
    """
    return LoadedRun(read_run(Path(path).expanduser()), step)
