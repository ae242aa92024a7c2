"""What figures over sizes show of several seeds."""

import matplotlib.pyplot as plt
import pytest

from moefacts.analysis.comparison_figures import Series, compare_over
from moefacts.analysis.summary import estimate


def test_intervals_are_drawn_from_three_seeds_up_and_fewer_are_dots_alone():
    values = {100: [172.0, 188.0], 200: [300.0], 400: [400.0, 410.0, 430.0]}
    figure = compare_over({"": {"plateau end": [Series("dense", values)]}})
    (axes,) = figure.axes
    bars = [segment[:, 1] for segment in axes.collections[0].get_segments() if len(segment)]
    dots = [sorted(line.get_ydata()) for line in axes.get_lines() if line.get_marker() == "."]
    plt.close(figure)
    of_three = estimate(values[400])
    assert [high - low for low, high in bars] == pytest.approx([of_three.high - of_three.low])
    assert dots == [values[size] for size in (100, 200, 400)]
