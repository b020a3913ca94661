"""Homonyms: whether a name that is also an ordinary word, a person or a place is meant as a name.

"Go", "Excel", "Spring", "Julia" and "Word" name tools, and much else. What stands around such a
word speaks for the name (a small "in Go, Rust or C" list, "experience with", a version number, a
capital within a sentence) or against it ("Spring Health", "you excel at", "a swift response",
"Julia will"). The evidence is added up, and how much is needed depends on how doubtful the word
is. The rules are general: none of them knows a word by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from extractor.language import LANGUAGE_NAMES


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Doubt(StrEnum):
    """Why a name may mean something else, from the least to the most doubtful.

    Attributes:
        none: The name is not judged.
        firm: It has no other reading, but the name of a company may begin with it ("Salesforce").
        acronym: The same, if it is written so ("SQL").
        language: It may be said of people, places and things, too ("Italian").
        proper: Persons, places or animals bear it, too ("Julia", "Java").
        everyday: Written small, it is a word of every day ("Excel", "Go").
        product: The same, and its own name is longer ("Word" for "Microsoft Word").
        letter: A single letter ("R").
    """

    none = "none"
    firm = "firm"
    acronym = "acronym"
    language = "language"
    proper = "proper"
    everyday = "everyday"
    product = "product"
    letter = "letter"


NEEDED = {
    Doubt.proper: 0,
    Doubt.everyday: 2,
    Doubt.product: 3,
    Doubt.letter: 3,
}
"""Least evidence for each kind of doubt."""
NEEDED_SMALL_ACRONYM = 2
"""The same for an acronym that is not written as one ("sql")."""
NEEDED_CAPITALS = 1
"""The same for a proper name in capitals, which may be an acronym ("ADA")."""

PROPER_NAMES = _words(
    """
    ada alice angela austin azure babel bard cassandra cisco claude darwin django docker eiffel
    galaxy gemini google hyperion java jekyll jenkins julia kafka kismet lisp maltego maple maya
    mendel mercury meta miro oberon oracle pascal pegasus python romany ruby sakai sas scala
    shiva stata thunderbird tomcat travis twitter ventura wolfram yahoo
    """
)
"""Names of tools that persons, places, animals, gods or companies bear, too."""

EVERYDAY_WORDS = _words(
    """
    access acrobat airflow amber angular ant aspen assembly audacity babel backbone bash beam
    beehive bing blender blink bloomz bootstrap box canvas cents chef cinema clipper compounder
    concur confluence copilot cubic cucumber cyclone cypress dart distiller domino drill eclipse
    edge elixir ember enigma entourage epic epics ethereal excel express fabric ferret flash
    flask flow flume flutter gazebo go grail groovy hive honeypot hotspot icon impala intercom
    inventor jasmine keynote lightning litchi looker loom mag maven meteor mocha motion myrtle
    nest notion numbers orange outlook pages pandas paradox pear penultimate perforce piazza pig
    pinecone pipedrive playwright polish postman prefect premiere presenter presto processing
    publisher pulsar puppet quicken react redux rust safari sage salt samba scheme scratch
    seesaw selenium shell sketch slack smalltalk snort snowflake spark spring square stan storm
    swagger swift swing tableau tadpoles teams unity vagrant vault velvet wiki word workday zoom
    """
)
"""Words that ads use in their own sense and that are names of tools besides.

The descriptions of a taxonomy show most everyday words; these they do not. Chosen from the names
of O*NET's tools and our supplement that are in the SPECIALIST Lexicon (US National Library of
Medicine), and from further names of software."""

CUES_BEFORE = _words(
    """
    advanced background built certified code coded coder coders coding command configure
    configuring developed developer developers developing development experience experienced
    expertise familiar familiarity fluency fluent framework frameworks hands intermediate know
    knowledge language languages literate microsoft ms operate package packages proficiency
    proficient programmer programmers programming query scripted scripting scripts skilled
    skills software stack suite technologies tool tooling tools understanding use using via
    worked written
    """
)
CUES_BEHIND = _words(
    """
    admin administration administrator api apis app apps backend certification code codebase
    coder coders coding consultant cookbook cookbooks database databases dba desirable developer
    developers development ecosystem engineer engineers experience expert framework frameworks
    frontend knowledge language libraries library macros manifests native plugin plugins plus
    preferred proficiency programmer programmers programming queries query script scripting
    scripts skills software spreadsheet spreadsheets sql stack suite
    """
)
CUES_AROUND = CUES_BEFORE | CUES_BEHIND
GRADES = frozenset(
    {"advanced", "basic", "good", "intermediate", "junior", "lead", "microsoft", "ms", "office"}
    | {"principal", "senior", "solid", "strong", "apache", "google", "adobe", "autodesk", "apple"}
)
"""Capitalised words before a name that do not belong to it."""
LEGAL_FORMS = _words(
    """
    ag co company corp corporation enterprises gmbh inc limited llc ltd partners plc se sons
    """
)
COMPANY_FORMS = LEGAL_FORMS | _words(
    """
    bank college county foundation group health hospital hotel hotels insurance international
    lodge logistics restaurant school solutions station store stores systems technologies
    university
    """
)
DETERMINERS = _words(
    """
    a an any each every her his its no our that the their these this those your
    """
)
VERB_BEFORE = _words(
    """
    always can could i may must not please should that they to we who will you
    """
)
VERB_BEHIND = _words(
    """
    a an at away beyond calmly further in into it our out outside quickly the their this through
    to up us you your
    """
)
PERSON_BEFORE = _words(
    """
    ask call called colleague contact dear dr leader manager miss mr mrs ms named
    """
)
ADDRESSED = _words(
    """
    application applications apply cv email letter report speak talk write
    """
)
SUBJECT_BEHIND = _words(
    """
    believes employs flies from hires invites needs offers runs seeks wants will would
    """
)
SEEKING = _words(
    """
    expanding growing hiring looking recruiting seeking
    """
)
PLACE_BEFORE = _words(
    """
    based born live lives living located office offices
    """
)
ABLE_AT = _words(
    """
    adept expert good great proficient skilled
    """
)

LANGUAGES = frozenset({"English", *LANGUAGE_NAMES.values()})
ORIGIN_OF = _words(
    """
    army authorities automotive bakery bar brand brands cafe car carmaker cars cheese chef
    chefs citizens citizenship coast coffee companies company cooking cuisine delicatessen dish
    dishes economy firm firms food foods football furniture gaap government headquarters hq
    industries industry kitchen law laws mainland maker makers manufacturer manufacturers
    massage medicine multinational mythology nationality nationals navy oven parent parliament
    passport passports pastry pizza police region regions residency restaurant restaurants
    retailer retailers shop shops store stores subsidiary takeaway territory wine wines
    """
)
"""What has an origin: before it, the name of a language is no language. Customers, markets and
documents are left out, since who deals with them needs their language."""
OF_LANGUAGE = _words(
    """
    bilingual fluency fluent fluently interpret interpreter interpreting language languages mother
    multilingual native speak speaker speakers speaking speaks spoken subtitles teach teacher
    teaches teaching tongue translate translates translating translation translations translator
    translators write writing written
    """
)
"""Words of a sentence that is about languages."""

BREAK = re.compile(r"[.!?•●▪\n]")
ABBREVIATED = frozenset({"g", "e", "i", "etc", "incl"})
"""Words before a full stop that ends no sentence: "e.g."."""
LIST_GLUE = frozenset({",", "/", "", "and", "or", "with", "&", ", and", ", or", ";", "|", "(", "+"})
USED_BY = frozenset({"in", "with", "via"})
NUMBER = re.compile(r"^ v?\d[\w.]*")
VERSION = re.compile(r"v?\d{1,9}(?:\.\d{1,9}){0,9}[a-z]{0,2}$")
YEAR = re.compile(r"(?:19|20)\d\d")
NEAR = 5
WIDE = 12
"""How many words to each side are looked at."""


class Place(NamedTuple):
    """A name in a text, by the words that it takes.

    Attributes:
        first: Number of its first word.
        last: Number of its last word.
        tool: Whether it is the name of something, no ordinary phrase.
        doubtful: Whether it may mean something else.
    """

    first: int
    last: int
    tool: bool
    doubtful: bool


class Context:
    """The words of a text and the names among them, to judge names by.

    Args:
        text: The text.
        spans: Offsets of its words.
        places: Names that stand in it, in order, doubtful ones included.
    """

    def __init__(
        self, text: str, spans: Sequence[tuple[int, int]], places: Sequence[Place]
    ) -> None:
        self.text = text
        self.spans = spans
        self.places = places
        self._known = {
            word for place in places if place.tool for word in range(place.first, place.last + 1)
        }

    def is_meant(self, number: int, name: str, doubt: Doubt) -> bool | None:
        """Whether a name is meant as such.

        Args:
            number: Number of its place.
            name: The name as the taxonomy writes it.
            doubt: What it may be confused with.

        Returns:
            True or False, or None where the context says too little for it and nothing against it.
        """
        place = self.places[number]
        first, last = place.first, place.last
        start, end = self.spans[first][0], self.spans[last][1]
        written = self.text[start:end]
        exact = written == name
        if doubt is Doubt.firm or (doubt is Doubt.acronym and exact):
            return not self._is_company(last, LEGAL_FORMS)
        if exact and first == 0 and last == len(self.spans) - 1:
            return True  # the whole text: somebody asks for the name
        if doubt is Doubt.language:
            around = (*self._before(first, WIDE), *self._behind(last, WIDE))
            is_origin = OF_LANGUAGE.isdisjoint(around) and self._is_origin(last)
            return not (is_origin or self._is_company(last, LEGAL_FORMS))
        small = written.islower()
        if not exact and (doubt is Doubt.letter or (name.isupper() and not small)):
            return None
        if doubt is not Doubt.proper and self._is_glued(start, end):
            return None
        mates = self._list_mates(number)
        before, behind = self._before(first, WIDE), self._behind(last, WIDE)
        cues = CUES_BEFORE.intersection(before[:3]) or USED_BY.intersection(before[:1])
        if doubt is Doubt.product and not mates and not cues:
            return None
        others = self._others(place, len(before), len(behind))
        case = 0
        if doubt in (Doubt.everyday, Doubt.product) and small and not exact:
            if not mates:
                return False
            case = -2
        elif (
            (exact or doubt is not Doubt.proper)
            and _stands_out(written, others, bool(before))
            and not (written.isupper() and self._is_shouted(first, last))
        ):
            case = 2
        evidence = case + self._for(number, mates, before, behind)
        evidence += self._against(first, last, before, behind, case)
        if not _is_heading(others):
            evidence += self._in_longer_name(first, last)
        if doubt is Doubt.acronym:
            needed = NEEDED_SMALL_ACRONYM
        elif doubt is Doubt.proper and not exact and not small:
            needed = NEEDED_CAPITALS
        else:
            needed = NEEDED[doubt]
        return True if evidence >= needed else None if evidence >= 0 else False

    def _word(self, index: int) -> str:
        start, end = self.spans[index]
        return self.text[start:end]

    def _gap(self, index: int) -> str:
        """What stands between a word and the next one."""
        return self.text[self.spans[index][1] : self.spans[index + 1][0]]

    def _before(self, first: int, count: int) -> list[str]:
        """Words before one in its sentence, the nearest first, in small letters."""
        words: list[str] = []
        index = first
        while index > 0 and len(words) < count:
            if BREAK.search(self._gap(index - 1)) and self._word(index - 1) not in ABBREVIATED:
                break
            index -= 1
            words.append(self._word(index).lower())
        return words

    def _behind(self, last: int, count: int) -> list[str]:
        """Words behind one in its sentence, in small letters."""
        words: list[str] = []
        index = last
        while (
            index + 1 < len(self.spans)
            and len(words) < count
            and not BREAK.search(self._gap(index))
        ):
            index += 1
            words.append(self._word(index).lower())
        return words

    def _is_glued(self, start: int, end: int) -> bool:
        """Whether a sign makes it part of another word: "R&D", "C-suite", "example.com"."""
        before, behind = self.text[max(0, start - 1) : start], self.text[end : end + 1]
        return (
            before != "" and before in "&'’-_@.?=" and self.text[max(0, start - 2)].isalnum()
        ) or (behind != "" and behind in "&'’-_@" and self.text[end + 1 : end + 2].isalnum())

    def _others(self, place: Place, before: int, behind: int) -> list[str]:
        """Words around a name that tell how its sentence is written; no names, no first word.

        Args:
            place: The place of the name.
            before: Number of words before it in its sentence, `WIDE` at most.
            behind: The same behind it.
        """
        first, last = place.first, place.last
        start = first - before + (before < WIDE)
        words = [
            self._word(index)
            for index in (*range(start, first), *range(last + 1, last + 1 + behind))
            if index not in self._known and self._word(index).isalpha()
        ]
        long = [word for word in words if len(word) > 3]
        return long if len(long) > 2 else words

    def _for(
        self, number: int, mates: Sequence[Place], before: Sequence[str], behind: Sequence[str]
    ) -> int:
        """Evidence for the name."""
        first, last = self.places[number].first, self.places[number].last
        evidence = min(4, sum(2 if mate.doubtful else 3 for mate in mates))
        if not before and not behind:
            evidence += 2
        if not CUES_BEFORE.isdisjoint(before[:NEAR]):
            evidence += 2
        if (
            behind
            and VERSION.match(behind[0])
            and self._gap(last) == " "
            and not (YEAR.fullmatch(behind[0]) and before[:1] == ["in"])
        ):
            evidence += 3
        elif not CUES_BEHIND.isdisjoint(behind[:3]):
            evidence += 2
        elif not CUES_AROUND.isdisjoint((*before, *behind)):
            evidence += 1
        if not mates and self._names_around(number, first - len(before), last + len(behind)) > 1:
            evidence += 2
        if before and before[0] in USED_BY and PLACE_BEFORE.isdisjoint(before[:4]):
            evidence += 1
        return evidence

    def _names_around(self, number: int, first: int, last: int) -> int:
        """How many sure names of tools stand in a stretch of words, of the nearest six."""
        near = (*self.places[max(0, number - 3) : number], *self.places[number + 1 : number + 4])
        return sum(
            place.tool and not place.doubtful and first <= place.first and place.last <= last
            for place in near
        )

    def _list_mates(self, number: int) -> list[Place]:
        """The nearest names of its list: up to two on each side."""
        mates: list[Place] = []
        for step in (-1, 1):
            here = number
            for _ in range(2):
                other = here + step
                if not 0 <= other < len(self.places) or not self.places[other].tool:
                    break
                left, right = sorted((here, other))
                gap = self.text[
                    self.spans[self.places[left].last][1] : self.spans[self.places[right].first][0]
                ]
                if len(gap) > 8:
                    break
                glue = NUMBER.sub("", gap).strip(" \n\t\r-•*·").lower()
                if glue not in LIST_GLUE:
                    break
                if not glue and "\n" not in gap and not self._are_tags(here, other):
                    break
                mates.append(self.places[other])
                here = other
        return mates

    def _are_tags(self, here: int, other: int) -> bool:
        """Whether two names are of a list without commas: "java spring docker"."""
        small = all(self._word(self.places[n].first).islower() for n in (here, other))
        return small and not self.places[other].doubtful

    def _against(
        self, first: int, last: int, before: Sequence[str], behind: Sequence[str], case: int
    ) -> int:
        """Evidence against the name, negative."""
        previous, following = before[0] if before else "", behind[0] if behind else ""
        near = before[:4]
        evidence = 0
        if self._is_company(last, COMPANY_FORMS):
            evidence -= 5
        if following in SUBJECT_BEHIND or (following in {"is", "are"} and SEEKING & {*behind[1:2]}):
            evidence -= 3
        if previous in PERSON_BEFORE or (previous == "to" and not ADDRESSED.isdisjoint(near)):
            evidence -= 3
        if previous == "in" and (
            not PLACE_BEFORE.isdisjoint(near) or YEAR.fullmatch(following or " ")
        ):
            evidence -= 3
        if previous == "join" or (previous == "at" and ABLE_AT.isdisjoint(near)):
            evidence -= 3
        if previous == "as" and "such" not in near[1:2]:
            evidence -= 3
        if previous in DETERMINERS and following not in CUES_BEHIND:
            evidence -= 1 if case > 0 else 3
        if case <= 0 and previous in VERB_BEFORE:
            evidence -= 2
        if case <= 0 and following in VERB_BEHIND and self._gap(last).isspace():
            evidence -= 2
        return evidence

    def _is_origin(self, last: int) -> bool:
        """Whether something follows that has an origin: "Chinese or Italian restaurants"."""
        index, named = last + 1, True
        while index < len(self.spans):
            word, gap = self._word(index), self._gap(index - 1).replace("\u00a0", " ")
            if gap.strip() != gap.strip(" "):
                return False  # another line, or another cell
            gap = gap.strip()
            if named and not gap and word.lower() in ORIGIN_OF:
                return True
            joins = named and word in ("and", "or")
            if not joins and not (word in LANGUAGES and (gap in (",", "/", "&") or not named)):
                return False
            index, named = index + 1, not joins
        return False

    def _is_company(self, last: int, forms: frozenset[str]) -> bool:
        """Whether "Ltd", "Bank" and the like follow, with a capital; "& Sons", too."""
        index = last + 1
        if index + 1 < len(self.spans) and self._word(index) == "&":
            index += 1
        if index >= len(self.spans) or self._gap(index - 1) != " ":
            return False
        word = self._word(index)
        return word[0].isupper() and word.lower() in forms

    def _is_shouted(self, first: int, last: int) -> bool:
        """Whether a word beside a name is written in capitals, too: "LESS PAPERWORK"."""
        beside = [
            index
            for index, gap in ((first - 1, first - 1), (last + 1, last))
            if 0 <= index < len(self.spans) and self._gap(gap) == " "
        ]
        return any(
            self._word(index).isupper() and len(self._word(index)) > 1
            for index in beside
            if index not in self._known
        )

    def _in_longer_name(self, first: int, last: int) -> int:
        """Evidence against a name that capitalised words continue: "Rust Belt", "La Scala"."""
        if last + 1 < len(self.spans) and self._gap(last) == " " and last + 1 not in self._known:
            word = self._word(last + 1)
            if word.istitle() and len(word) > 1 and word.lower() not in CUES_AROUND:
                return -3
        if first < 2 or self._gap(first - 1) != " " or first - 1 in self._known:
            return 0
        word = self._word(first - 1)
        starts = bool(BREAK.search(self._gap(first - 2)) or ":" in self._gap(first - 2))
        usual = word.lower() in GRADES or word.lower() in CUES_BEFORE
        return -3 if word[0].isupper() and len(word) > 1 and not starts and not usual else 0


def _stands_out(written: str, others: Sequence[str], inside: bool) -> bool:
    """Whether its capitals show a name: not where a sentence begins, nor in a heading."""
    if written.isupper() and len(written) > 1:
        return bool(others) and sum(word.isupper() for word in others) * 2 < len(others)
    return inside and written[0].isupper() and not _is_heading(others, least=1)


def _is_heading(others: Sequence[str], least: int = 2) -> bool:
    """Whether most words of a sentence have capitals, so that they say nothing."""
    capitals = sum(word[0].isupper() for word in others)
    return len(others) >= least and capitals * 2 > len(others)
