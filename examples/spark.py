"""jobshift in Spark: `spark-submit examples/spark.py ADS.parquet RESULTS.parquet`.

Needs `pip install jobshift pyspark pandas` and an installed taxonomy on every node.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pandas as pd

from extractor import JobPosting, SkillExtractor

SCHEMA = """
    id string, error string, role string, p double,
    skills array<struct<concept_id: string, label: string, requirement: string, score: double>>
"""


def read_ads(
    frames: Iterator[pd.DataFrame], taxonomy: str = "default", encoder: str = "accurate"
) -> Iterator[pd.DataFrame]:
    """What `mapInPandas` calls: frames of `id`, `title` and `text` in, frames of `SCHEMA` out."""
    # Once a partition; the index and the weights stay in the Python worker, which Spark uses again.
    extractor = SkillExtractor.load(taxonomy, encoder=encoder)
    for frame in frames:
        postings = [
            JobPosting(id=str(row.id), title=row.title or None, text=row.text or "")
            for row in frame.fillna({"title": "", "text": ""}).itertuples()
        ]
        rows: list[dict[str, Any]] = []
        for result in extractor.extract_batch(postings):
            role = result.role
            fields = {"concept_id", "label", "requirement", "score"}
            rows.append(
                {
                    "id": result.id,
                    "error": result.error,
                    "role": role and role.label,
                    "p": role.probabilities[role.label] if role and role.label else None,
                    "skills": [skill.model_dump(include=fields) for skill in result.skills],
                }
            )
        yield pd.DataFrame(rows, columns=["id", "error", "role", "p", "skills"])


def main(source: str, target: str) -> None:
    """Read a table of ads and write one row an ad."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("jobshift").getOrCreate()
    # Few rows at once: an ad is some 3 kB, and the engine takes 32 of them together.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "256")
    ads = spark.read.parquet(source).select("id", "title", "text")
    ads.mapInPandas(read_ads, schema=SCHEMA).write.parquet(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
