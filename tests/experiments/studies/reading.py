"""What tables and figures show, as plain values."""

import matplotlib.pyplot as plt


def cells(table):
    """Row by row, column -> cell, of a table that says what it shows and what to bear in mind."""
    assert table.title
    assert table.note
    assert {len(row) for row in table.rows} == {len(table.columns)}
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def drawn(figure):
    """Everything drawn as lines and dots: y label of the panel -> their y values."""
    values = {axes.get_ylabel(): [list(line.get_ydata()) for line in axes.get_lines()] for axes in figure.axes}
    plt.close(figure)
    return values
