"""From a batch to the packing that models take."""

from moefacts.models.packing import Packing
from moefacts.synthetic_data.batches import Batch


def pack(batch: Batch) -> Packing:
    """The inputs of ``batch`` whose target is a token and not padding."""
    return Packing(batch.length_B - 1, batch.inputs_BT.shape[1], batch.token_BT.device)
