"""Figures of one mixture-of-experts run, from its metrics and the routing probe's tables; one panel per layer.

People count layers from 1, tables and metric keys from 0.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moefacts.runs import tables
from moefacts.runs.probe_table import ProbeTable
from moefacts.runs.reader import Run

_TOKENS_PER_LINE = 22
_INFORMATION_LABELS = {
    "attribute_given_token": "attribute\n| token id",
    "individual_given_token": "individual\n| token id",
    "token": "token id",
}


def _table(run: Run, table: ProbeTable) -> pd.DataFrame:
    rows = table.read(run.path)
    assert rows is not None  # ``routing_figures`` leaves out figures whose table has not been written
    return rows


def _panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False)
    return figure, list(axes[0])


def _heat_map(axes: Axes, table: pd.DataFrame, layer: int, colors: str, limits: tuple[float, float], unit: str) -> None:
    image = axes.imshow(table.to_numpy(), aspect="auto", cmap=colors, vmin=limits[0], vmax=limits[1])
    axes.set_xticks(range(table.shape[1]) if table.shape[1] <= 16 else range(0, table.shape[1], 4))
    axes.set_yticks(range(table.shape[0]), [str(name).replace("_", " ") for name in table.index])
    axes.set_xlabel("expert")
    axes.set_title(f"layer {layer + 1}")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.figure.colorbar(image, ax=axes, label=unit, shrink=0.85)


def load_over_training(run: Run) -> Figure:
    """Draw the load fraction of every expert at every evaluation."""
    layers, num_experts = run.routed_layers, run.num_experts
    figure, panels = _panels(len(layers), 3.6, 2.6)
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.95, num_experts))
    for axes, layer in zip(panels, layers, strict=True):
        for expert in range(num_experts):
            column = run.load_fraction(layer, expert)
            axes.plot(column.index, column, color=colors[expert], linewidth=1)
        axes.axhline(1 / num_experts, color="black", linestyle="--", linewidth=0.8, label="equal load")
        axes.set_ylim(bottom=0)
        axes.set_title(f"layer {layer + 1}")
        axes.set_xlabel("training step")
    panels[0].set_ylabel("load fraction of each expert")
    panels[0].legend()
    return figure


def _use(run: Run, kind: str) -> Figure:
    table = _table(run, tables.EXPERT_USE)
    table = table[table["kind"] == kind]
    layers = sorted(table["layer"].unique())
    figure, panels = _panels(len(layers), 4.2, 2.7)
    for axes, layer in zip(panels, layers, strict=True):
        part = table[table["layer"] == layer]
        wide = part.pivot(index="label", columns="expert", values="share").loc[part["label"].unique()]
        _heat_map(axes, wide, layer, "viridis", (0, float(table["share"].max())), "share of assignments")
    return figure


def use_by_role(run: Run) -> Figure:
    """Draw which experts each kind of token uses."""
    return _use(run, "role")


def use_by_attribute(run: Run) -> Figure:
    """Draw which experts the value tokens of each attribute use."""
    return _use(run, "attribute")


def information(run: Run) -> Figure:
    """Draw how much the choice of experts says about a token, before and after training.

    A mark on every bar shows how much a finite sample alone gives: the same with permuted labels.
    """
    table = _table(run, tables.INFORMATION)
    layers = sorted(table["layer"].unique())
    figure, panels = _panels(len(layers), 3.6, 2.8)
    place = np.arange(len(_INFORMATION_LABELS))
    for axes, layer in zip(panels, layers, strict=True):
        for shift, weights in ((-0.2, "trained"), (0.2, "untrained")):
            part = table[(table["layer"] == layer) & (table["weights"] == weights)].set_index("label")
            part = part.loc[list(_INFORMATION_LABELS)]
            axes.bar(place + shift, part["fraction"], 0.38, label=weights)
            ends = place + shift - 0.19, place + shift + 0.19
            axes.hlines(part["control"], *ends, color="black", linewidth=1.4, label="labels permuted")
        axes.set_xticks(place, list(_INFORMATION_LABELS.values()))
        axes.set_title(f"layer {layer + 1}")
        axes.set_ylim(0, max(0.05, 1.1 * float(table[["fraction", "control"]].max().max())))
    panels[0].set_ylabel("mutual information / expert entropy")
    handles, labels = panels[0].get_legend_handles_labels()
    handle_of = dict(zip(labels, handles, strict=True))
    order = ("trained", "untrained", "labels permuted")
    figure.legend([handle_of[label] for label in order], order, loc="outside lower center", ncols=3)
    return figure


def saturation(run: Run) -> Figure:
    """Draw the share of the final choice of experts that was already made at each checkpoint."""
    figure, axes = plt.subplots()
    for layer, part in _table(run, tables.SATURATION).groupby("layer"):
        axes.plot(part["step"], part["saturation"], marker="o", markersize=2.5, label=f"layer {layer + 1}")
    moe = run.config["model"]["moe"]
    chance = moe["experts_per_token"] / moe["num_experts"]
    axes.axhline(chance, color="black", linestyle="--", linewidth=0.8, label="chance, at equal load")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("training step")
    axes.set_ylabel("router saturation")
    axes.legend()
    return figure


def coactivation(run: Run) -> Figure:
    """Draw, for the tokens of one expert, the share that also uses another."""
    table = _table(run, tables.COACTIVATION)
    layers = sorted(table["layer"].unique())
    figure, panels = _panels(max(1, len(layers)), 3.6, 3.0)
    for axes, layer in zip(panels, layers, strict=False):
        wide = table[table["layer"] == layer].pivot(index="expert", columns="other", values="share")
        _heat_map(axes, wide, layer, "viridis", (0, max(1e-9, float(table["share"].max()))), "share that also uses it")
        axes.set_xlabel("other expert")
        axes.set_ylabel("expert")
    return figure


def ablation(run: Run) -> Figure:
    """Draw how the attribute loss changes when one expert is left out."""
    table = _table(run, tables.ABLATION)
    layers = sorted(table["layer"].unique())
    bound = max(1e-9, float(table["loss_change"].abs().max()))
    figure, panels = _panels(len(layers), 4.2, 2.5)
    for axes, layer in zip(panels, layers, strict=True):
        part = table[table["layer"] == layer]
        wide = part.pivot(index="attribute", columns="expert", values="loss_change").loc[part["attribute"].unique()]
        _heat_map(axes, wide, layer, "RdBu_r", (-bound, bound), "change of attribute loss (nats)")
    return figure


def colored_biography(run: Run) -> Figure:
    """Draw a biography with each token on the colour of its first-choice expert; one block of lines per layer."""
    table = _table(run, tables.BIOGRAPHY)
    layers = sorted(table["layer"].unique())
    num_experts = run.num_experts
    colors = plt.get_cmap("tab20" if num_experts > 10 else "tab10")
    lines_per_layer = -(-int(table["position"].max() + 1) // _TOKENS_PER_LINE) + 1.2
    figure, axes = plt.subplots(figsize=(9.5, 0.21 * lines_per_layer * len(layers)))
    for block, layer in enumerate(layers):
        part = table[table["layer"] == layer].sort_values("position")
        top = -block * lines_per_layer
        axes.text(-0.3, top, f"layer {layer + 1}", fontsize=7, ha="right", va="center", weight="bold")
        for position, token, expert in zip(part["position"], part["token"], part["expert"], strict=True):
            x, y = position % _TOKENS_PER_LINE, top - position // _TOKENS_PER_LINE
            box = plt.Rectangle((x, y - 0.45), 0.97, 0.9, color=colors(expert % colors.N), alpha=0.45, linewidth=0)
            axes.add_patch(box)
            axes.text(x + 0.48, y, token.strip().strip("▁")[:12], fontsize=5.2, ha="center", va="center")
    axes.set_xlim(-2, _TOKENS_PER_LINE)
    axes.set_ylim(-lines_per_layer * len(layers) + 0.5, 1)
    axes.axis("off")
    return figure


# Name -> (the table it needs besides the record, caption, drawing function), in the order of the report
_FIGURES: dict[str, tuple[ProbeTable | None, str, Callable[[Run], Figure]]] = {
    "load_over_training": (None, "Load of every expert over training.", load_over_training),
    "use_by_role": (tables.EXPERT_USE, "Experts used by each kind of token.", use_by_role),
    "use_by_attribute": (
        tables.EXPERT_USE, "Experts used by the value tokens of each attribute.", use_by_attribute
    ),
    "information": (
        tables.INFORMATION,
        "What the choice of experts says about a token's attribute and individual beyond its token id, and about the "
        "id: mutual information over the entropy of the experts, trained and untrained. Only what exceeds the marks "
        "(labels permuted, among tokens of the same id where it is given) is more than chance.",
        information,
    ),
    "saturation": (
        tables.SATURATION, "Router saturation: share of the final choice of experts that was already made.", saturation
    ),
    "coactivation": (
        tables.COACTIVATION, "Co-activation: share of one expert's tokens that also use another.", coactivation
    ),
    "ablation": (tables.ABLATION, "Change of the attribute loss when one expert is left out.", ablation),
    "colored_biography": (
        tables.BIOGRAPHY, "A biography, with each token on the colour of its first-choice expert.", colored_biography
    ),
}  # fmt: skip


def routing_figures(run: Run) -> dict[str, tuple[str, Callable[[Run], Figure]]]:
    """Name -> (caption, drawing function) of every figure whose table ``run`` has; none before the routing probe."""
    if not any(table.path(run.path).exists() for table in tables.ROUTING):
        return {}
    return {
        name: (caption, draw)
        for name, (table, caption, draw) in _FIGURES.items()
        if table is None or table.path(run.path).exists()
    }
