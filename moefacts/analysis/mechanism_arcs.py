"""A figure of one sentence: where the token before the value looks in every layer, and what can be read there."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

from moefacts.analysis.moments import in_words, names_of
from moefacts.runs.reader import Run

_RIGHT, _WRONG, _ARC = "#009E73", "#666666", "#0072B2"
_LEAST = 0.01  # attention that is drawn
_WIDEST = 5.0  # points, of all attention
_LONGEST = 16  # characters of an answer


def arcs_caption(run: Run) -> str:
    """What the figure shows, and at which moments."""
    assert run.mechanism_sentence is not None, "see has_arcs"
    steps = sorted(run.mechanism_sentence["step"].unique().tolist())
    return (
        "One sentence about one person. Arcs: attention of the last token, which predicts the value, to the tokens of "
        "the sentence, averaged over heads; width and darkness grow with it, and a ring is attention to the token "
        "itself. Beside them: the likeliest value when the state after the layer is read as if it were the last, with "
        "the probability of its first token; green if it is the true one. Columns are the checkpoints nearest to "
        f"{in_words(run, steps)}."
    )


def has_arcs(run: Run) -> bool:
    """Whether there is a sentence to draw."""
    return run.mechanism_sentence is not None and len(run.mechanism_sentence) > 0


def attention_arcs(run: Run) -> Figure:
    """Draw the sentence: one column for each checkpoint, one row for each layer, the first at the bottom."""
    table = run.mechanism_sentence
    assert table is not None, "see has_arcs"
    steps, layers = sorted(table["step"].unique().tolist()), sorted(table["layer"].unique(), reverse=True)
    moments, (width, _) = names_of(run, steps), plt.rcParams["figure.figsize"]
    figure, panels = plt.subplots(
        len(layers), len(steps), figsize=(2.1 * width, 0.85 + 0.8 * len(layers)), squeeze=False
    )
    for row, layer in enumerate(layers):
        for column, step in enumerate(steps):
            axes, part = panels[row, column], table[(table["step"] == step) & (table["layer"] == layer)]
            _draw_layer(axes, part.sort_values("position"))
            if row == 0:
                axes.set_title(f"{moments[step]}\nstep {step:,}" if step in moments else f"step {step:,}", loc="left")
            if column == 0:
                axes.set_ylabel(f"layer {layer + 1}")
            if row == len(layers) - 1:
                _write_tokens(axes, _sentence(table))
    sentence = "".join(_sentence(table)[1:]).replace("▁", " ").strip()
    figure.suptitle(f"“{sentence} …”   True value: {table['value'].iloc[0]}", fontsize=plt.rcParams["axes.titlesize"])
    return figure


def _sentence(table: pd.DataFrame) -> list[str]:
    return table.drop_duplicates("position").sort_values("position")["token"].tolist()


def _draw_layer(axes: Axes, part: pd.DataFrame) -> None:
    attention_T = part["attention"].to_numpy()
    last = len(attention_T) - 1
    axes.plot([0, last], [0, 0], color="#bbbbbb", linewidth=0.6, zorder=0)
    axes.plot(range(last + 1), [0] * (last + 1), ".", color="#999999", markersize=2.5)
    for position, share in enumerate(attention_T[:last]):
        if share >= _LEAST:
            axes.add_patch(_arc(last, position, float(share), last))
    own = float(attention_T[last])
    axes.plot(last, 0, "o", markersize=4, markerfacecolor="black", markeredgecolor="none", zorder=3)
    if own >= _LEAST:
        alpha = _alpha(own)
        axes.plot(
            last, 0, "o", markersize=6 + _WIDEST * own, fillstyle="none", color=_ARC, alpha=alpha, zorder=2,
            markeredgewidth=max(0.4, _WIDEST * own / 2),
        )  # fmt: skip
    answer, probability = str(part["answer"].iloc[0]), float(part["probability"].iloc[0])
    is_right = bool(part["right"].iloc[0])
    text = answer if len(answer) <= _LONGEST else answer[: _LONGEST - 1] + "…"
    axes.text(
        1.08 * last + 0.4, 0.5, f"{text}\n{_percent(probability)}", fontsize=7.5, va="center",
        color=_RIGHT if is_right else _WRONG, weight="bold" if is_right else "normal",
    )  # fmt: skip
    axes.set_xlim(-0.7, 1.5 * (last + 1))
    axes.set_ylim(-0.14, 1.05)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _arc(start: int, end: int, share: float, longest: int) -> PathPatch:
    """A curve above the line from one token to another, higher the further they are apart."""
    height = 0.35 + 0.95 * (start - end) / longest
    curve = Curve(
        [(start, 0), (start, height), (end, height), (end, 0)], [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    )
    return PathPatch(
        curve, fill=False, edgecolor=_ARC, linewidth=max(0.3, _WIDEST * share), alpha=_alpha(share), capstyle="butt"
    )


def _alpha(share: float) -> float:
    return 0.15 + 0.75 * min(1.0, share / 0.5)


def _percent(share: float) -> str:
    return "<1%" if share < 0.005 else f"{100 * share:.0f}%"


def _write_tokens(axes: Axes, tokens: list[str]) -> None:
    labels = ["begin", *(token.strip(" ▁") for token in tokens[1:])]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.tick_params(axis="x", length=0, pad=1)
