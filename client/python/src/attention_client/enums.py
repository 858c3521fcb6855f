"""Enums of the contract as the lower-case words a caller writes."""

from __future__ import annotations

from typing import Any, Literal

from attention_client import attention_pb2 as pb

Alignment = Literal["top_left", "bottom_right"]
Layout = Literal["in_out", "out_in"]
Stage = Literal["scores", "softcapped", "biased", "attention_weights"]
Heads = Literal["per_head", "mean"]
Distribution = Literal["uniform", "linear", "xavier_uniform"]


class Words:
    """The words of one enum; UNSPECIFIED has none."""

    def __init__(self, enum: Any, prefix: str) -> None:
        self._numbers = {
            name.removeprefix(prefix).lower(): number
            for name, number in enum.items() if number != 0
        }
        self._words = {number: word for word, number in self._numbers.items()}

    def number(self, word: str, field: str) -> Any:
        """ValueError, naming `field`, if there is no such word."""
        try:
            return self._numbers[word]
        except (KeyError, TypeError):
            expected = ", ".join(map(repr, self._numbers))
            raise ValueError(
                f"{field} is {word!r}; expected one of {expected}") from None

    def word(self, number: int) -> Any:
        return self._words[number]


ALIGNMENT = Words(pb.Alignment, "ALIGNMENT_")
LAYOUT = Words(pb.Layout, "LAYOUT_")
STAGE = Words(pb.AttentionMatrixOptions.Stage, "STAGE_")
HEADS = Words(pb.AttentionMatrixOptions.Heads, "HEADS_")
DISTRIBUTION = Words(pb.Initializer.Distribution, "DISTRIBUTION_")
