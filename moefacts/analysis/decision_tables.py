"""The measures of decisions over the seeds of a group, in words and as tables."""

from moefacts.analysis.decisions import DECISION_MEANINGS, main_mixture, main_unseen
from moefacts.analysis.groups import Group
from moefacts.analysis.summary import decision_summary, estimate, in_sentence, share_in_sentence
from moefacts.runs.tables import ROUTER_DETECTION

ROUTER_HEADER = ["people not shown", "layer", "tokens", "signal", "AUROC", "permuted labels", "AUROC of confidence"]
ROUTER_CAPTION = (
    "Whether routers know who was not shown. Router entropy: the AUROC is the probability that it is higher for "
    "somebody who was not shown; below 0.5 it is lower for them. Choice of experts: that of a logistic regression on "
    "which experts are used, for people whom it was not fitted to. Permuted labels leave only chance. Confidence "
    "is that of the answers."
)
_SIGNS = {"entropy": "router entropy", "experts": "choice of experts"}
_TOKENS = {"name_end": "end of the name", "before_value": "before the value"}


def decision_sentence(group: Group) -> str:
    """What the decisions of a group come to; empty if it has not been probed or has not asked about strangers."""
    summary, run = decision_summary(group), group.runs[0]
    mixture, unseen = main_mixture(run.shown_cohort, run.unseen_cohorts), main_unseen(run.unseen_cohorts)
    if mixture not in summary or unseen is None:
        return ""
    both, strangers = summary[mixture], summary[unseen]
    answered, area, excess, regret = (
        share_in_sentence(one.mean) if key == "coverage_at_10_risk" else in_sentence(one.mean)
        for one, key in (
            *((both[key], key) for key in ("coverage_at_10_risk", "aurc", "excess_aurc")),
            (strangers["regret"], "regret"),
        )
        if one is not None
    )
    return (
        f"If at most 10% of its answers may be wrong, the model can answer {answered} of questions, half of them "
        f"about {run.shown_cohort} and half about {unseen} people (area under the risk–coverage curve {area}, "
        f"{excess} of it because some wrong answers are surer than right ones); about {unseen} people its loss is "
        f"{regret} nats above that of the ideal answer, by which all values are equally likely."
    )


def decision_table(groups: list[Group]) -> tuple[list[str], list[tuple[str, list[str], str]]]:
    """The header (one entry per group and cohort), and rows of measure, cells and meaning; both may be empty."""
    summaries = [decision_summary(group) for group in groups]
    columns = [(number, name) for number, summary in enumerate(summaries) for name in summary]
    header = [f"{groups[number].label}: {name}" if len(groups) > 1 else name for number, name in columns]
    if not header:
        return [], []
    rows = []
    for key, meaning in DECISION_MEANINGS.items():
        found = [summaries[number][name][key] for number, name in columns]
        rows.append((key, ["–" if one is None else one.text() for one in found], meaning))
    return header, rows


def router_rows(groups: list[Group]) -> list[list[str]]:
    """The rows below ``ROUTER_HEADER`` of groups of mixtures, each headed by its group if there are several."""
    rows = []
    for group in groups:
        summary = decision_summary(group)
        probed = [table for run in group.runs if (table := run.probed(ROUTER_DETECTION)) is not None]
        indexed = [one.set_index(list(ROUTER_DETECTION.key))[["auroc", "control"]] for one in probed]
        for place in dict.fromkeys(place for one in indexed for place in one.index):
            auroc, control = (
                estimate([float(one.loc[place, name]) for one in indexed if place in one.index])
                for name in ("auroc", "control")
            )
            assert auroc is not None
            assert control is not None
            beside = summary.get(place[0], {}).get("auroc")
            rows.append(
                ([group.label] if len(groups) > 1 else [])
                + [place[0], str(place[1]), _TOKENS[place[2]], _SIGNS[place[3]], auroc.text(), control.text()]
                + ["–" if beside is None else beside.text()]
            )
    return rows
