"""The index of a taxonomy: every name of every concept, embedded and tokenised, on disk.

An index holds surface forms; a result holds concepts. Forms of one concept lie side by side,
the preferred label first, so the best form of each concept is one `maximum.reduceat` away.
Concepts are searched by the mean of their names, without an approximation by cells or graphs: some
15,000 need none. The lexical side is BM25 over stemmed words. What is large is read by memory map,
so processes share it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import bm25s
import faiss
import numpy as np
import Stemmer
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import taxonomies
from extractor.encoders import encode, load_encoder
from extractor.errors import ArtefactError
from extractor.int8 import Search, Table, is_able
from extractor.interfaces import Encoder, Vectors
from extractor.mentions import MentionMatcher, surface_forms
from taxonomies import Concept, Taxonomy
from taxonomies.records import SKILL_KINDS
from taxonomies.text import base_name

SCHEMA_VERSION = 7
"""Raised whenever files or the rules that names are matched by change."""
ENCODE_AT_ONCE = 4096
MANY = 2000
"""Concepts from which on they are searched in 8-bit integers."""
DAMAGED = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    BadZipFile,
    SafetensorError,
)
"""What reading a damaged file can raise."""
NUMBERS = np.dtype([("start", "<i8"), ("bare", "<i8"), ("label_words", "<f4")])
"""What an index holds of each concept; see `FormIndex`."""

Progress = Callable[[int, int], None]
"""Called with the number of names encoded so far and the number of all."""


def tokenize(texts: Sequence[str]) -> list[list[str]]:
    """Split texts into stemmed lower-case words without stop words, for lexical search."""
    tokens: list[list[str]] = bm25s.tokenize(
        list(texts),
        stopwords="en",
        stemmer=Stemmer.Stemmer("english"),
        token_pattern=r"(?u)[\w+#]+",  # noqa: S106 - keeps "C++" and "C#", not a password
        show_progress=False,
        return_ids=False,
    )
    return tokens


class WordScores(NamedTuple):
    """BM25 of a text against every concept.

    Attributes:
        concepts: Positions of those that share a word with the text, ascending, shape (n,).
        scores: Their scores, shape (n,); all others have 0.
        total: Number of all concepts.
    """

    concepts: NDArray[np.int64]
    scores: Vectors
    total: int

    def best(self, count: int) -> NDArray[np.int64]:
        """Positions of the concepts with the highest scores, at most so many."""
        scores, concepts = self.scores, self.concepts
        if len(scores) > count:
            least = np.partition(scores, -count)[-count]
            scores, concepts = scores[scores >= least], concepts[scores >= least]
        return concepts[np.argsort(-scores, kind="stable")[:count]]

    def standardised(self, concepts: NDArray[np.int64]) -> Vectors:
        """Scores of some concepts in standard deviations from the mean of all."""
        mean = float(self.scores.sum()) / self.total
        spread = math.sqrt(max(0.0, float(np.square(self.scores).sum()) / self.total - mean**2))
        found = np.zeros(len(concepts), dtype=np.float32)
        if len(self.concepts):
            at = np.minimum(np.searchsorted(self.concepts, concepts), len(self.concepts) - 1)
            found = np.where(self.concepts[at] == concepts, self.scores[at], 0.0)
        return ((found - mean) / (spread or 1.0)).astype(np.float32)


@dataclass(frozen=True)
class FormIndex:
    """Surface forms of the concepts of some kinds, to be searched by vector and by word.

    Attributes:
        concepts: The concepts, in the order of the taxonomy.
        starts: Row of the first form (the label) of each concept, shape (len(concepts),).
        bare: Row of the label without its bracketed qualifier, the label's own row where it
            has none, shape (len(concepts),).
        label_words: Number of words in each concept's label, without stop words.
        forms: The forms' unit vectors.
        means: Exact inner-product index over one vector for each concept that is no tool: the mean
            of its forms'.
        lexical: BM25 over the forms' words.
        matcher: Finds the forms in text, word for word.
    """

    concepts: tuple[Concept, ...]
    starts: NDArray[np.int64]
    bare: NDArray[np.int64]
    label_words: Vectors
    forms: Table
    means: faiss.IndexFlatIP
    lexical: bm25s.BM25
    matcher: MentionMatcher

    @classmethod
    def build(
        cls, concepts: Sequence[Concept], encoder: Encoder, *, progress: Progress | None = None
    ) -> FormIndex:
        """Encode and tokenise every name of the concepts.

        Args:
            concepts: At least one concept.
            encoder: Encodes each distinct name once.
            progress: Called after every few thousand names.

        Raises:
            ArtefactError: There is no concept to index.
        """
        if not concepts:
            raise ArtefactError(
                f"the taxonomy has no concept of the kinds {', '.join(SKILL_KINDS)}; there is "
                "nothing that an ad could ask for"
            )
        names = [name for concept in concepts for name in surface_forms(concept)]
        distinct = sorted(set(names), key=len)
        row_of = {name: row for row, name in enumerate(distinct)}
        vectors = np.empty((len(distinct), encoder.dimension), dtype=np.float32)
        for start in range(0, len(distinct), ENCODE_AT_ONCE):
            batch = distinct[start : start + ENCODE_AT_ONCE]
            vectors[start : start + len(batch)] = encode(encoder, batch)
            if progress is not None:
                progress(start + len(batch), len(distinct))
        of_names = vectors[[row_of[name] for name in names]]
        starts, bare = _rows(concepts)
        sums = np.add.reduceat(of_names, starts, axis=0)
        sums = sums[[concept.kind != "tool" for concept in concepts]]
        means = faiss.IndexFlatIP(encoder.dimension)
        means.add(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))
        lexical = bm25s.BM25()
        lexical.index(tokenize(names), show_progress=False)
        matcher = MentionMatcher.build(concepts)
        labels = tokenize([base_name(concept.label) for concept in concepts])
        words = np.fromiter(map(len, labels), dtype=np.float32)
        forms = Table.of(of_names)
        return cls(tuple(concepts), starts, bare, words, forms, means, lexical, matcher)

    def to_disk(self, folder: Path) -> None:
        """Write the index into an empty or missing folder."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            save_file(self.forms._asdict(), folder / "forms.safetensors")
            faiss.write_index(self.means, str(folder / "means.faiss"))
        except (RuntimeError, SafetensorError) as error:  # how they report a full disk
            raise OSError(f"the vectors in {folder}: {error}") from error
        numbers = np.empty(len(self.concepts), dtype=NUMBERS)
        numbers["start"], numbers["bare"] = self.starts, self.bare
        numbers["label_words"] = self.label_words
        np.save(folder / "concepts.npy", numbers)
        self.lexical.save(str(folder / "bm25"), show_progress=False)
        self.matcher.to_disk(folder / "names.arrow")

    @classmethod
    def from_disk(cls, folder: Path, concepts: Sequence[Concept]) -> FormIndex:
        """Read an index by memory map.

        Args:
            folder: What `to_disk` wrote.
            concepts: The concepts that it was built from, in the same order.

        Raises:
            ArtefactError: A file is missing, damaged or of another number of concepts; that they
                are the same, `load_index` checks by hash.
        """
        try:
            numbers = np.load(folder / "concepts.npy")
            starts, bare, words = (
                np.ascontiguousarray(numbers[name]) for name in ("start", "bare", "label_words")
            )
            forms = Table(**load_file(folder / "forms.safetensors"))
            means = _read_flat(folder / "means.faiss")
            lexical = bm25s.BM25.load(str(folder / "bm25"), mmap=True)
        except DAMAGED as error:
            raise ArtefactError(f"the index in {folder} is missing or damaged: {error}") from error
        searched = sum(concept.kind != "tool" for concept in concepts)
        fits = (
            (len(starts), means.ntotal) == (len(concepts), searched)
            and forms.bytes.dtype == torch.int8
            and forms.bytes.shape == (len(forms.scales), means.d)
        )
        if not fits or starts.max(initial=-1) >= len(forms.scales):
            raise ArtefactError(f"the index in {folder} was built from other concepts")
        matcher = MentionMatcher.from_disk(folder / "names.arrow")
        index = cls(tuple(concepts), starts, bare, words, forms, means, lexical, matcher)
        _ = index._in_bytes  # now, so that processes that are forked later share it
        return index

    @cached_property
    def is_tool(self) -> NDArray[np.bool_]:
        """Which concepts are tools, shape (concepts,)."""
        return np.array([concept.kind == "tool" for concept in self.concepts])

    @cached_property
    def is_proper(self) -> NDArray[np.bool_]:
        """Which concepts have a proper name for a label: "Java", "SQL"; shape (concepts,)."""
        return np.array([not base_name(concept.label).islower() for concept in self.concepts])

    @cached_property
    def _searched(self) -> NDArray[np.int64]:
        """Concepts that are found by vector, in the order of `means`."""
        return np.flatnonzero(~self.is_tool)

    def nearest(self, vectors: Vectors, k: int) -> NDArray[np.int64]:
        """Concepts next to each vector, by the mean of their names.

        A concept has eight names on average, so this is a seventh of the work of searching all
        names, and what it finds is scored by its single names later. Tools are not found: nothing
        but their name means them.

        Args:
            vectors: Shape (queries, dimension), unit length.
            k: Concepts a query, cut to the number that there are.

        Returns:
            Positions of concepts, nearest first; shape (queries, k).
        """
        if not self.means.ntotal:
            return np.zeros((len(vectors), 0), dtype=np.int64)
        count = min(k, self.means.ntotal)
        if self._in_bytes is not None:
            rows: NDArray[np.int64] = self._in_bytes.nearest(
                torch.from_numpy(vectors), count
            ).numpy()
        else:
            _, rows = self.means.search(vectors, count)
        return self._searched[rows]

    @cached_property
    def _in_bytes(self) -> Search | None:
        """The search by `means` in 8-bit integers, where that is worth while and possible."""
        if self.means.ntotal < MANY or not is_able():
            return None
        return Search(torch.from_numpy(_vectors_of(self.means)))

    def similarities(self, asked: Table, positions: NDArray[np.int64]) -> tuple[Vectors, Vectors]:
        """Cosines of query vectors with the names of some concepts.

        Args:
            asked: The query vectors, of unit length.
            positions: Sorted positions of concepts, shape (n,), n at least 1.

        Returns:
            Cosine with the label, and with the best name (the label included), both of shape
            (queries, n).
        """
        counts = self._counts[positions]
        firsts = np.cumsum(counts) - counts
        rows = np.repeat(self.starts[positions] - firsts, counts) + np.arange(counts.sum())
        cosines = self.forms.products(rows, asked)
        bare = firsts + self.bare[positions] - self.starts[positions]
        label = np.maximum(cosines[firsts], cosines[bare])
        return label.T, np.maximum.reduceat(cosines, firsts, axis=0).T

    @cached_property
    def _postings(self) -> tuple[NDArray[np.int64], NDArray[np.int32], Vectors]:
        """What BM25 knows of words: where each begins, the rows of names with it, their scores."""
        table = self.lexical.scores
        # Slices of a plain array cost a third of those of a memory map.
        starts, names, scores = (np.asarray(table[n]) for n in ("indptr", "indices", "data"))
        return starts, names, scores

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """How many names each concept has, shape (concepts,)."""
        return np.diff(self.starts, append=len(self.forms.scales))

    @cached_property
    def _owners(self) -> NDArray[np.int64]:
        """Position of the concept that each name belongs to, shape (number of names,)."""
        return np.repeat(np.arange(len(self.concepts)), self._counts)

    @cached_property
    def _is_label(self) -> NDArray[np.bool_]:
        """Which names are labels, with or without their qualifier, shape (number of names,)."""
        found = np.zeros(len(self.forms.scales), dtype=np.bool_)
        found[self.starts] = found[self.bare] = True
        return found

    def lexical_scores(self, tokens: list[str], *, most: int | None = None) -> WordScores:
        """BM25 of a text against the names of every concept.

        Args:
            tokens: The text as `tokenize` splits it.
            most: Words of more names than these are passed over, unless the text has no others;
                they take most of the time.

        Returns:
            Of each concept the mean of its label's score and its best name's score.
        """
        starts, names, scores = self._postings
        known = self.lexical.get_tokens_ids([token for token in tokens if token])
        of_words = [slice(starts[word], starts[word + 1]) for word in known]
        if most is not None:
            rarer = [words for words in of_words if words.stop - words.start <= most]
            of_words = rarer or of_words
        if not of_words:
            return WordScores(np.zeros(0, np.int64), np.zeros(0, np.float32), len(self.concepts))
        # A text has words with few names in common, so only these are summed up.
        rows = np.concatenate([names[of_word] for of_word in of_words])
        values = np.concatenate([scores[of_word] for of_word in of_words])
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        firsts = _firsts(rows)
        rows, of_names = rows[firsts], np.add.reduceat(values[order], firsts)
        owners = self._owners[rows]
        firsts = _firsts(owners)
        label, best = (
            np.maximum.reduceat(scores, firsts)
            for scores in (of_names * self._is_label[rows], of_names)
        )
        return WordScores(
            owners[firsts], ((label + best) / 2).astype(np.float32), len(self.concepts)
        )


def _vectors_of(index: faiss.IndexFlatIP) -> Vectors:
    """Its vectors, a view that lives no longer than the index."""
    flat = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    view: Vectors = flat.reshape(index.ntotal, index.d)
    return view


def _firsts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Where each run of equal values begins, of at least one value."""
    return np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])


def _read_flat(path: Path) -> faiss.IndexFlatIP:
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if not isinstance(index, faiss.IndexFlatIP):
        raise ArtefactError(f"the index {path} is a {type(index).__name__}")
    return index


@dataclass(frozen=True)
class TaxonomyIndex:
    """Both indices of a taxonomy: what skills can be, and what occupations can be.

    Attributes:
        skills: Over concepts of the kinds `skill`, `knowledge` and `tool`.
        occupations: Over concepts of kind `occupation`; None if the taxonomy has none.
    """

    skills: FormIndex
    occupations: FormIndex | None

    @classmethod
    def build(
        cls, taxonomy: Taxonomy, encoder: Encoder, *, progress: Progress | None = None
    ) -> TaxonomyIndex:
        """Build both indices in memory; see `FormIndex.build`."""
        skills, occupations = _indexed(taxonomy)
        return cls(
            FormIndex.build(skills, encoder, progress=progress),
            FormIndex.build(occupations, encoder, progress=progress) if occupations else None,
        )


def _rows(concepts: Sequence[Concept]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of each concept's label, with and without its bracketed qualifier."""
    forms = [surface_forms(concept) for concept in concepts]
    starts = np.cumsum([0, *(len(names) for names in forms[:-1])], dtype=np.int64)
    offsets = [
        names.index(base_name(concept.label))
        for concept, names in zip(concepts, forms, strict=True)
    ]
    return starts, starts + np.asarray(offsets, dtype=np.int64)


def _indexed(taxonomy: Taxonomy) -> tuple[list[Concept], list[Concept]]:
    return list(taxonomy.of_kind(*SKILL_KINDS)), list(taxonomy.of_kind("occupation"))


def _folder(name: str, encoder_name: str) -> Path:
    """Where the index of an installed taxonomy lies for an encoder."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", encoder_name).strip("-")[-60:]
    digest = hashlib.sha256(encoder_name.encode()).hexdigest()[:8]
    return taxonomies.folder(name) / f"index-{slug}-{digest}"


def _manifest(taxonomy: Taxonomy, encoder: Encoder) -> dict[str, object]:
    return {
        "schema": SCHEMA_VERSION,
        "taxonomy": taxonomy.name,
        "taxonomy_sha256": taxonomy.sha256,
        "encoder": encoder.name,
        "dimension": encoder.dimension,
    }


def build_index(
    name: str, *, encoder: str | Encoder = "accurate", progress: Progress | None = None
) -> Path:
    """Build the index of an installed taxonomy, unless a fitting one is there.

    The folder is written beside its place and renamed, under a lock: an interrupted build
    leaves nothing behind that would be taken for an index, and two at once do the work once.

    Args:
        name: Name of an installed taxonomy.
        encoder: An encoder or the name of one.
        progress: Called after every few thousand names.

    Returns:
        The folder of the index.

    Raises:
        TaxonomyNotInstalledError: There is no such taxonomy in the cache.
        ArtefactError: The encoder cannot be loaded, or the taxonomy has no skill.
    """
    taxonomy = taxonomies.load(name)
    if isinstance(encoder, str):
        encoder = load_encoder(encoder)
    folder = _folder(name, encoder.name)
    manifest = _manifest(taxonomy, encoder)
    with _writing(folder), FileLock(f"{folder}.lock"):
        if _read_manifest(folder) == manifest | {"files": _hash_files(folder)}:
            return folder
        # Under the lock nobody else writes, so what lies here was left by a run that was killed.
        for stale in folder.parent.glob(f".{folder.name}~*"):
            shutil.rmtree(stale)
        index = TaxonomyIndex.build(taxonomy, encoder, progress=progress)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}~") as temporary:
            written = Path(temporary) / folder.name
            index.skills.to_disk(written / "skills")
            if index.occupations is not None:
                index.occupations.to_disk(written / "occupations")
            manifest["files"] = _hash_files(written)
            (written / "manifest.json").write_text(json.dumps(manifest, indent=2))
            shutil.rmtree(folder, ignore_errors=True)
            written.rename(folder)
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtefactError(
            f"{folder} cannot be written: {error.strerror or error}; make room there, or set "
            "JOBSHIFT_CACHE to another folder"
        ) from error


def _hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an index but its manifest, by path in the folder."""
    paths = [path for path in sorted(folder.glob("*/**/*")) if path.is_file()]
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        return {
            path.relative_to(folder).as_posix(): digest
            for path, digest in zip(paths, pool.map(_sha256, paths), strict=True)
        }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> dict[str, object] | None:
    """What the index was made from; empty if damaged, which fits nothing; None if missing."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def load_index(taxonomy: Taxonomy, encoder: Encoder) -> TaxonomyIndex:
    """Load the index of an installed taxonomy.

    Raises:
        ArtefactError: There is no index for this encoder, or it does not fit.
    """
    folder = _folder(taxonomy.name, encoder.name)
    found = _read_manifest(folder)
    mend = (
        f"build it with: jobshift taxonomy install {taxonomy.name} (and --encoder, unless it is "
        "the default one)"
    )
    if found is None:
        raise ArtefactError(
            f"taxonomy {taxonomy.name!r} has no index for encoder {encoder.name!r}; {mend}"
        )
    wanted = _manifest(taxonomy, encoder)
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ArtefactError(
                f"the index in {folder} has {key} {found.get(key)!r}, wanted {value!r}; {mend}"
            )
    files = _hash_files(folder)
    if found.get("files") != files:
        raise ArtefactError(f"a file of the index in {folder} is missing or was changed; {mend}")
    skills, occupations = _indexed(taxonomy)
    return TaxonomyIndex(
        FormIndex.from_disk(folder / "skills", skills),
        FormIndex.from_disk(folder / "occupations", occupations) if occupations else None,
    )
