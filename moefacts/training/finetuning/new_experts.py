"""New experts: what is new is learned by experts that the model did not have before."""

from torch import nn

from moefacts.training.method import Method


class NewExperts(Method):
    """Only the ``model.moe.num_added`` experts that join every mixture learn, and the scores of their gates.

    Their output starts at zero and their gates nearly closed, so the model starts as it was (``moe.AddedExperts``).
    """

    def learns(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether it belongs to an added expert or its gate."""
        return ".added." in name
