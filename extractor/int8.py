"""Layers of a transformer in 8-bit integers: some 60 % of the time of bfloat16, 30 % of 32 bits.

Weights have a scale a row, activations one a column, found once on sample texts (`find_ranges`) and
kept: so a vector does not depend on what it is computed together with, as it would if scales were
taken from each batch. Matrix products, bias and GELU run fused in oneDNN, with AVX512-VNNI or AMX;
attention and normalisation stay in 32 bits. Static quantisation after training (Jacob et al., CVPR
2018), with the scales of columns moved into the weights (SmoothQuant, Xiao et al., ICML 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from extractor.weights import below

Ranges = Mapping[str, Tensor]
"""Least and greatest value in each column of each matrix that is rounded, shape (2, columns), by
the name of the matrix: "0.input"."""

INPUTS = ("input", "context", "middle", "units")
"""Matrices of a layer that are rounded: what goes into attention, what comes out of it, what goes
into the units, and what comes out of those."""


def _capabilities() -> dict[str, Any]:
    """What the processor can do; empty where PyTorch does not tell."""
    tell = getattr(torch.cpu, "get_capabilities", dict)
    found: dict[str, Any] = tell()
    return found


def has_bfloat16() -> bool:
    """Whether the processor is fast at bfloat16."""
    able = _capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@cache
def is_able() -> bool:
    """Whether the processor is fast at 8-bit integers and PyTorch has the operators for it."""
    able = _capabilities()
    if not (able.get("avx512_vnni") or able.get("amx_int8") or able.get("avx_vnni")):
        return False
    try:  # they are none of PyTorch's public interface
        rounding = Rounding.of(torch.tensor([[-1.0], [1.0]]))
        Linear(torch.ones(1, 1), torch.zeros(1), rounding)(rounding.writer()(torch.ones(1, 1)))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


class Rounding(NamedTuple):
    """How a matrix is written in bytes: value / (scale * columns) + zero.

    Attributes:
        scale: Step between two bytes.
        zero: The byte that stands for 0.
        columns: Factor of each column, shape (columns,).
    """

    scale: float
    zero: int
    columns: Tensor

    @classmethod
    def of(cls, bounds: Tensor, weight: Tensor | None = None) -> Rounding:
        """Rounding of values between bounds; what lies beyond is cut off.

        Args:
            bounds: Least and greatest value of each column, shape (2, columns).
            weight: Of the linear layer that takes the matrix, shape (out, columns): columns with
                large values are divided, their weights multiplied. None: all columns alike.
        """
        columns = torch.ones(bounds.shape[1])
        if weight is not None:
            large = bounds.abs().amax(dim=0).clamp(min=1e-4)
            columns = (large / weight.abs().amax(dim=0).clamp(min=1e-4)).sqrt()
        low = min(float((bounds[0] / columns).min()), 0.0)
        high = max(float((bounds[1] / columns).max()), 1e-6)
        scale = (high - low) / 255
        return cls(scale, round(-low / scale), columns)

    def writer(self) -> Callable[[Tensor], Tensor]:
        """A function that writes values as bytes."""
        steps, zero = 1 / (self.scale * self.columns), torch.tensor(float(self.zero))
        return lambda values: (
            torch.addcmul(zero, values, steps).round_().clamp_(0, 255).to(torch.uint8)
        )


class Linear:
    """A linear layer in bytes.

    Args:
        weight: Shape (out, in).
        bias: Shape (out,).
        taken: Rounding of its input.
        given: Rounding of its output, without factors of columns; None leaves it in 32 bits.
        gelu: Whether GELU follows.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        taken: Rounding,
        given: Rounding | None = None,
        *,
        gelu: bool = False,
    ) -> None:
        weight = weight * taken.columns
        self._scales = weight.abs().amax(dim=1).clamp(min=1e-8) / 127
        rounded = (weight / self._scales[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = bias
        self._taken = (taken.scale, taken.zero)
        scale, zero = (given.scale, given.zero) if given else (1.0, 0)
        kind = torch.uint8 if given else torch.float32
        self._output: tuple[Any, ...] = (
            scale,
            zero,
            kind,
            "gelu" if gelu else "none",
            [],
            "none" if gelu else "",
        )

    def __call__(self, values: Tensor) -> Tensor:
        """Apply it to bytes of shape (rows, in)."""
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            values, *self._taken, self._weight, self._scales, self._zeros, self._bias, *self._output
        )
        return found


class Int8Layers:
    """The layers of a BERT encoder in bytes.

    Args:
        weights: Weights of the layers in 32 bits, named as in `BertModel.encoder.layer`:
            "0.attention.self.query.weight" and so on.
        ranges: What `find_ranges` gave for them.
        heads: Attention heads of a layer.

    Attributes:
        count: Number of layers.
        width: Numbers of a state.
    """

    def __init__(self, weights: Mapping[str, Tensor], ranges: Ranges, heads: int) -> None:
        self.count = len(ranges) // len(INPUTS)
        self._layers = [
            Int8Layer(below(weights, f"{number}."), below(ranges, f"{number}."), heads)
            for number in range(self.count)
        ]
        self.width = len(weights["0.output.dense.bias"])

    def __call__(self, states: Tensor, is_piece: Tensor) -> Tensor:
        """Run the layers.

        Args:
            states: Shape (texts, pieces, width), float32.
            is_piece: Which pieces are no padding, shape (texts, pieces).

        Returns:
            The states behind the last layer.
        """
        mask = is_piece[:, None, None, :] if not bool(is_piece.all()) else None
        texts, pieces, width = states.shape
        count = texts * pieces
        rows = states.new_zeros(_rounded(count), width)
        rows[:count] = states.view(count, width)
        for layer in self._layers:
            rows = layer(rows, texts, pieces, mask)
        return rows[:count].view(texts, pieces, width)


def _rounded(count: int) -> int:
    """Rows that are computed for so many: few different numbers, since oneDNN compiles for each."""
    step = 512
    while step > 32 and count <= step // 2:
        step //= 2
    return -(-count // step) * step


class Int8Layer:
    """One layer of a BERT encoder in bytes; see `Int8Layers`."""

    def __init__(self, weights: Mapping[str, Tensor], ranges: Ranges, heads: int) -> None:
        def both(name: str) -> tuple[Tensor, Tensor]:
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            # Small ones are kept as they are; a copy does not hold on to the file they come from.
            return weight.clone() if weight.dim() == 1 else weight, bias.clone()

        self._heads = heads
        parts = [both(f"attention.self.{name}") for name in ("query", "key", "value")]
        asked = torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])
        joined, units = both("attention.output.dense"), both("intermediate.dense")
        rounding = {
            "input": Rounding.of(ranges["input"], asked[0]),
            "context": Rounding.of(ranges["context"], joined[0]),
            "middle": Rounding.of(ranges["middle"], units[0]),
            "units": Rounding.of(ranges["units"]),  # written by the layer before, all columns alike
        }
        self._write = {name: rounding[name].writer() for name in INPUTS[:3]}
        self._asked = Linear(*asked, rounding["input"])
        self._joined = Linear(*joined, rounding["context"])
        self._units = Linear(*units, rounding["middle"], rounding["units"], gelu=True)
        self._output = Linear(*both("output.dense"), rounding["units"])
        self._norms = (both("attention.output.LayerNorm"), both("output.LayerNorm"))

    def __call__(self, rows: Tensor, texts: int, pieces: int, mask: Tensor | None) -> Tensor:
        """Run the layer.

        Args:
            rows: States of the pieces of all texts, and further rows that nobody looks at, shape
                (at least texts times pieces, width).
            texts: Number of texts.
            pieces: Number of pieces of each text.
            mask: Which pieces are no padding, shape (texts, 1, 1, pieces).
        """
        count = texts * pieces
        asked = self._asked(self._write["input"](rows))[:count]
        query, key, value = asked.view(texts, pieces, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        context = torch.zeros_like(rows)
        context[:count].view(texts, pieces, self._heads, -1).copy_(found.transpose(1, 2))
        joined = self._joined(self._write["context"](context))
        middle = normalise(joined.add_(rows), *self._norms[0])
        units = self._units(self._write["middle"](middle))
        return normalise(self._output(units).add_(middle), *self._norms[1])


def normalise(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation as BERT has it; states of shape (…, width)."""
    return functional.layer_norm(states, (states.shape[-1],), weight, bias, eps=1e-12)


def find_ranges(layers: Sequence[Any], run: Callable[[], object]) -> dict[str, Tensor]:
    """Find the ranges of the matrices that are rounded.

    Args:
        layers: The layers in 32 bits, `BertModel.encoder.layer`.
        run: Runs them over sample texts.

    Returns:
        Ranges as `Int8Layers` takes them.
    """
    found: dict[str, Tensor] = {}

    def widen(name: str, values: Tensor) -> None:
        flat = values.reshape(-1, values.shape[-1]).float()
        low, high = flat.amin(dim=0), flat.amax(dim=0)
        if name in found:
            low, high = torch.minimum(low, found[name][0]), torch.maximum(high, found[name][1])
        found[name] = torch.stack([low, high])

    hooks = []
    for number, layer in enumerate(layers):
        parts = (
            layer.attention.self.query,
            layer.attention.output.dense,
            layer.intermediate.dense,
            layer.output.dense,
        )
        for name, part in zip(INPUTS, parts, strict=True):
            hooks.append(
                part.register_forward_pre_hook(
                    lambda _, given, name=f"{number}.{name}": widen(name, given[0])
                )
            )
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found
