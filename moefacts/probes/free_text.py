"""Text that anybody typed, as the token ids that a model was trained on."""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, cast

from moefacts.errors import UserError
from moefacts.synthetic_data.tokenizer import Tokenizer


def text_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of ``text`` after the begin token, with the spaces that the texts of training have.

    Raises:
        UserError: a word is not in the vocabulary.
    """
    encoding = _backend(cast(Hashable, tokenizer)).encode(text)
    ids: list[int] = encoding.ids
    for index, (start, stop) in zip(ids, encoding.offsets, strict=True):
        if index == tokenizer.unknown_id:
            raise UserError(f"'{text[start:stop].strip()}' is a word that is not in this run's vocabulary")
    return ids


@lru_cache(maxsize=4)
def _backend(tokenizer: Any) -> Any:
    return tokenizer.as_backend()
