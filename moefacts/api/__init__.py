"""The interface for notebooks and scripts: what ``moefacts.load_run``, ``list_runs`` and ``load_study`` return."""

from moefacts.api.listing import list_runs
from moefacts.api.run import LoadedRun, load_run
from moefacts.api.study import LoadedStudy, load_study
from moefacts.errors import UserError

__all__ = ["LoadedRun", "LoadedStudy", "UserError", "list_runs", "load_run", "load_study"]
