"""Training settings of the studies at laptop scale.

With about a thousand people and the study's batches of 128 biographies, the plateau melts into the first phase. With
batches of 32 it stands apart and ends after fewer biographies. The learning rate is the best of four by final training
loss, at 2,048 people and a weight decay of 0.1, which is how the study chooses it. LOG.md (2026-11-24 and 25) has both
with their commands.
"""

BATCH = 32
LEARNING_RATES = ("1.5e-3", "3e-3", "6e-3", "1.2e-2")
LEARNING_RATE = "3e-3"
SETTINGS = (f"training.batch_size={BATCH}", f"training.learning_rate={LEARNING_RATE}")
# The populations of plateau-law span a wider range than those of other studies. Two quantities of the study would not
# keep their size over it. The values below follow from the study's numbers; that they matter was noticed because the
# law bent (LOG.md):
# - How much a single name says about a value depends on the number of people who share it, per value:
#   N / (names x values). In the study this is at most 256,000 / (900 x 364) = 0.78, with the geometric mean over the
#   five attributes of one token. With 8,192 people and 64 values it is 0.64 for 200 names, and 1.28 for the laptop
#   scale's 100. 16,384 people (1.28 for 200 names) are beyond the study's range.
# - AdamW forgets within 1 / (learning rate x weight decay) steps (arXiv 2405.13698). In the study these are 25,000
#   steps, more than twice its longest plateau. A weight decay of 0.1 would make them 3,333 here, fewer than the longest
#   plateau. So the study's product of rate and decay is kept at the fixed rate; the sweep of rates varies it as the
#   study's does.
_STUDY_RATE, _STUDY_DECAY = 4e-4, 0.1
LAW_SETTINGS = (
    f"training.batch_size={BATCH}",
    f"training.weight_decay={_STUDY_RATE * _STUDY_DECAY / float(LEARNING_RATE):.5f}",
    *(f"population.pools.{which}_names=200" for which in ("first", "middle", "last")),
)
