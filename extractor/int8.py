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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from extractor.interfaces import Vectors
from extractor.weights import below, rounded

Ranges = Mapping[str, Tensor]
"""Least and greatest value in each column of each matrix that is rounded, shape (2, columns), by
the name of the matrix: "0.input"."""

INPUTS = ("input", "context", "middle", "units")
"""Matrices of a layer that are rounded: what goes into attention, what comes out of it, what goes
into the units, and what comes out of those."""
HEADS = ("roles", "first", "last")
"""Parts of the span finder's heads that take the same matrix."""
AROUND = 5
"""Word pieces that a convolution looks at."""
SEARCHED = 32
"""Vectors that are searched at once: their products with 15,000 others fit a core's cache."""
STRIPES = 16
"""Products are first looked through this many at once: the best lie where the best of those do."""


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
        torch._int_mm(*torch.ones(2, 1, 1, dtype=torch.int8))
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

        def write(values: Tensor) -> Tensor:
            whole = torch.addcmul(zero, values, steps).round_().clamp_(0, 255)
            # In two steps, since that from 32-bit numbers to bytes is not vectorised.
            return whole.to(torch.int32).to(torch.uint8)

        return write


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


class Search:
    """Finds the rows of a table with the largest inner products, in half the time of 32 bits.

    Of the 25 concepts nearest to a sentence it finds .99, and all of the five nearest
    (docs/performance.md).

    Args:
        table: Vectors of like length, shape (rows, width).
    """

    def __init__(self, table: Tensor) -> None:
        largest = table.abs().amax(dim=0)
        taken = Rounding.of(torch.stack([-largest, largest]))
        self._write = taken.writer()
        added = -len(table) % STRIPES
        bias = functional.pad(torch.zeros(len(table)), (0, added), value=-torch.inf)
        self._products = Linear(functional.pad(table, (0, 0, 0, added)), bias, taken)

    def nearest(self, vectors: Tensor, k: int) -> Tensor:
        """Numbers of the rows next to each vector, nearest first.

        Args:
            vectors: Shape (queries, width), float32.
            k: Rows a query, at most as many as there are.

        Returns:
            Shape (queries, k).
        """
        found = torch.empty(len(vectors), k, dtype=torch.int64)
        for start in range(0, len(vectors), SEARCHED):
            part = vectors[start : start + SEARCHED]
            padded = vectors.new_zeros(SEARCHED, vectors.shape[1])
            padded[: len(part)] = part
            products = self._products(self._write(padded))[: len(part)]
            striped = products.view(len(part), STRIPES, -1)
            count = min(k, striped.shape[2])
            places = striped.amax(dim=1).topk(count, dim=1).indices
            among = striped.gather(2, places[:, None].expand(-1, STRIPES, -1)).flatten(1)
            best = among.topk(k, dim=1).indices
            stripe, place = best // count, places.gather(1, best % count)
            found[start : start + SEARCHED] = stripe * striped.shape[2] + place
        return found


class Table(NamedTuple):
    """Many vectors in bytes, of which few are looked at: a quarter of the memory to be read.

    Attributes:
        bytes: Shape (rows, width), int8.
        scales: What a byte of each row is worth, shape (rows, 1).
    """

    bytes: Tensor
    scales: Tensor

    @classmethod
    def of(cls, vectors: Vectors) -> Table:
        """Round vectors, shape (rows, width), each by a scale of its own."""
        return cls(*rounded(torch.from_numpy(vectors)))

    def vectors(self, rows: NDArray[np.int64]) -> Vectors:
        """Some vectors in 32 bits, shape (len(rows), width)."""
        found: Vectors = torch.mul(*self._chosen(rows)).numpy()
        return found

    def products(self, rows: NDArray[np.int64], asked: Table) -> Vectors:
        """Inner products of some rows with vectors, for unit vectors to .003.

        Args:
            rows: Numbers of rows.
            asked: The vectors.

        Returns:
            Shape (len(rows), len(asked.bytes)).
        """
        chosen = self._chosen(rows)
        if is_able():
            products = torch._int_mm(chosen.bytes, asked.bytes.T)
        else:  # exact, too: sums of a thousand products of bytes fit the digits of 32 bits
            products = chosen.bytes.float() @ asked.bytes.float().T
        found: Vectors = (products * asked.scales.T).mul_(chosen.scales).numpy()
        return found

    def part(self, start: int, stop: int) -> Table:
        """Vectors from one row up to another."""
        return Table._make(part[start:stop] for part in self)

    def _chosen(self, rows: NDArray[np.int64]) -> Table:
        # Whole rows are copied; indexing would copy number by number.
        return Table._make(part.index_select(0, torch.from_numpy(rows)) for part in self)


class Int8Layers:
    """The layers of a BERT encoder in bytes.

    Args:
        weights: Weights of the layers in 32 bits, named as in `BertModel.encoder.layer`:
            "0.attention.self.query.weight" and so on.
        ranges: What `find_ranges` gave for them.
        heads: Attention heads of a layer.
        chosen: Which of them are run.

    Attributes:
        count: Number of layers.
        width: Numbers of a state.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        ranges: Ranges,
        heads: int,
        chosen: slice = slice(None),
    ) -> None:
        self._layers = [
            Int8Layer(below(weights, f"{number}."), below(ranges, f"{number}."), heads)
            for number in range(len(ranges) // len(INPUTS))[chosen]
        ]
        self.count = len(self._layers)
        self.width = len(weights["0.output.dense.bias"])

    def __call__(self, states: Tensor, is_piece: Tensor) -> Tensor:
        """Run the layers.

        Args:
            states: Shape (texts, pieces, width), float32. Texts of one length should follow each
                other, and a core's cache holds the work on some 1,000 pieces.
            is_piece: Which pieces are no padding, shape (texts, pieces).

        Returns:
            The states behind the last layer, 0 for padding.
        """
        lengths, texts = torch.unique_consecutive(is_piece.sum(dim=1), return_counts=True)
        pairs = zip(texts.tolist(), lengths.tolist(), strict=True)
        groups = [(count, pieces) for count, pieces in pairs if pieces]
        packed = states[is_piece]
        rows = states.new_zeros(_rounded(len(packed)), states.shape[-1])
        rows[: len(packed)] = packed
        for layer in self._layers:
            rows = layer(rows, groups)
        found = torch.zeros_like(states)
        found[is_piece] = rows[: len(packed)]
        return found


def _rounded(count: int) -> int:
    """Rows that are computed for so many: few different numbers, since oneDNN compiles for each."""
    step = 64 if count > 64 else 16
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

    def __call__(self, rows: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
        """Run the layer.

        Args:
            rows: States of the pieces of all texts one after the other, and further rows that
                nobody looks at, shape (at least the sum of pieces, width).
            groups: Number of texts, and of pieces of each, for texts of one length that follow each
                other: so none is padded.
        """
        asked = self._asked(self._write["input"](rows))
        context = torch.zeros_like(rows)
        start = 0
        for texts, pieces in groups:
            end = start + texts * pieces
            of_group = asked[start:end].view(texts, pieces, 3, self._heads, -1)
            query, key, value = of_group.permute(2, 0, 3, 1, 4)
            found = functional.scaled_dot_product_attention(query, key, value)
            into = context[start:end].view(texts, pieces, self._heads, -1)
            into.copy_(found.transpose(1, 2))
            start = end
        joined = self._joined(self._write["context"](context))
        middle = normalise(joined.add_(rows), *self._norms[0])
        units = self._units(self._write["middle"](middle))
        return normalise(self._output(units).add_(middle), *self._norms[1])


class Int8Convolutions:
    """Gated convolutions in bytes; see `extractor.spans.Convolutions`.

    Args:
        weights: Weights in 32 bits, named as there.
        ranges: What `find_ranges` gave for them.

    Attributes:
        count: Number of convolutions.
        width: Numbers of a state.
    """

    def __init__(self, weights: Mapping[str, Tensor], ranges: Ranges) -> None:
        self.count = len(ranges) - 1
        self.width = len(weights["first.bias"])
        taken = Rounding.of(ranges["first"], weights["first.weight"])
        self._write = taken.writer()
        self._first = Linear(weights["first.weight"], weights["first.bias"], taken)
        self._around = [_depthwise(weights, f"around.{number}") for number in range(self.count)]
        inputs = [
            Rounding.of(ranges[str(number)], weights[f"gated.{number}.weight"])
            for number in range(self.count)
        ]
        self._writes = [rounding.writer() for rounding in inputs]
        self._gated = [
            Linear(weights[f"gated.{number}.weight"], weights[f"gated.{number}.bias"], rounding)
            for number, rounding in enumerate(inputs)
        ]
        self._norms = [
            (weights[f"norms.{number}.weight"].clone(), weights[f"norms.{number}.bias"].clone())
            for number in range(self.count)
        ]

    def __call__(self, states: Tensor, is_piece: Tensor) -> Tensor:
        """Run the convolutions.

        Args:
            states: Shape (texts, pieces, width), float32.
            is_piece: Which pieces are no padding, shape (texts, pieces).

        Returns:
            The states behind the last one, 0 for padding.
        """
        if not is_piece.any():
            return torch.zeros_like(states)
        # Texts follow each other with rows between them, so that they do not see each other.
        texts = torch.arange(len(states))[:, None].expand_as(is_piece)[is_piece]
        gap = AROUND // 2
        places = torch.arange(len(texts)) + gap * (texts + 1)
        rows = states.new_zeros(_rounded(int(places[-1]) + 1 + gap), self.width)
        rows[places] = states[is_piece]
        is_gap = torch.ones(len(rows), dtype=torch.bool)
        is_gap[places] = False
        gaps = is_gap.nonzero()[:, 0]
        rows = self._first(self._write(rows))
        for around, write, gated, norm in zip(
            self._around, self._writes, self._gated, self._norms, strict=True
        ):
            # As an image of one line, whose colours lie side by side as the numbers of a row do.
            line = rows.index_fill_(0, gaps, 0.0)[None, None].permute(0, 3, 1, 2)
            seen = functional.conv2d(line, *around, padding=(0, gap), groups=self.width)
            change = functional.glu(gated(write(seen.permute(0, 2, 3, 1)[0, 0])), dim=1)
            rows = functional.layer_norm(rows.add_(change), (self.width,), *norm)
        found = torch.zeros_like(states)
        found[is_piece] = rows[places]
        return found


def _depthwise(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution in which each number of a row looks around by itself."""
    weight = weights[f"{name}.weight"][:, :, None].contiguous(memory_format=torch.channels_last)
    return weight, weights[f"{name}.bias"].clone()


class Int8Heads:
    """What is read off the vectors of words, in bytes; see `extractor.spans.Heads`.

    Args:
        weights: Weights in 32 bits, named as there.
        ranges: What `find_ranges` gave for them.
    """

    def __init__(self, weights: Mapping[str, Tensor], ranges: Ranges) -> None:
        taken = Rounding.of(ranges["hidden"], weights["hidden.weight"])
        given = Rounding.of(ranges["outputs"])
        self._write = taken.writer()
        self._hidden = Linear(
            weights["hidden.weight"], weights["hidden.bias"].clone(), taken, given, gelu=True
        )
        weight, bias = (
            torch.cat([weights[f"{name}.{kind}"] for name in HEADS]) for kind in ("weight", "bias")
        )
        self._outputs = Linear(weight, bias, given)

    def __call__(self, words: Tensor) -> Tensor:
        """Roles, vectors of first and of last words side by side.

        Args:
            words: Shape (sentences, words, width), float32.
        """
        rows = words.flatten(end_dim=1)
        padded = functional.pad(rows, (0, 0, 0, _rounded(len(rows)) - len(rows)))
        found = self._outputs(self._hidden(self._write(padded)))
        return found[: len(rows)].view(*words.shape[:2], found.shape[-1])


def normalise(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation as BERT has it; states of shape (…, width)."""
    return functional.layer_norm(states, (states.shape[-1],), weight, bias, eps=1e-12)


def find_ranges(parts: Mapping[str, nn.Module], run: Callable[[], object]) -> dict[str, Tensor]:
    """Find the ranges of the matrices that are rounded.

    Args:
        parts: The linear layers or convolutions that take them, by the name of the matrix; those
            of a transformer are told by `parts_of`.
        run: Runs the network over sample texts.

    Returns:
        Ranges as `Int8Layers` and `Int8Convolutions` take them.
    """
    found: dict[str, Tensor] = {}

    def widen(name: str, part: nn.Module, values: Tensor) -> None:
        if isinstance(part, nn.Conv1d):
            values = values.transpose(1, 2)
        flat = values.reshape(-1, values.shape[-1]).float()
        low, high = flat.amin(dim=0), flat.amax(dim=0)
        if name in found:
            low, high = torch.minimum(low, found[name][0]), torch.maximum(high, found[name][1])
        found[name] = torch.stack([low, high])

    hooks = [
        part.register_forward_pre_hook(lambda part, given, name=name: widen(name, part, given[0]))
        for name, part in parts.items()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


def parts_of(layers: Sequence[Any]) -> dict[str, nn.Module]:
    """The linear layers that take the matrices of a transformer (`BertModel.encoder.layer`)."""
    return {
        f"{number}.{name}": part
        for number, layer in enumerate(layers)
        for name, part in zip(
            INPUTS,
            (
                layer.attention.self.query,
                layer.attention.output.dense,
                layer.intermediate.dense,
                layer.output.dense,
            ),
            strict=True,
        )
    }
