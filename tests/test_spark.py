"""The recipe for Spark, by pandas alone and, where there is one, in a local Spark."""

import runpy
import shutil
from functools import partial
from pathlib import Path

import pytest

from extractor import JobPosting

pd = pytest.importorskip("pandas")

ROOT = Path(__file__).resolve().parents[1]
MINI = {"taxonomy": "mini", "encoder": "hashing"}


@pytest.fixture
def recipe(mini_cache, monkeypatch):
    monkeypatch.setenv("JOBSHIFT_CACHE", str(mini_cache))
    return runpy.run_path(str(ROOT / "examples" / "spark.py"))


@pytest.fixture
def ads():
    return pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "title": ["Analyst", None, "Cook"],
            "text": ["You must know Python.", None, "You cook soup for our guests."],
        }
    )


def test_recipe_gives_what_the_engine_gives(recipe, ads, mini_engine):
    (frame,) = recipe["read_ads"](iter([ads]), **MINI)
    assert frame["id"].tolist() == ["a", "b", "c"]
    assert frame["error"].notna().tolist() == [False, True, False]
    for row, title, text in ((0, "Analyst", ads["text"][0]), (2, "Cook", ads["text"][2])):
        result = mini_engine.extract(JobPosting(id="x", title=title, text=text))
        assert [skill["concept_id"] for skill in frame["skills"][row]] == [
            skill.concept_id for skill in result.skills
        ]
        assert frame["role"][row] == result.role.label


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
@pytest.mark.filterwarnings("ignore")
def test_recipe_in_spark(recipe, ads, tmp_path):
    sql = pytest.importorskip("pyspark.sql")
    spark = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    try:
        frame = spark.createDataFrame(ads.astype(object).where(ads.notna(), None))
        rows = frame.mapInPandas(
            partial(recipe["read_ads"], **MINI), schema=recipe["SCHEMA"]
        ).collect()
    finally:
        spark.stop()
    assert {row.id: row.error is None for row in rows} == {"a": True, "b": False, "c": True}
    (first,) = (row for row in rows if row.id == "a")
    assert [skill.label for skill in first.skills] == ["Python (computer programming)"]
