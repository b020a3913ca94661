"""Errors to read: the worst rows with gold, prediction and scores, as JSON Lines and as a page."""

from __future__ import annotations

import html
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spacy import displacy

from eval.errors import EvaluationError

WORST = 300
"""Cases that are written, the worst first."""

COLOURS = {"right": "#9bd3a4", "wrong": "#f1a7a0", "missed": "#f6d55c"}
_TOKEN = re.compile(r"\w+|[^\w\s]")


class Answer(NamedTuple):
    """A gold or predicted answer, for people.

    Attributes:
        label: What it is called.
        id: Its id, if it is a concept.
        score: The score that the engine gave it; None in the gold.
        right: Whether gold and prediction agree on it.
    """

    label: str
    id: str = ""
    score: float | None = None
    right: bool = False


class Mark(NamedTuple):
    """A stretch of the text to highlight: `right` and `wrong` predictions, `missed` gold."""

    start: int
    end: int
    verdict: str
    label: str


@dataclass(frozen=True)
class Case:
    """A row that was not answered rightly.

    Attributes:
        place: Where the row stands.
        text: Its text, or the query in it.
        loss: How wrong the answer is; what it counts depends on the task.
        gold: Right answers.
        predicted: Given answers, best first.
        marks: Places in `text` to highlight.
        slices: Slices that the row belongs to, for filtering.
    """

    place: str
    text: str
    loss: float
    gold: Sequence[Answer]
    predicted: Sequence[Answer]
    marks: Sequence[Mark] = ()
    slices: Mapping[str, str] = field(default_factory=dict)


def worst(cases: Sequence[Case]) -> list[Case]:
    """The cases with any loss, the worst first; of equal ones the most certain mistake first."""

    def certainty(case: Case) -> float:
        return max((a.score or 0.0 for a in case.predicted if not a.right), default=0.0)

    wrong = [case for case in cases if case.loss > 0]
    return sorted(wrong, key=lambda case: (-case.loss, -certainty(case)))[:WORST]


def write_cases(path: Path, task: str, cases: Sequence[Case], caption: str) -> Path:
    """Write the worst cases as JSON Lines, and beside them as a page of the same name.

    Args:
        path: The JSON Lines file; the page gets the suffix `.html`.
        task: Name of the task.
        cases: All cases of a run.
        caption: What was run, for the head of the page.

    Returns:
        Path of the page.

    Raises:
        EvaluationError: A file cannot be written.
    """
    chosen, page = worst(cases), path.with_suffix(".html")
    lines = [json.dumps(_record(case), ensure_ascii=False) + "\n" for case in chosen]
    try:
        path.write_text("".join(lines), encoding="utf-8")
        page.write_text(render_page(task, chosen, caption), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{error.filename}: cannot be written: {error.strerror}") from error
    return page


def _record(case: Case) -> dict[str, Any]:
    record = asdict(case)
    for name in ("gold", "predicted", "marks"):
        record[name] = [item._asdict() for item in getattr(case, name)]
    return record


def render_page(task: str, cases: Sequence[Case], caption: str) -> str:
    """A self-contained page with a filter for each slice, for the loss and for words."""
    dimensions: dict[str, set[str]] = {}
    for case in cases:
        for name, value in case.slices.items():
            dimensions.setdefault(name, set()).add(value)
    choosers = "".join(
        f'<label>{html.escape(name)} <select data-slice="{html.escape(name)}"><option value="">all'
        "</option>"
        + "".join(f"<option>{html.escape(value)}</option>" for value in sorted(values))
        + "</select></label> "
        for name, values in sorted(dimensions.items())
    )
    legend = " ".join(
        f'<mark style="background:{COLOURS[verdict]}">{verdict}</mark>'
        for verdict in ("right", "wrong", "missed")
    )
    body = "\n".join(map(_section, cases)) or "<p>No row was answered wrongly.</p>"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(task)}: errors</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }}
section {{ border-top: 1px solid #ccc; padding: .8rem 0 }} small {{ color: #555 }}
table {{ border-collapse: collapse }} td, th {{ text-align: left; padding: 0 1rem 0 0 }}
.right {{ background: {COLOURS["right"]} }} .wrong {{ background: {COLOURS["wrong"]} }}
form {{ position: sticky; top: 0; background: #fff; padding: .5rem 0 }}
</style>
<h1>{html.escape(task)}: {len(cases)} rows answered wrongly, worst first</h1>
<p><small>{html.escape(caption)}</small></p>
<form>{choosers}<label>words <input id="words" type="search"></label>
<label>loss from <input id="loss" type="number" step="any" style="width:5rem"></label>
<output></output> {legend}</form>
{body}
<script>
const form = document.querySelector("form"), sections = [...document.querySelectorAll("section")];
function show() {{
  const words = form.querySelector("#words").value.toLowerCase();
  const loss = parseFloat(form.querySelector("#loss").value) || 0;
  const chosen = [...form.querySelectorAll("select")].filter(s => s.value);
  let shown = 0;
  for (const section of sections) {{
    const slices = JSON.parse(section.dataset.slices);
    const fits = chosen.every(s => slices[s.dataset.slice] === s.value)
      && section.textContent.toLowerCase().includes(words) && +section.dataset.loss >= loss;
    section.hidden = !fits;
    shown += fits;
  }}
  form.querySelector("output").textContent = shown + " shown";
}}
form.addEventListener("input", show);
form.addEventListener("submit", event => event.preventDefault());
show();
</script>
</html>
"""


def _section(case: Case) -> str:
    slices = html.escape(json.dumps(dict(case.slices)), quote=True)
    answers = "".join(
        f"<tr><th>{name}</th><td>{cells}</td></tr>"
        for name, cells in (("gold", _answers(case.gold)), ("found", _answers(case.predicted)))
    )
    return (
        f'<section data-loss="{case.loss:g}" data-slices="{slices}">'
        f"<small>{html.escape(case.place)}, loss {case.loss:.3g}</small>"
        f"{_marked(case.text, case.marks)}<table>{answers}</table></section>"
    )


def _answers(answers: Sequence[Answer]) -> str:
    if not answers:
        return "nothing"
    return "; ".join(
        f'<span class="{"right" if a.right else "wrong"}" title="{html.escape(a.id, quote=True)}">'
        f"{html.escape(a.label)}{'' if a.score is None else f' {a.score:.2f}'}</span>"
        for a in answers
    )


def _marked(text: str, marks: Sequence[Mark]) -> str:
    """The text line by line, its marks as displaCy shows spans: they may overlap."""
    lines, start = [], 0
    for line in text.split("\n"):
        end = start + len(line)
        within = [
            mark._replace(start=max(mark.start - start, 0), end=min(mark.end, end) - start)
            for mark in marks
            if mark.start < end and mark.end > start
        ]
        lines.append(_marked_line(line, within) if within else f"<p>{html.escape(line)}</p>")
        start = end + 1
    return "".join(lines)


def _marked_line(line: str, marks: Sequence[Mark]) -> str:
    places = [(match.start(), match.end()) for match in _TOKEN.finditer(line)]
    starts, ends = [start for start, _ in places], [end for _, end in places]
    spans, colours = [], {}
    for mark in marks:
        # displaCy escapes the words but not the labels.
        label = html.escape(f"{mark.verdict}: {mark.label}")
        first, behind = bisect_right(ends, mark.start), bisect_left(starts, mark.end)
        if first < behind:
            spans.append({"start_token": first, "end_token": behind, "label": label})
            colours[label] = COLOURS[mark.verdict]
    rendered: str = displacy.render(
        {"text": line, "tokens": [line[start:end] for start, end in places], "spans": spans},
        style="span",
        manual=True,
        page=False,
        jupyter=False,
        options={"colors": colours},
    )
    return rendered
