"""What the studies are about, read from their source: to import them all takes seconds, which a list must not."""

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Titled:
    """A study's name, its figure in the paper, and its title."""

    name: str
    figure: str
    title: str


def study_titles() -> list[Titled]:
    """All studies of the package, by their place in the paper; those that the paper lacks come last."""
    sources = (path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py"))
    found = [study for source in sources if " = Study(" in source for study in _studies(source)]
    return sorted(found, key=lambda study: (not study.figure.startswith("Figure"), _place(study.figure), study.name))


def _studies(source: str) -> list[Titled]:
    found = []
    for statement in ast.parse(source).body:
        call = statement.value if isinstance(statement, ast.Assign) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Study":
            texts = {one.arg: one.value.value for one in call.keywords if isinstance(one.value, ast.Constant)}
            found.append(Titled(str(texts["name"]), str(texts["figure"]), str(texts["title"])))
    return found


def _place(figure: str) -> str:
    return figure.removeprefix("Figures ").removeprefix("Figure ")
