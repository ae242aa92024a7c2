"""The batch and the learning rate of the laptop's studies of how long learning takes.

With about a thousand people and the study's 128 biographies a batch, the plateau melts into the first phase; with 32 it
stands apart, and ends after fewer biographies. The rate is the best of four by final training loss, which is the
study's way to choose it (LOG.md, 2026-11-24, has both with their commands). ``plateau-law`` keeps the study's 128.
"""

BATCH = 32
LEARNING_RATES = ("1.5e-3", "3e-3", "6e-3", "1.2e-2")
LEARNING_RATE = "3e-3"
SETTINGS = (f"training.batch_size={BATCH}", f"training.learning_rate={LEARNING_RATE}")
