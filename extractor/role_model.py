"""Learned parts of the role classifier, and the folder that they are kept in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extractor.errors import ArtefactError
from extractor.interfaces import Vectors

SCHEMA = 1
"""Version of the artefact's layout."""

TASK_KINDS = ("cognitive", "physical", "knowledge", "situated")
"""Kinds of duties: routine office work, routine manual work, analysis and judgement (also
teaching, selling, leading), and hands-on work in changing situations."""

TITLE_CLASSES = ("created", "threatened", "augmented", "skilled", "manual")
"""Classes of titles; the last two are `unaffected` with `nearest` augmented and threatened."""

HEADS = ("task", "duty", "title")

FEATURES: dict[str, tuple[str, ...]] = {
    "created": ("ml_title", "data_title", "ml_duties", "ml_skills", "ml_density"),
    "threatened": ("title_threatened", "routine_duties"),
    "augmented": ("title_augmented", "knowledge_duties", "uses_ml_tools"),
    "nearest": ("title_nearest", "routine_duties"),
}
"""Features of each step of the decision, by name."""

Floats = NDArray[np.float64]


class Head(NamedTuple):
    """A classifier of vectors with one hidden layer of rectified units.

    Attributes:
        hidden_weights: Shape (units, dimension).
        hidden_bias: Shape (units,).
        weights: Shape (classes, units).
        bias: Shape (classes,).
    """

    hidden_weights: Floats
    hidden_bias: Floats
    weights: Floats
    bias: Floats

    def probabilities(self, vectors: Vectors) -> Floats:
        """Softmax over the classes, shape (rows, classes)."""
        hidden = np.maximum(vectors @ self.hidden_weights.T + self.hidden_bias, 0.0)
        logits = hidden @ self.weights.T + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        exponents = np.exp(logits)
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class RoleModel:
    """Learned parts of the classifier.

    The folder holds `heads.safetensors` (the heads), `model.json` (everything else, with
    the encoder they belong to) and `README.md` (the model card).

    Attributes:
        encoder: Name of the encoder that the heads were trained on.
        task: Kinds of duties, `TASK_KINDS`.
        duty: Whether a clause describes the work: (no, yes).
        title: `TITLE_CLASSES` of titles.
        steps: For each step of `FEATURES` the weight of each feature and of `bias`.
        version: Version of the weights.
    """

    encoder: str
    task: Head
    duty: Head
    title: Head
    steps: dict[str, dict[str, float]]
    version: str

    @classmethod
    def load(cls, folder: Path) -> RoleModel:
        """Read a model.

        Raises:
            ArtefactError: A file is missing, or written by another version of the package.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            manifest: dict[str, Any] = json.loads((folder / "model.json").read_text("utf-8"))
            tensors = load_file(folder / "heads.safetensors")
            if manifest["schema"] != SCHEMA:
                raise ArtefactError(
                    f"the role model in {folder} has schema {manifest['schema']}, this version "
                    f"reads {SCHEMA}: train it again with python -m training.roles"
                )
            heads = {
                name: Head(*(tensors[f"{name}.{part}"].astype(np.float64) for part in Head._fields))
                for name in HEADS
            }
            return cls(
                encoder=manifest["encoder"],
                **heads,
                steps=manifest["steps"],
                version=manifest["version"],
            )
        except (OSError, KeyError, json.JSONDecodeError, SafetensorError) as error:
            raise ArtefactError(
                f"the role model in {folder} cannot be read: {error!r}; reinstall the package or "
                "train it again with python -m training.roles"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the model."""
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for name in HEADS:
            head: Head = getattr(self, name)
            for part, values in head._asdict().items():
                tensors[f"{name}.{part}"] = np.ascontiguousarray(values, dtype=np.float32)
        (folder / "heads.safetensors").write_bytes(save(tensors))
        manifest = {
            "schema": SCHEMA,
            "version": self.version,
            "encoder": self.encoder,
            "dimension": int(self.task.hidden_weights.shape[1]),
            "task_kinds": TASK_KINDS,
            "title_classes": TITLE_CLASSES,
            "steps": self.steps,
        }
        (folder / "model.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
