"""Make the packing that models take from a batch."""

from moefacts.models.packing import Packing
from moefacts.synthetic_data.batches import Batch


def pack(batch: Batch) -> Packing:
    """The packing that keeps the inputs of ``batch`` whose target is not padding."""
    return Packing(batch.length_B - 1, batch.inputs_BT.shape[1], batch.token_BT.device)
