"""Tokenizers: a closed word vocabulary, or the 32,000-piece SentencePiece model.

Every piece of a biography is tokenised by itself, and words include the space before them. So joining the tokens of
the pieces joins their text.

An exported tokenizer takes plain text instead, as people type it: see ``_for_plain_text``.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from moefacts.errors import UserError, check_choice
from moefacts.synthetic_data.pools import ATTRIBUTES, Pools
from moefacts.synthetic_data.templates import Templates

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

TOKENIZERS = ("word", "sentencepiece_32k")
PADDING, BEGIN, END, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
# A word with the space before it, a possessive 's, or one punctuation mark
_WORD_PATTERN = r"'s(?![^\s.,])|[.,]|\s?(?:(?!'s(?:[\s.,]|$))[^\s.,])+|\s"


class Tokenizer(Protocol):
    """The interface of a tokenizer."""

    vocab_size: int
    begin_id: int
    end_id: int
    padding_id: int
    unknown_id: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of every text by itself, without begin and end tokens."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the tokens, without begin, end and padding."""

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens as readable strings."""

    def as_backend(self) -> "Backend":
        """A tokenizer of the library ``tokenizers`` that gives plain text these ids, after the begin token."""


class WordTokenizer:
    """One token per word; the vocabulary is the words of pools and templates. ``decode`` inverts ``encode`` exactly."""

    def __init__(self, vocabulary: Iterable[str]):
        from tokenizers import Regex, decoders, models, pre_tokenizers
        from tokenizers import Tokenizer as Backend

        special = [PADDING, BEGIN, END, UNKNOWN]
        words = {word: index for index, word in enumerate([*special, *sorted(set(vocabulary) - set(special))])}
        self.backend = Backend(models.WordLevel(words, unk_token=UNKNOWN))
        self.backend.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD_PATTERN), behavior="isolated")
        self.backend.decoder = decoders.Fuse()
        self.backend.add_special_tokens(special)
        self.vocab_size = len(words)
        self.padding_id, self.begin_id, self.end_id, self.unknown_id = range(4)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "WordTokenizer":
        """The tokenizer whose vocabulary is exactly the words of ``texts``."""
        from tokenizers import Regex, pre_tokenizers

        split = pre_tokenizers.Split(Regex(_WORD_PATTERN), behavior="isolated")
        return cls(word for text in texts for word, _ in split.pre_tokenize_str(text))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of every text. Raises ``UserError`` when a word is not in the vocabulary."""
        encoded = [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]
        for text, ids in zip(texts, encoded, strict=True):
            if self.unknown_id in ids:
                raise UserError(f"'{text.strip()}' contains a word that is not in this run's vocabulary")
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.backend.id_to_token(int(index)) or UNKNOWN for index in ids]

    def as_backend(self) -> "Backend":
        from tokenizers import Tokenizer as Backend

        return _for_plain_text(Backend.from_str(self.backend.to_str()), BEGIN)


class SentencePieceTokenizer:
    """The 32,000-piece model that the package ``mistral-common`` ships (Apache-2.0); padding is its ``<unk>``."""

    def __init__(self) -> None:
        from importlib import resources

        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
        model.ParseFromString(resources.files("mistral_common").joinpath("data", "tokenizer.model.v1").read_bytes())
        # Pieces have their own leading space, so none must be added before "." or "'s".
        model.normalizer_spec.add_dummy_prefix = False
        self.backend = SentencePieceProcessor(model_proto=model.SerializeToString())
        self.vocab_size = self.backend.vocab_size()
        self.padding_id = self.unknown_id = self.backend.unk_id()
        self.begin_id, self.end_id = self.backend.bos_id(), self.backend.eos_id()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self.backend.encode(list(texts))

    def decode(self, ids: Sequence[int]) -> str:
        special = (self.padding_id, self.begin_id, self.end_id)
        return self.backend.decode([int(index) for index in ids if index not in special])

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.backend.id_to_piece(int(index)) for index in ids]

    def as_backend(self) -> "Backend":
        from tokenizers import AddedToken, Regex, decoders, models, normalizers
        from tokenizers import Tokenizer as Backend

        pieces = [self.backend.id_to_piece(index) for index in range(self.vocab_size)]
        rank = {piece: index for index, piece in enumerate(pieces)}
        merges = [
            (self.backend.get_score(index), rank[piece[:cut]], rank[piece[cut:]], piece[:cut], piece[cut:])
            for index, piece in enumerate(pieces)
            for cut in range(1, len(piece))
            if piece[:cut] in rank and piece[cut:] in rank
        ]
        merges.sort(key=lambda merge: (-merge[0], merge[1], merge[2]))  # SentencePiece joins the best score first
        pairs = [(left, right) for *_, left, right in merges]
        options = {"fuse_unk": True, "byte_fallback": True, "ignore_merges": True}  # no merges lead to a special token
        backend = Backend(models.BPE(rank, pairs, unk_token=pieces[0], **options))
        backend.normalizer = normalizers.Replace(Regex(" "), "▁")
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special = [AddedToken(pieces[index], normalized=False, special=True) for index in range(3)]
        backend.add_special_tokens(special)
        return _for_plain_text(backend, pieces[self.begin_id])


def _for_plain_text(backend: "Backend", begin: str) -> "Backend":
    """Let ``backend`` take text as people type it, and put ``begin`` before it, once, whether it was typed or not.

    Our texts have one space before every word, even the first, and none at the end, so a missing space is added, and
    white space that is too much is dropped. Accents are composed, as in the pools. What is decoded keeps the space
    before its first word, because the decoder cannot tell a text from the continuation of one.

    Special tokens must not be looked for before all this (``encode_special_tokens``, which is not stored, and is
    ``split_special_tokens`` of transformers), or a begin token that was typed stays. The others are found afterwards.
    """
    from tokenizers import Regex, normalizers, pre_tokenizers, processors

    special = [token.content for token in backend.get_added_tokens_decoder().values()]  # no character is an operator
    anything = "|".join(special)
    no_space = rf"[.,]|'s(?:[ .,]|$|{anything})"  # what follows a word without a space
    as_ours = [
        normalizers.Replace(Regex(rf"\A(?:\s*{begin})+"), ""),
        normalizers.NFC(),
        normalizers.Strip(left=False, right=True),
        normalizers.Prepend(" "),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Replace(Regex(rf"^ (?={no_space})"), ""),
    ]
    for token in special:  # what is between two is a text, too
        as_ours += [
            normalizers.Replace(Regex(rf" ?{token} ?(?=$|{anything}|{no_space})"), token),
            normalizers.Replace(Regex(rf" ?{token} ?(?! |$|{anything}|{no_space})"), f"{token} "),
        ]
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([*as_ours, *own])
    parts = [] if backend.pre_tokenizer is None else [backend.pre_tokenizer]
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(anything), "isolated"), *parts])
    backend.encode_special_tokens = True
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin}:1 $B:1", special_tokens=[(begin, backend.token_to_id(begin))]
    )
    return backend


def build_tokenizer(name: str, pools: Pools, templates: Templates, abstentions: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer ``name``, one of ``TOKENIZERS``, for the text that ``pools`` and ``templates`` can produce.

    ``abstentions`` are single words that can stand in the place of a value, too. In the closed vocabulary each becomes
    a token; the other tokenizer writes them with the pieces that it has.
    """
    check_choice("tokenizer", name, TOKENIZERS)
    return _build_sentencepiece() if name == "sentencepiece_32k" else _build_word(pools, templates, abstentions)


@lru_cache(maxsize=1)
def _build_sentencepiece() -> SentencePieceTokenizer:
    return SentencePieceTokenizer()


def _build_word(pools: Pools, templates: Templates, abstentions: Sequence[str]) -> WordTokenizer:
    entries = [*pools.first_names, *pools.middle_names, *pools.last_names, *abstentions]
    entries += [value for attribute in ATTRIBUTES for value in pools.values(attribute)]
    fixed = [part for group in templates.values() for t in group for part in (t.prefix, t.middle, t.suffix)]
    return WordTokenizer.from_texts([*(f" {entry}" for entry in entries), *fixed])
