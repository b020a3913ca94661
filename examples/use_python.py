"""Read one ad, then a file of ads, from Python: `python examples/use_python.py`."""

from pathlib import Path

from extractor import SkillExtractor
from extractor.files import read_postings

EXAMPLES = Path(__file__).parent


def main() -> None:
    """Print the role and the skills of the example ads."""
    extractor = SkillExtractor.load()

    text = (EXAMPLES / "data-analyst.txt").read_text(encoding="utf-8")
    result = extractor.extract(text, title="Data Analyst")
    print(result.role.label, result.role.probabilities)
    for skill in result.skills:
        place = skill.matches[0]
        words = text[place.start : place.end]  # offsets refer to the text as it was given
        print(f"{skill.score:.2f} {skill.requirement:9} {skill.label} <- {words!r}")

    for result in extractor.extract_batch(read_postings(EXAMPLES / "ads.jsonl")):
        print(result.id, result.error or (result.role.label, len(result.skills)))


if __name__ == "__main__":
    main()
