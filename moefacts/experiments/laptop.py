"""The batch and the learning rate of the laptop's studies of how long learning takes.

A laptop has a sixtieth of the study's people. With the study's 128 biographies a batch holds a fourth of them, and the
plateau melts into the first phase, which takes so many steps whatever the batch. With 32 it stands apart, and ends
after fewer biographies. The rate is the best of four by final training loss, which is the study's way to choose it
(LOG.md, 2026-11-24, has both with their commands).
"""

BATCH = 32
LEARNING_RATES = ("1.5e-3", "3e-3", "6e-3", "1.2e-2")
LEARNING_RATE = "3e-3"
SETTINGS = (f"training.batch_size={BATCH}", f"training.learning_rate={LEARNING_RATE}")
