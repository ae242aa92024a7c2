import pytest

from moefacts.experiments.engine.verdict import CANNOT_TELL, DOES_NOT_HOLD, HOLDS, above, below, within


@pytest.mark.parametrize(
    ("interval", "answer"),
    [((0.72, 0.9), HOLDS), ((0.6, 0.9), CANNOT_TELL), ((0.8, 1.2), CANNOT_TELL), ((0.5, 0.69), DOES_NOT_HOLD),
     ((0.92, 1.2), DOES_NOT_HOLD), ((0.1, 2.0), CANNOT_TELL), (None, CANNOT_TELL)],
)  # fmt: skip
def test_an_interval_decides_only_when_it_lies_on_one_side(interval, answer):
    assert within(0.8, interval, 0.7, 0.91).answer == answer


def test_above_and_below_mirror_each_other():
    for interval in ((-2.0, -1.0), (-1.0, 1.0), (1.0, 2.0)):
        mirrored = (-interval[1], -interval[0])
        assert above(0.0, interval, 0.0).answer == below(0.0, mirrored, 0.0).answer
    assert above(0.0, (0.0, 0.0), 0.0).answer == below(0.0, (0.0, 0.0), 0.0).answer == CANNOT_TELL
    assert above(1.5, (1.0, 2.0), 0.0).answer == HOLDS
    assert above(-1.5, (-2.0, -1.0), 0.0).answer == DOES_NOT_HOLD


def test_the_number_and_its_interval_stand_in_the_text():
    verdict = within(0.8123, (0.71, 0.9), 0.7, 0.91)
    assert (verdict.here, verdict.value, verdict.interval) == ("0.812 [0.71, 0.9]", 0.8123, (0.71, 0.9))
