"""Units that claims of several studies have."""

from moefacts.analysis.unit import NUMBER, POINTS, RATIO, Unit

RATIOS = Unit(RATIO, "")  # in a column that says of what
PLATEAU_RATIO = Unit(RATIO, "the steps until the plateau ends")
LEARNING_RATIO = Unit(RATIO, "the steps that learning it took")
LOSS_NATS = Unit(NUMBER, "nats of attribute loss")
UNSEEN_BASELINES = Unit(NUMBER, "baselines of loss on unseen people")
ACCURACY_POINTS = Unit(POINTS, "of accuracy")
KEPT_POINTS = Unit(POINTS, "of old accuracy kept")
