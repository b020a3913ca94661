"""Small trained weights on disk: matrices in 8 bits, the rest in 16, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from extractor.errors import ArtefactError

SMALL = 4096
"""Matrices of fewer numbers gain nothing by 8 bits."""

_SCALE = ":scale"
_RANGE = "range:"


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors; a matrix is rounded to 127 steps either way of its row's largest number."""
    packed: dict[str, Tensor] = {}
    for name, values in tensors.items():
        if values.dim() == 2 and values.numel() > SMALL:
            packed[name], packed[name + _SCALE] = rounded(values)
        else:
            packed[name] = values.to(torch.float16)
    path.write_bytes(save(packed))


def rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers in bytes, 127 steps either way of the largest of their row.

    Args:
        rows: Shape (rows, columns).

    Returns:
        The bytes, of the same shape, and the size of a step in each row, float32, (rows, 1).
    """
    scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
    return (rows / scale).round().to(torch.int8), scale.float()


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): values
        for name, values in tensors.items()
        if name.startswith(prefix)
    }


def with_ranges(tensors: Mapping[str, Tensor], ranges: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors to be written, with the ranges that `extractor.int8` rounds by."""
    return {**tensors, **{_RANGE + name: values.flatten() for name, values in ranges.items()}}


def split_ranges(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors that were read without ranges, and the ranges, of which there may be none."""
    ranges = {name: values.view(2, -1) for name, values in below(tensors, _RANGE).items()}
    return {n: values for n, values in tensors.items() if not n.startswith(_RANGE)}, ranges


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read what `write_weights` wrote, as float32.

    Raises:
        ArtefactError: The file is missing or damaged.
    """
    try:
        packed = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}; reinstall jobshift") from error
    return {
        name: values.float() * packed[name + _SCALE] if name + _SCALE in packed else values.float()
        for name, values in packed.items()
        if not name.endswith(_SCALE)
    }
