"""The engine: a job ad in, its skills, duties, occupation and role class out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from itertools import compress, groupby, pairwise, zip_longest
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from extractor.components import (
    OCCUPATION_TEXT,
    Component,
    Occupations,
    Roles,
    SkillLinker,
    SkillSpans,
    batches,
    requirements_of,
    set_sentence_starts,
)
from extractor.encoders import own_encoder
from extractor.errors import ArtefactError, InvalidPostingError
from extractor.int8 import is_able
from extractor.interfaces import Encoder
from extractor.language import ENGLISH, LANGUAGE_NAMES, detect_language
from extractor.levels import Mastery, join_mastery
from extractor.records import (
    MAX_CHARACTERS,
    Candidate,
    Experience,
    JobPosting,
    JobResult,
    OccupationMatch,
    Provenance,
    Qualification,
    Requirement,
    RoleAssessment,
    Skill,
    SkillMatch,
    TaskMatch,
    TaskScores,
    Years,
    Zone,
)
from extractor.resources import Resources, load_resources
from extractor.spans import FoundSpan
from extractor.zones import mask_markup
from taxonomies import Taxonomy

LONGEST_STRETCH = 200
_LONG_STRETCH = re.compile(rf"\S{{{LONGEST_STRETCH + 1},}}")
STRENGTH: dict[Requirement, int] = {"required": 0, "preferred": 1, "mentioned": 2, "negated": 3}


def build_pipeline(
    taxonomy: str = "default", *, encoder: str = "accurate", skills_only: bool = False
) -> Language:
    """Build the spaCy pipeline: English tokens, and the components of jobshift.

    Args:
        taxonomy: Name of an installed taxonomy.
        encoder: Name of an encoder that the taxonomy's index was built with.
        skills_only: Whether those for occupations and the role class are left out.
    """
    nlp = spacy.blank("en")
    nlp.max_length = MAX_CHARACTERS
    config = {"taxonomy": taxonomy, "encoder": encoder}
    nlp.add_pipe("jobshift_zones")
    nlp.add_pipe("jobshift_mentions", config=config)
    # They go on from our own encoders alone.
    own = {"encoder": own_encoder(encoder)}
    nlp.add_pipe("jobshift_spans", config=own)
    nlp.add_pipe("jobshift_linker", config=config)
    nlp.add_pipe("jobshift_requirement")
    nlp.add_pipe("jobshift_levels")
    nlp.add_pipe("jobshift_qualifications")
    if not skills_only:
        nlp.add_pipe("jobshift_occupations", config=config)
        nlp.add_pipe("jobshift_roles", config=own)
    return nlp


def make_doc(nlp: Language, text: str) -> Doc:
    """Tokenise a text in linear time.

    spaCy strips punctuation off a stretch without blanks one mark at a time, which takes minutes
    for a long ruled line; such a stretch is tokenised in pieces.

    Args:
        nlp: Any pipeline.
        text: Any text.

    Returns:
        An unprocessed document with just this text.
    """
    cuts = [
        cut
        for stretch in _LONG_STRETCH.finditer(text)
        for cut in range(stretch.start() + LONGEST_STRETCH, stretch.end(), LONGEST_STRETCH)
    ]
    if not cuts:
        return nlp.make_doc(text)
    pieces = [text[start:end] for start, end in pairwise((0, *cuts, len(text)))]
    return Doc.from_docs([nlp.tokenizer(piece) for piece in pieces], ensure_whitespace=False)


def run_pipes(nlp: Language, docs: Iterable[Doc], names: Sequence[str]) -> Iterator[Doc]:
    """Run some components of a pipeline over documents.

    Components that are switched off (`nlp.select_pipes`) are so for all threads; here none is.
    """
    for name in names:
        component: Component[Any] = nlp.get_pipe(name)  # type: ignore[assignment]
        docs = component.pipe(docs, batch_size=128)
    yield from docs


def read_sentences(nlp: Language, texts: Iterable[str]) -> Iterator[Doc]:
    """Read texts that are one sentence each; find names of concepts and spans in them.

    Args:
        nlp: A pipeline of `build_pipeline`; no other component of it is run.
        texts: Sentences or phrases.
    """
    docs = (_as_one_sentence(make_doc(nlp, text)) for text in texts)
    yield from run_pipes(nlp, docs, ("jobshift_mentions", "jobshift_spans"))


class SkillExtractor:
    """Reads job ads.

        extractor = SkillExtractor.load()
        result = extractor.extract(text, title="Data Analyst")

    Args:
        nlp: A pipeline made by `build_pipeline`, or one with the same components.
        resources: Taxonomy, encoder and index that the pipeline uses.
    """

    def __init__(self, nlp: Language, resources: Resources) -> None:
        self.nlp = nlp
        self.resources = resources

    @classmethod
    def load(
        cls,
        taxonomy: str = "default",
        *,
        encoder: str | Encoder = "accurate",
        threshold: float | None = None,
        skills_only: bool = False,
    ) -> SkillExtractor:
        """Load the engine with an installed taxonomy.

        Args:
            taxonomy: Name of an installed taxonomy.
            encoder: `accurate`, `fast`, another name that `extractor.encoders.load_encoder` knows,
                or an encoder object; the taxonomy's index must have been built with it.
            threshold: Probability below which a concept is not returned, in (0, 1]; the one that
                comes with the linker if None. `python -m eval tune` finds one for your labels.
            skills_only: Whether duties, occupations and the role class are left out of results,
                which saves a tenth of the time, with `fast` a sixth (docs/performance.md).

        Raises:
            TypeError: The encoder is neither a name nor an encoder.
            ValueError: The threshold does not lie in (0, 1].
            TaxonomyNotInstalledError: The taxonomy is not installed.
            ArtefactError: Its index or a trained part is missing or does not fit.
        """
        if not isinstance(encoder, str | Encoder):
            raise TypeError(f"the encoder is {encoder!r:.80}; give its name or an Encoder")
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"the threshold {threshold} does not lie in (0, 1]")
        resources = load_resources(taxonomy, encoder)
        name = encoder if isinstance(encoder, str) else encoder.name
        extractor = cls(build_pipeline(taxonomy, encoder=name, skills_only=skills_only), resources)
        if threshold is not None:
            component: SkillLinker = extractor.nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
            model = component.linker.model
            version_ = f"{model.version}, threshold {threshold:g}"
            component.linker.model = replace(model, threshold=threshold, version=version_)
        return extractor

    @property
    def taxonomy(self) -> Taxonomy:
        """The taxonomy that ids refer to."""
        return self.resources.taxonomy

    @cached_property
    def provenance(self) -> Provenance:
        """What results depend on."""
        linker: SkillLinker = self.nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
        spans: SkillSpans = self.nlp.get_pipe("jobshift_spans")  # type: ignore[assignment]
        arithmetic, of_roles = self.resources.encoder.arithmetic, {}
        if self.nlp.has_pipe("jobshift_roles"):
            roles: Roles = self.nlp.get_pipe("jobshift_roles")  # type: ignore[assignment]
            of_roles = {
                "roles": roles.classifier.model.version,
                "ai_skills": roles.classifier.vocabulary.version,
            }
        return Provenance(
            jobshift=version("jobshift"),
            taxonomy=self.taxonomy.name,
            taxonomy_version=self.taxonomy.version,
            taxonomy_sha256=self.taxonomy.sha256,
            encoder=self.resources.encoder.name,
            parts={
                "linker": linker.linker.model.version,
                "spans": spans.finder.version,
                "arithmetic": f"{arithmetic}, search int8" if is_able() else arithmetic,
                "tokens": f"spacy {version('spacy')}",
                "language": f"py3langid {version('py3langid')}",
                **of_roles,
            },
        )

    def extract(
        self,
        text: str | JobPosting,
        *,
        title: str | None = None,
        id: str = "ad",  # noqa: A002
    ) -> JobResult:
        """Read one ad.

        Args:
            text: The ad, plain text or Markdown; or a posting, as `JobPosting.from_html` gives it.
            title: The job title of a text, if it is known apart from it.
            id: Copied to the result of a text.

        Raises:
            InvalidPostingError: The text is empty, too long or broken.
            TypeError: It is neither a text nor a posting, or a posting with a title beside it, or
                title or id is no string.
        """
        if not isinstance(text, str | JobPosting):
            raise TypeError(f"an ad is a text or a JobPosting, not {text!r:.80}")
        if isinstance(text, JobPosting) and title is not None:
            raise TypeError("a posting has its own title: JobPosting(id=…, text=…, title=…)")
        if not isinstance(title, str | None) or not isinstance(id, str):
            raise TypeError(f"title and id are strings, not {title!r:.80} and {id!r:.80}")
        posting = (
            text if isinstance(text, JobPosting) else JobPosting(id=id, text=text, title=title)
        )
        posting.check()
        return self._results([posting])[0]

    def extract_batch(
        self, postings: Iterable[str | JobPosting | JobResult], *, batch_size: int = 32
    ) -> Iterator[JobResult]:
        """Read many ads, lazily, in order and one to one.

        Args:
            postings: Ads; the id of a plain text is its number, from 1 on. A `JobResult` (a row
                that could not be read) is passed through.
            batch_size: Ads that are encoded and searched together.

        Yields:
            One result an ad; for an ad that cannot be read, one with `error`.
        """
        if postings is None or isinstance(postings, str | JobPosting):
            raise TypeError(
                f"extract_batch takes many ads, not {postings!r:.80}; for a single one call extract"
            )
        numbered = (_to_posting(item, number) for number, item in enumerate(postings, start=1))
        for batch in batches(numbered, batch_size):
            checked = [item if isinstance(item, JobResult) else _checked(item) for item in batch]
            readable = [item for item in checked if isinstance(item, JobPosting)]
            results = iter(self._extract_all(readable))
            for item in checked:
                yield item if isinstance(item, JobResult) else next(results)

    def _extract_all(self, postings: list[JobPosting]) -> list[JobResult]:
        """Results of a batch; if it fails as a whole, each ad is tried alone."""
        try:
            return self._results(postings)
        except Exception as error:  # noqa: BLE001 - one bad ad must not cost the others
            if len(postings) == 1:
                reason = f"ad {postings[0].id!r}: {type(error).__name__}: {error}"
                return [JobResult(id=postings[0].id, error=reason)]
            return [result for posting in postings for result in self._extract_all([posting])]

    def _results(self, postings: Sequence[JobPosting]) -> list[JobResult]:
        languages = [detect_language(posting.text) for posting in postings]
        read = [language in (None, ENGLISH) for language in languages]
        docs = iter(self._docs(list(compress(postings, read))))
        return [
            self._to_result(posting, next(docs), language)
            if is_read
            else self._unread(posting, str(language))
            for posting, language, is_read in zip(postings, languages, read, strict=True)
        ]

    def _unread(self, posting: JobPosting, language: str) -> JobResult:
        """Report an ad in a language that is not read, rather than guess at its words."""
        name = LANGUAGE_NAMES.get(language, "another language")
        reason = f"the ad is in {name} ({language}); only English is read"
        abstained = RoleAssessment(label=None, nearest=None, probabilities={}, abstained=reason)
        return JobResult(
            id=posting.id,
            language=language,
            role=abstained if self.nlp.has_pipe("jobshift_roles") else None,
            provenance=self.provenance,
        )

    def _docs(self, postings: Sequence[JobPosting]) -> list[Doc]:
        docs = []
        for posting in postings:
            # Markup is blanked out in place, so offsets stay those of the raw text.
            doc = make_doc(self.nlp, mask_markup(posting.text))
            doc._.jobshift_title = posting.title
            docs.append(doc)
        return list(self.nlp.pipe(docs, batch_size=max(1, len(docs))))

    def spans_batch(self, texts: Sequence[str]) -> list[list[FoundSpan]]:
        """Find the spans of texts that name skills and knowledge, listed in a taxonomy or not.

        Args:
            texts: Ads, raw, or sentences of them.

        Returns:
            For each text its spans in order; none in an ad's title and what describes the employer.

        Raises:
            InvalidPostingError: A text is empty, too long or broken.
        """
        texts = _readable(texts)
        docs = (make_doc(self.nlp, mask_markup(text)) for text in texts)
        read = list(run_pipes(self.nlp, docs, ("jobshift_zones", "jobshift_spans")))
        groups = [doc.spans["skill_spans"] for doc in read]
        return [
            [
                FoundSpan(span.start_char, span.end_char, span.label_, score)
                for span, score in zip(group, group.attrs["score"], strict=True)
            ]
            for group in groups
        ]

    def link_batch(self, texts: Sequence[str], *, k: int = 10) -> list[list[Candidate]]:
        """Rank the skills of the taxonomy for texts, without a threshold.

        Args:
            texts: Sentences or phrases.
            k: How many concepts are returned at most.

        Returns:
            For each text its concepts, best first.

        Raises:
            ValueError: k is less than 1.
            InvalidPostingError: A text is empty, too long or broken.
        """
        _refuse_less_than_one(k)
        texts = _readable(texts)
        linker: SkillLinker = self.nlp.get_pipe("jobshift_linker")  # type: ignore[assignment]
        return [
            [
                self._candidate(linker.resources.index.skills.concepts[c].id, float(p))
                for c, p in zip(ranking.concepts[:k], ranking.probabilities[:k], strict=True)
            ]
            for ranking in linker.linker.rank(linker.queries_of(read_sentences(self.nlp, texts)))
        ]

    def link(self, text: str, *, k: int = 10) -> list[Candidate]:
        """Rank the skills of the taxonomy for one text; see `link_batch`."""
        return self.link_batch([text], k=k)[0]

    def occupations_batch(
        self, titles: Sequence[str], texts: Sequence[str] | None = None, *, k: int = 10
    ) -> list[list[OccupationMatch]]:
        """Rank the occupations of the taxonomy for job titles.

        Args:
            titles: Job titles.
            texts: For each title what the ad says of the work, or ""; the first 400 characters
                count, as in an ad.
            k: How many occupations are returned at most.

        Raises:
            ArtefactError: The engine was loaded for skills only.
            TypeError: A title or text is no string.
            ValueError: There are not as many texts as titles, or k is less than 1.
            InvalidPostingError: A title or text is too long or broken.
        """
        _refuse_less_than_one(k)
        if not self.nlp.has_pipe("jobshift_occupations"):
            raise ArtefactError("this engine finds no occupations: load it without skills_only")
        titles = _strings("title", titles)
        texts = None if texts is None else _strings("text", texts)
        if texts is not None and len(texts) != len(titles):
            raise ValueError(f"{len(titles)} titles and {len(texts)} texts; give one text a title")
        for number, (title, text) in enumerate(zip_longest(titles, texts or ()), start=1):
            JobPosting(id=f"title {number}", title=title, text=text or "-").check()
        occupations: Occupations = self.nlp.get_pipe("jobshift_occupations")  # type: ignore[assignment]
        works = [[text[:OCCUPATION_TEXT]] for text in texts or [""] * len(titles)]
        return occupations.rank(titles, works, k=k)

    def requirements(self, text: str, spans: Sequence[tuple[int, int]]) -> list[Requirement]:
        """Say how a text asks for what stands at given places.

        Args:
            text: An ad or a sentence of one.
            spans: Offsets (start, end) in the text.

        Raises:
            InvalidPostingError: The text is blank, too long or broken.
            ValueError: A span is empty or lies outside of the text.
        """
        JobPosting(id="text", text=text).check()
        spans = list(spans)
        for start, end in spans:
            if not 0 <= start < end <= len(text):
                raise ValueError(
                    f"the span ({start}, {end}) is empty or lies outside of the text of "
                    f"{len(text):,} characters"
                )
        zones = self.nlp.get_pipe("jobshift_zones")
        return requirements_of(zones(make_doc(self.nlp, mask_markup(text))), spans)

    def _candidate(self, concept_id: str, score: float) -> Candidate:
        concept = self.taxonomy[concept_id]
        return Candidate(concept_id=concept.id, label=concept.label, kind=concept.kind, score=score)

    def _to_result(self, posting: JobPosting, doc: Doc, language: str | None) -> JobResult:
        """Copy strings and numbers out of a document: nothing of spaCy leaves the engine."""
        return JobResult(
            id=posting.id,
            skills=self._skills(posting.text, doc),
            tasks=_tasks(posting.text, doc),
            occupations=tuple(
                OccupationMatch(**match) for match in doc._.jobshift_occupations or ()
            ),
            role=_role(posting.text, doc),
            zones=_zones(doc),
            qualifications=tuple(
                Qualification(**_quoted(posting.text, record))
                for record in doc.spans["qualifications"].attrs["record"]
            ),
            experience=Experience(**_quoted(posting.text, doc._.jobshift_experience))
            if doc._.jobshift_experience
            else None,
            language=language,
            provenance=self.provenance,
        )

    def _skills(self, text: str, doc: Doc) -> tuple[Skill, ...]:
        group = doc.spans["skills"]
        attrs = group.attrs
        matches = [
            SkillMatch(
                start=attrs["start"][i],
                end=attrs["end"][i],
                text=text[attrs["start"][i] : attrs["end"][i]],
                concept_id=span.kb_id_,
                label=self.taxonomy[span.kb_id_].label,
                kind=span.label_,
                score=attrs["score"][i],
                method=attrs["method"][i],
                requirement=attrs["requirement"][i],
                zone=attrs["zone"][i],
                alternatives=tuple(self._candidate(c, p) for c, p in attrs["alternatives"][i]),
                level=attrs["level"][i],
                cefr=attrs["cefr"][i],
                years=Years(**attrs["years"][i]) if attrs["years"][i] else None,
            )
            for i, span in enumerate(group)
        ]
        matches.sort(key=lambda match: (match.concept_id, match.start))
        skills = []
        for concept_id, places in groupby(matches, key=lambda match: match.concept_id):
            found = tuple(places)
            mastery = join_mastery([Mastery(m.level, m.cefr, m.years) for m in found])
            skills.append(
                Skill(
                    concept_id=concept_id,
                    label=found[0].label,
                    kind=found[0].kind,
                    score=max(match.score for match in found),
                    requirement=min((m.requirement for m in found), key=STRENGTH.__getitem__),
                    matches=found,
                    level=mastery.level,
                    cefr=mastery.cefr,
                    years=mastery.years,
                )
            )
        skills.sort(key=lambda skill: (-skill.score, skill.concept_id))
        return tuple(skills)


def _to_posting(item: object, number: int) -> JobPosting | JobResult:
    """An item of a batch as a posting; one that is no ad, such as None, as an error."""
    if isinstance(item, JobPosting | JobResult):
        return item
    if isinstance(item, str):
        return JobPosting(id=str(number), text=item)
    reason = f"ad {number} is {item!r:.80}; give a text or a JobPosting"
    return JobResult(id=str(number), error=reason)


def _refuse_less_than_one(k: int) -> None:
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k is {k!r}, wanted a number of at least 1")


def _readable(texts: Sequence[str]) -> list[str]:
    """Texts as a list, each of them checked."""
    found = _strings("text", texts)
    for number, text in enumerate(found, start=1):
        JobPosting(id=f"text {number}", text=text).check()
    return found


def _strings(what: str, items: Iterable[str]) -> list[str]:
    """Items as a list, each of which is a string."""
    if isinstance(items, str):
        raise TypeError(f"this takes many {what}s; put a single one into a list")
    found = list(items)
    for number, item in enumerate(found, start=1):
        if not isinstance(item, str):
            raise TypeError(f"{what} {number} is {item!r:.80}, wanted a string")
    return found


def _checked(posting: JobPosting) -> JobPosting | JobResult:
    try:
        posting.check()
    except InvalidPostingError as error:
        return JobResult(id=posting.id, error=str(error))
    return posting


def _as_one_sentence(doc: Doc) -> Doc:
    set_sentence_starts(doc, [0])
    return doc


def _tasks(text: str, doc: Doc) -> tuple[TaskMatch, ...]:
    if "tasks" not in doc.spans:
        return ()
    attrs = doc.spans["tasks"].attrs
    return tuple(
        TaskMatch(start=start, end=end, text=text[start:end], scores=TaskScores(**scores))
        for start, end, scores in zip(attrs["start"], attrs["end"], attrs["scores"], strict=True)
    )


def _role(text: str, doc: Doc) -> RoleAssessment | None:
    if not doc._.jobshift_role:
        return None
    evidence = [_quoted(text, record) for record in doc._.jobshift_role["evidence"]]
    return RoleAssessment(**doc._.jobshift_role | {"evidence": evidence})


def _quoted(text: str, record: dict[str, Any]) -> dict[str, Any]:
    """A record with the words of the ad, where the document has blanks for its markup."""
    if record.get("start") is None:
        return record
    return record | {"text": text[record["start"] : record["end"]]}


def _zones(doc: Doc) -> tuple[Zone, ...]:
    attrs = doc.spans["zones"].attrs
    return tuple(
        Zone(start=start, end=end, label=label)
        for start, end, label in zip(attrs["start"], attrs["end"], attrs["label"], strict=True)
    )
