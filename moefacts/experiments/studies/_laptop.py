"""Training settings of the studies at laptop scale.

With about a thousand people and the study's batches of 128 biographies, the plateau merges into the first phase. With
batches of 32 it is distinct and ends after fewer biographies. The learning rate is chosen as in the study: it is the
best of four by final training loss, here at 2,048 people and a weight decay of 0.1. LOG.md (2026-11-24 and 25) has the
commands for both choices.
"""

BATCH = 32
LEARNING_RATES = ("1.5e-3", "3e-3", "6e-3", "1.2e-2")
LEARNING_RATE = "3e-3"
SETTINGS = (f"training.batch_size={BATCH}", f"training.learning_rate={LEARNING_RATE}")
# The populations of plateau-law span a wider range than those of other studies. Over this range two quantities would
# leave the study's range with the usual settings. A bend in the law showed that this matters (LOG.md). The values below
# follow from the study's numbers:
# - A single name says more about a value the fewer people share it, per value: N / (names x values). In the study this
#   is at most 256,000 / (900 x 364) = 0.78, where 364 is the geometric mean over the five attributes of one token. With
#   8,192 people and 64 values it is 0.64 for 200 names, and 1.28 for the laptop scale's 100. 16,384 people (1.28 for
#   200 names) are beyond the study's range.
# - AdamW forgets within 1 / (learning rate x weight decay) steps (arXiv 2405.13698). In the study this is 25,000
#   steps, more than twice its longest plateau. With a weight decay of 0.1 it would be 3,333 here, fewer than the
#   longest plateau. So the fixed rate keeps the study's product of rate and decay. The sweep of rates varies the
#   product, as the study's sweep does.
_STUDY_RATE, _STUDY_DECAY = 4e-4, 0.1
LAW_SETTINGS = (
    f"training.batch_size={BATCH}",
    f"training.weight_decay={_STUDY_RATE * _STUDY_DECAY / float(LEARNING_RATE):.5f}",
    *(f"population.pools.{which}_names=200" for which in ("first", "middle", "last")),
)
