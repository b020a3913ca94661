"""The engine as a model of WorkRB, in a task of WorkRB whose data are written here."""

import numpy as np
import pytest

workrb = pytest.importorskip("workrb")

from workrb.registry import register_task  # noqa: E402
from workrb.tasks.abstract.base import DatasetSplit, LabelType, Language  # noqa: E402
from workrb.tasks.abstract.ranking_base import (  # noqa: E402
    RankingDataset,
    RankingTask,
    RankingTaskGroup,
)
from workrb.types import ModelInputType  # noqa: E402

from eval.workrb_model import JobshiftEncoder, JobshiftLinker, cosines  # noqa: E402
from extractor.encoders import load_encoder  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

TARGETS = ["prune trees", "Bake Bread", "accounting", "juggling with knives"]


class Letters:
    """An encoder that counts letters."""

    name, dimension = "letters", 26

    def encode(self, texts):
        counts = np.array(
            [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], np.float32
        )
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)


@register_task()
class OwnTask(RankingTask):
    """A task of two sentences."""

    name = "Own"
    description = "Sentences of our own."
    task_group = RankingTaskGroup.SKILL_EXTRACTION
    supported_query_languages = supported_target_languages = (Language.EN,)
    label_type = LabelType.MULTI_LABEL
    query_input_type = ModelInputType.SKILL_SENTENCE
    target_input_type = ModelInputType.SKILL_NAME
    citation = ""

    def load_dataset(self, dataset_id, split):
        assert split in (DatasetSplit.VAL, DatasetSplit.TEST)
        return RankingDataset(
            ["we bake bread", "throw knives while juggling"], [[1], [3]], TARGETS, dataset_id
        )


def test_the_linker_goes_first_and_the_encoder_ranks_the_rest(engine):
    model = JobshiftLinker(engine=engine, fallback=Letters())
    scores = model.compute_rankings(
        ["we bake bread"], TARGETS, ModelInputType.SKILL_SENTENCE, ModelInputType.SKILL_NAME
    )
    assert tuple(scores.shape) == (1, 4)
    assert scores[0].argmax() == 1  # without regard to case
    assert scores[0, 3] == pytest.approx(cosines(Letters(), ["we bake bread"], TARGETS)[0, 3])
    assert scores[0, 3] < scores[0, :3].min()  # no concept: behind all that the linker lists


def test_titles_are_ranked_among_occupations(engine):
    model = JobshiftLinker(engine=engine, fallback=Letters())
    titles = ["gardener", "baker", "space pilot"]
    scores = model.compute_rankings(
        ["bread maker"], titles, ModelInputType.JOB_TITLE, ModelInputType.JOB_TITLE
    )
    assert scores[0].argmax() == 1
    assert model.classification_label_space is None
    classes = model.compute_classification(["bread maker"], titles, ModelInputType.JOB_TITLE)
    assert classes.tolist() == scores.tolist()


# The stand-in for the linker lists all concepts, so that the target that is none comes last.
@pytest.mark.parametrize(("kind", "expected"), [("linker", (1 + 1 / 4) / 2), ("encoder", 1)])
def test_workrb_evaluates_us(kind, expected, engine, tmp_path):
    model = (
        JobshiftLinker(engine=engine, fallback=Letters())
        if kind == "linker"
        else JobshiftEncoder(Letters())
    )
    assert model.name.startswith("jobshift-")
    assert model.description
    results = workrb.evaluate(
        model, [OwnTask(languages=["en"], split="val")], str(tmp_path), force_restart=True
    )
    (found,) = results.task_results["Own"].datasetid_results.values()
    assert found.metrics_dict["mrr"] == pytest.approx(expected)
    assert found.metrics_dict["map"] == pytest.approx(expected)


def test_encoders_are_loaded_by_name():
    model = JobshiftEncoder("fast")
    assert model.encoder.name == load_encoder("fast").name
    scores = model.compute_rankings(
        ["baking"], ["bake bread", "weld pipes"], ModelInputType.SKILL_NAME, None
    )
    assert scores[0, 0] > scores[0, 1]
