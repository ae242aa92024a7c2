"""What a model writes after a text."""

from collections.abc import Callable

import torch
from torch import Tensor

from moefacts.models.transformer import Transformer
from moefacts.probes.free_text import text_ids
from moefacts.synthetic_data.batches import Batcher
from moefacts.training.next_token import next_token_logits


@torch.no_grad()
def continue_text(
    model: Transformer, batcher: Batcher, text: str, most_tokens: int, temperature: float = 0.0, seed: int = 0
) -> str:
    """What the model writes after ``text``, until it ends the biography or has written ``most_tokens`` tokens.

    Args:
        model: the model, which is put into evaluation mode.
        batcher: its population, tokenizer and device.
        text: the beginning; the begin token comes before it.
        most_tokens: the largest number of tokens.
        temperature: that of the softmax from which tokens are drawn; 0 takes the likeliest one.
        seed: of the draws.

    Returns:
        The continuation alone, which begins with a space where a word follows.

    Raises:
        UserError: a word of ``text`` is not in the vocabulary.
    """
    model.eval()
    prompt, written = text_ids(batcher.tokenizer, text), list[int]()
    choose = _chooser(temperature, seed)
    while len(written) < most_tokens:
        logits_1V = next_token_logits(lambda *a: model(*a).logits, [[*prompt, *written]], batcher.device)
        token = choose(logits_1V[0].float().cpu())
        if token == batcher.tokenizer.end_id:
            break
        written.append(token)
    return batcher.tokenizer.decode(written)


def _chooser(temperature: float, seed: int) -> Callable[[Tensor], int]:
    if temperature == 0:
        return lambda logits_V: int(logits_V.argmax())
    generator = torch.Generator().manual_seed(seed)
    return lambda logits_V: int(torch.multinomial((logits_V / temperature).softmax(dim=-1), 1, generator=generator))
