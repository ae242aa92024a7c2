"""Next-token logits after prompts of different lengths, and the tokens that a value can go on with.

Shape legend: N prompts, B batch, T position, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from moefacts.models.packing import Packing

# Token ids (B, T), their packing, and N indices of real tokens in the flattened B * T -> next-token logits (N, V)
Logits = Callable[[Tensor, Packing, Tensor], Tensor]


def next_token_logits(logits: Logits, prompts: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """The logits of the token after every prompt, shape (N, V); padding reaches neither attention nor routers."""
    width = max(map(len, prompts))
    token_BT = torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt in prompts], device=device)
    at_N = torch.tensor([row * width + len(prompt) - 1 for row, prompt in enumerate(prompts)], device=device)
    return logits(token_BT, Packing([len(prompt) for prompt in prompts], width, device), at_N)


def continuations(values: Iterable[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    """The beginnings of values, the empty one included -> the tokens that come next in some value, ascending."""
    found: dict[tuple[int, ...], set[int]] = {}
    for ids in values:
        for length, token in enumerate(ids):
            found.setdefault(tuple(ids[:length]), set()).add(token)
    return {beginning: sorted(tokens) for beginning, tokens in found.items()}
