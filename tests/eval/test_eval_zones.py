"""Gold sections: labels that fit their text, and counts worked out by hand."""

import hashlib
import json

import pytest

from eval import tasks
from eval import zones as gold_zones
from eval.zones import Span, label_of, lines_of, overlaps, read_gold, zones_by_headings
from extractor.records import ZONE_LABELS

TEXT = "Clerk\nYou file. You type.\nFree tea."


def test_the_labels_hold_no_text_and_are_in_order():
    gold = read_gold()
    assert len(gold) >= 150
    assert 60 <= sum(one.is_held_out for one in gold.values()) <= 100
    for one in gold.values():
        assert set(one.model_dump()) == {"id", "sha256", "zones"}
        assert len(one.sha256) == 64
        edges = [edge for zone in one.zones for edge in (zone.start, zone.end)]
        assert edges == sorted(edges)
        assert all(zone.start < zone.end for zone in one.zones)


def test_lines_and_their_labels():
    spans = [Span(0, 6, "title"), Span(6, 26, "duties"), Span(26, 35, "benefits")]
    words = [TEXT[a:b] for a, b in lines_of(TEXT)]
    assert words == ["Clerk", "You file.", "You type.", "Free tea."]
    labels = [label_of(TEXT, spans, a, b) for a, b in lines_of(TEXT)]
    assert labels == ["title", "duties", "duties", "benefits"]
    assert label_of(TEXT, spans[:1], 6, 26) is None


def test_overlaps_count_visible_characters():
    counts = overlaps(TEXT, [Span(0, 15, "duties")], [Span(0, 6, "title"), Span(6, 35, "duties")])
    duties, title = ZONE_LABELS.index("duties"), ZONE_LABELS.index("title")
    assert counts[duties, title] == 5  # "Clerk"
    assert counts[duties, duties] == 8  # "You file."
    assert counts.sum() == 13


def test_baseline_by_headings():
    spans = zones_by_headings("Clerk\nRequirements:\nTyping fast.\nBenefits\nTea.\n")
    assert [span.label for span in spans] == [
        "other",
        "requirements",
        "requirements",
        "benefits",
        "benefits",
    ]


def test_task_scores_the_ads_that_have_labels(report, rows_file, tmp_path, monkeypatch):
    gold = tmp_path / "zones.jsonl"
    rows = [
        {"id": "a", "text": TEXT, "zones": [[0, 6, "other"], [6, 26, "duties"], [26, 35, "about"]]},
        {"id": "b", "text": "changed since", "zones": [[0, 5, "about"]]},
    ]
    lines = []
    for row in rows:
        text = row["text"] if row["id"] == "a" else "another text"
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        lines.append(json.dumps({"id": row["id"], "sha256": sha256, "zones": row["zones"]}))
    gold.write_text("\n".join(lines))
    monkeypatch.setattr(tasks, "read_gold", lambda: read_gold(gold))

    result = report("zones", rows_file(*rows, {"id": "c", "text": "no labels"}))

    assert result["n"] == 1
    assert any("1 ads whose text has changed" in note for note in result["notes"])
    # The baseline that says "other" of everything is right about the first of four lines.
    other = {name: one["value"] for name, one in result["baselines"]["all other"].items()}
    assert other["accuracy/lines"] == pytest.approx(1 / 4)
    assert other["accuracy/characters"] == pytest.approx(5 / 29)
    assert other["employer_read_as_asking"] == 0


def test_gold_stands_beside_the_module():
    assert gold_zones.GOLD.is_file()
