"""Learned parts of the role classifier, and the folder that they are kept in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extractor.errors import ArtefactError
from extractor.interfaces import Encoder, Vectors

SCHEMA = 3
"""Version of the artefact's layout."""

TASK_KINDS = ("cognitive", "physical", "knowledge", "situated")
"""Kinds of duties: routine office work, routine manual work, analysis and judgement (also
teaching, selling, leading), and hands-on work in changing situations."""

TITLE_CLASSES = ("created", "threatened", "augmented", "skilled", "manual")
"""Classes of titles; the last two are `unaffected` with `nearest` augmented and threatened."""

TITLE_KINDS = ("created", "cognitive", "physical", "augmented", "skilled", "manual")
"""What the title head tells apart: `TITLE_CLASSES` with `threatened` by its channel."""

HEADS = ("task", "duty", "title", "ml")

FEATURES: dict[str, tuple[str, ...]] = {
    "created": ("ml_title", "data_title", "ml_duties", "ml_skills", "ml_density", "ml_unlisted"),
    "threatened": ("title_threatened", "routine_duties"),
    "augmented": ("title_augmented", "knowledge_duties", "uses_ml_tools"),
    "nearest": ("title_nearest", "routine_duties"),
}
"""Features of each step of the decision, by name."""

# Weights that the definition suggests; those learned are drawn towards them, and none may turn
# its sign: more routine work never makes a role look less threatened.
PRIOR: dict[str, dict[str, float]] = {
    "created": {
        "ml_title": 4.0, "data_title": 2.0, "ml_duties": 1.5, "ml_skills": 1.5,
        "ml_density": 1.5, "ml_unlisted": 1.0, "bias": -6.0,
    },
    "threatened": {"title_threatened": 0.8, "routine_duties": 1.5, "bias": 0.0},
    "augmented": {
        "title_augmented": 0.8, "knowledge_duties": 1.0, "uses_ml_tools": 1.5, "bias": 0.0,
    },
    "nearest": {"title_nearest": 1.0, "routine_duties": 1.0, "bias": 0.0},
}  # fmt: skip

PROBE = "Check incoming invoices against orders and advise customers"
"""A text whose vector tells whether an encoder is the one that the heads were trained on."""

Floats = NDArray[np.float64]
Steps = dict[str, dict[str, float]]
"""For each step of `FEATURES` the weight of each feature and of `bias`."""


class LabelledFeatures(NamedTuple):
    """An ad as the weights of the decision are fitted to it.

    Attributes:
        values: Value of each feature.
        label: One of `ROLE_CLASSES`.
        nearest: The main class where the label is `unaffected`; None: not told.
    """

    values: dict[str, float]
    label: str
    nearest: str | None


def fit_steps(ads: Sequence[LabelledFeatures]) -> Steps:
    """Fit the weights of all steps; each learns from the ads that reach it."""

    def fit(step: str, reached: set[str], yes: Callable[[LabelledFeatures], bool]) -> Any:
        kept = [ad for ad in ads if ad.label in reached and (step != "nearest" or ad.nearest)]
        return _fit_step(step, kept, [yes(ad) for ad in kept]) if kept else dict(PRIOR[step])

    every = {"created", "threatened", "augmented", "unaffected"}
    rest = {"augmented", "unaffected"}
    return {
        "created": fit("created", every, lambda ad: ad.label == "created"),
        "threatened": fit("threatened", every - {"created"}, lambda ad: ad.label == "threatened"),
        "augmented": fit("augmented", rest, lambda ad: ad.label == "augmented"),
        "nearest": fit("nearest", {"unaffected"}, lambda ad: ad.nearest == "threatened"),
    }


def _fit_step(step: str, ads: Sequence[LabelledFeatures], yes: Sequence[bool]) -> dict[str, float]:
    """Logistic regression with non-negative weights and a Gaussian prior around `PRIOR`."""
    from scipy.optimize import minimize

    names = (*FEATURES[step], "bias")
    centre = np.array([PRIOR[step][name] for name in names])
    x = np.array([[*(ad.values[name] for name in FEATURES[step]), 1.0] for ad in ads])
    sign = np.where(np.array(yes), 1.0, -1.0)
    # Loose for the bias, half its size for a weight.
    precision = np.array([*(4.0 / centre[:-1] ** 2), 0.25])

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ weights)
        pull = 0.5 * (precision * (weights - centre) ** 2).sum()
        slope = -sign / (1.0 + np.exp(np.clip(margin, -30, 30)))
        value = np.logaddexp(0.0, -margin).sum() + pull
        return float(value), slope @ x + precision * (weights - centre)

    bounds = [(0.0, None)] * (len(names) - 1) + [(None, None)]
    result = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds)
    return {name: round(float(value), 4) for name, value in zip(names, result.x, strict=True)}


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
        import torch
        from torch.nn import functional

        layers = ((self.hidden_weights, self.hidden_bias), (self.weights, self.bias))
        first, second = (tuple(map(torch.from_numpy, layer)) for layer in layers)
        hidden = functional.linear(torch.from_numpy(vectors).double(), *first).relu_()
        found: Floats = functional.linear(hidden, *second).softmax(dim=1).numpy()
        return found


@dataclass(frozen=True)
class RoleModel:
    """Learned parts of the classifier.

    The folder holds `heads.safetensors` (the heads), `model.json` (everything else, with
    the encoder they belong to) and `README.md` (the model card).

    Attributes:
        encoder: Name of the encoder that the heads were trained on.
        task: Kinds of duties, `TASK_KINDS`.
        duty: Whether a clause describes the work: (no, yes).
        title: `TITLE_KINDS` of titles.
        ml: Whether a clause is about building ML: (no, yes).
        steps: For each step of `FEATURES` the weight of each feature and of `bias`.
        version: Version of the weights.
        probe: Vector of `PROBE` by that encoder, shape (dimension,).
    """

    encoder: str
    task: Head
    duty: Head
    title: Head
    ml: Head
    steps: Steps
    version: str
    probe: Floats

    def belongs_to(self, encoder: Encoder) -> bool:
        """Whether the heads were trained on vectors of this encoder, by name and by vectors."""
        if (encoder.name, encoder.dimension) != (self.encoder, len(self.probe)):
            return False
        return float(encoder.encode([PROBE])[0] @ self.probe) > 0.99

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
                probe=tensors["probe"].astype(np.float64),
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
        tensors = {"probe": self.probe.astype(np.float32)}
        for name in HEADS:
            head: Head = getattr(self, name)
            for part, values in head._asdict().items():
                tensors[f"{name}.{part}"] = np.ascontiguousarray(values, dtype=np.float32)
        (folder / "heads.safetensors").write_bytes(save(tensors))
        manifest = {
            "schema": SCHEMA,
            "version": self.version,
            "encoder": self.encoder,
            "dimension": len(self.probe),
            "task_kinds": TASK_KINDS,
            "title_kinds": TITLE_KINDS,
            "steps": self.steps,
        }
        (folder / "model.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
