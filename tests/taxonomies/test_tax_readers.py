import builtins
import json
import zipfile

import pytest

from taxonomies import (
    Relation,
    TaxonomyError,
    TaxonomyFormatError,
    read_esco,
    read_onet,
    read_skos,
    read_table,
    read_taxonomy,
)

SKILL = "http://data.europa.eu/esco/skill/"
OCCUPATION = "http://data.europa.eu/esco/occupation/"
ISCO = "http://data.europa.eu/esco/isco/C"

ESCO = {
    "skills_en.csv": (
        "conceptUri,skillType,preferredLabel,altLabels,hiddenLabels,status,description\n"
        f'{SKILL}kites,skill/competence,build kites,"make\u200b kites\nkite building\nmake kites",'
        'kitebuilding,released,"Build kites, large and small."\n'
        f"{SKILL}wind,knowledge,wind,breeze | air movement,,released,\n"
        f"{SKILL}old,knowledge,smoke,,,obsolete,\n"
        f"{SKILL}c,knowledge,C,c | The C language,,released,\n"
    ),
    "skillGroups_en.csv": f"conceptUri,preferredLabel,code\n{SKILL}S7,constructing,S7\n",
    "occupations_en.csv": (
        "conceptUri,iscoGroup,preferredLabel,altLabels\n"
        f"{OCCUPATION}maker,7319,kite maker,kite builder\n"
    ),
    "ISCOGroups_en.csv": f"conceptUri,code,preferredLabel\n{ISCO}7319,7319,Craft workers\n",
    "greenSkillsCollection_en.csv": f"conceptUri,preferredLabel\n{SKILL}wind,wind\n",
    "broaderRelationsSkillPillar.csv": (
        "conceptType,conceptUri,broaderType,broaderUri\n"
        f"KnowledgeSkillCompetence,{SKILL}kites,SkillGroup,{SKILL}S7\n"
    ),
    "occupationSkillRelations.csv": (
        "occupationUri,relationType,skillType,skillUri\n"
        f"{OCCUPATION}maker,essential,skill/competence,{SKILL}kites\n"
        f"{OCCUPATION}maker,optional,knowledge,{SKILL}wind\n"
    ),
    "skillSkillRelations.csv": (
        "originalSkillUri,originalSkillType,relationType,relatedSkillType,relatedSkillUri\n"
        f"{SKILL}wind,knowledge,optional,skill/competence,{SKILL}kites\n"
    ),
}

ONET = {
    "Occupation Data.txt": (
        "O*NET-SOC Code\tTitle\tDescription\n"
        '51-0000.00\tKite Makers\tBuild "kites" of paper.\n'
        "51-0000.01\tKite Testers\tTest kites.\n"
    ),
    "Alternate Titles.txt": (
        "O*NET-SOC Code\tAlternate Title\tShort Title\tSource(s)\n"
        "51-0000.00\tKite Builder\tn/a\t01\n"
        "51-0000.00\tMaster Kite Builder\tMKB\t01\n"
    ),
    "Sample of Reported Titles.txt": (
        "O*NET-SOC Code\tReported Job Title\tShown in My Next Move\n51-0000.00\tKite Builder\tY\n"
    ),
    "Task Statements.txt": (
        "O*NET-SOC Code\tTask ID\tTask\tTask Type\n51-0000.00\t1\tCut paper.\tCore\n"
    ),
    "Technology Skills.txt": (
        "O*NET-SOC Code\tExample\tCommodity Code\tCommodity Title\tHot Technology\n"
        "51-0000.00\tKiteCAD C++\t1\tDesign software\tN\n"
        "51-0000.01\tKiteCAD C++\t1\tDesign software\tN\n"
    ),
}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def pack(path, files, inside=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(inside + name, text)
    return path


@pytest.fixture(params=["folder", "zip", "folder of zips", "nested zip"])
def esco(request, tmp_path):
    if request.param == "folder":
        return write(tmp_path / "esco", ESCO)
    if request.param == "zip":
        return pack(tmp_path / "download.zip", ESCO)
    if request.param == "nested zip":
        return pack(tmp_path / "download.zip", ESCO, inside="ESCO dataset/csv/")
    (tmp_path / "both").mkdir()
    relations = {name: text for name, text in ESCO.items() if "elations" in name}
    pack(tmp_path / "both" / "relations.zip", relations)
    pack(tmp_path / "both" / "classification.zip", ESCO)
    return tmp_path / "both"


def test_esco(esco):
    taxonomy = read_esco(esco)
    kites = taxonomy[f"{SKILL}kites"]
    assert kites.names == ("build kites", "make kites", "kite building", "kitebuilding")
    assert (kites.kind, kites.parents) == ("skill", (f"{SKILL}S7",))
    assert kites.description == "Build kites, large and small."
    assert taxonomy[f"{SKILL}wind"].alt_labels == ("breeze", "air movement")
    assert taxonomy[f"{SKILL}wind"].kind == "knowledge"
    assert taxonomy[f"{SKILL}c"].names == ("C", "The C language")
    assert f"{SKILL}old" not in taxonomy
    maker = taxonomy[f"{OCCUPATION}maker"]
    assert (maker.kind, maker.code, maker.parents) == ("occupation", "7319", (f"{ISCO}7319",))
    assert taxonomy[f"{ISCO}7319"].code == "7319"
    assert set(taxonomy.relations) == {
        Relation(f"{SKILL}kites", f"{SKILL}S7", "broader"),
        Relation(f"{OCCUPATION}maker", f"{ISCO}7319", "broader"),
        Relation(f"{OCCUPATION}maker", f"{SKILL}kites", "essential"),
        Relation(f"{OCCUPATION}maker", f"{SKILL}wind", "optional"),
        Relation(f"{SKILL}wind", f"{SKILL}kites", "optional"),
        Relation(f"{SKILL}wind", "greenSkills", "member"),
    }
    assert taxonomy.licence.startswith(
        "This service uses the ESCO classification of the European Commission."
    )


def test_esco_1_2_names_its_relations_by_language(tmp_path):
    files = {
        name.replace(".csv", "_en.csv") if "elations" in name else name: text
        for name, text in ESCO.items()
    }
    assert read_esco(write(tmp_path / "new", files)).relations == (
        read_esco(write(tmp_path / "old", ESCO)).relations
    )


def test_esco_with_few_columns_and_in_another_language(tmp_path):
    table = f"conceptUri,preferredLabel\n{SKILL}kites,Drachen bauen\n"
    folder = write(tmp_path / "x", {"skills_de.csv": table})
    taxonomy = read_esco(folder)
    assert (taxonomy.language, taxonomy[f"{SKILL}kites"].label) == ("de", "Drachen bauen")
    with pytest.raises(TaxonomyFormatError, match=r"skills_fr\.csv; its languages are de"):
        read_esco(folder, language="fr")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ESCO dataset - v1.2.0 - classification - en - csv", "1.2.0"),
        ("esco-1.1.1", "1.1.1"),
        ("v1.0.9", "1.0.9"),
        ("esco", "unknown"),
        ("downloads-2024.05", "unknown"),
    ],
)
def test_esco_version(tmp_path, name, version):
    folder = write(tmp_path / name, ESCO)
    assert read_esco(folder).version == version
    assert read_esco(folder, version="9").version == "9"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("conceptUri,title\nx,y\n", "needs the column 'preferredLabel'"),
        ("", "the file is empty"),
        ("conceptUri,preferredLabel\nx,a,b\n", "line 2: 3 cells"),
        ("conceptUri,preferredLabel\nx,\n", "label is empty"),
        ('conceptUri,preferredLabel\nx,"a" b\n', "line 2"),
        ("conceptUri,preferredLabel\n", "holds no concept"),
        (b"conceptUri,preferredLabel\nx,caf\xe9\n", "not UTF-8"),
    ],
)
def test_esco_refuses_broken_tables(tmp_path, table, message):
    raw = table if isinstance(table, bytes) else table.encode()
    (tmp_path / "skills_en.csv").write_bytes(raw)
    with pytest.raises(TaxonomyFormatError, match=message):
        read_esco(tmp_path)


def test_broken_archives(tmp_path):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(pack(tmp_path / "good.zip", ESCO).read_bytes()[:200])
    with pytest.raises(TaxonomyFormatError, match=r"broken\.zip cannot be read as a zip"):
        read_taxonomy(broken)
    with pytest.raises(TaxonomyFormatError, match="does not exist"):
        read_taxonomy(tmp_path / "nothing.zip")
    with pytest.raises(TaxonomyFormatError, match="no known taxonomy"):
        read_taxonomy(write(tmp_path / "other", {"notes.txt": "hello"}))


def test_onet(tmp_path):
    taxonomy = read_onet(write(tmp_path / "db_29_3_text", ONET))
    assert taxonomy.version == "29.3"
    maker = taxonomy["onet:occupation/51-0000.00"]
    assert maker.names == ("Kite Makers", "Kite Builder", "Master Kite Builder", "MKB")
    assert (maker.code, maker.description) == ("51-0000.00", 'Build "kites" of paper.')
    tool = taxonomy["onet:tech/KiteCAD_C%2B%2B"]
    assert (tool.kind, tool.label, tool.description) == ("tool", "KiteCAD C++", "Design software")
    assert set(taxonomy.relations) == {
        Relation(maker.id, "Cut paper.", "task"),
        Relation(maker.id, tool.id, "tool"),
        Relation("onet:occupation/51-0000.01", tool.id, "tool"),
    }
    assert "CC BY 4.0" in taxonomy.licence


def test_onet_from_the_occupations_alone(tmp_path):
    only = {"Occupation Data.txt": ONET["Occupation Data.txt"]}
    taxonomy = read_onet(pack(tmp_path / "list.zip", only, inside="package/src_data/"))
    assert [concept.kind for concept in taxonomy.concepts] == ["occupation", "occupation"]
    assert taxonomy.version == "unknown"
    with pytest.raises(TaxonomyFormatError, match="English only"):
        read_onet(tmp_path / "list.zip", language="de")
    with pytest.raises(TaxonomyFormatError, match=r"holds no Occupation Data\.txt"):
        read_onet(write(tmp_path / "no", {"Task Statements.txt": ""}))


def test_table_csv_tsv_and_jsonl_agree(tmp_path):
    rows = [
        {
            "id": "k:1",
            "label": "build kites",
            "alt_labels": ["make kites", "kite-building"],
            "description": "Build, fly.",
            "kind": "skill",
            "parents": ["k:2"],
            "code": "",
        },
        {"id": "k:2", "label": "C", "alt_labels": [], "kind": "group", "code": "7"},
    ]
    write(
        tmp_path,
        {
            "kites.csv": "\ufeffid,label,alt_labels,description,kind,parents,code\r\n"
            'k:1,build kites,make kites | kite-building,"Build, fly.",,k:2,\r\n'
            "k:2,C,,,group,,7\r\n",
            "kites.tsv": "id\tlabel\talt_labels\tdescription\tkind\tparents\tcode\n"
            "k:1\tbuild kites\tmake kites|kite-building\tBuild, fly.\tskill\tk:2\t\n"
            "k:2\tC\t\t\tgroup\t\t7\n",
            "kites.jsonl": "\n".join(map(json.dumps, rows)) + "\n\n",
        },
    )
    csv, tsv, jsonl = (read_taxonomy(tmp_path / f"kites.{end}") for end in ("csv", "tsv", "jsonl"))
    assert csv.concepts == tsv.concepts == jsonl.concepts
    assert csv.name == "kites"
    assert csv["k:1"].alt_labels == ("make kites", "kite-building")
    assert csv.sha256 == jsonl.sha256


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "id,label\n1,a\n", "needs the column 'alt_labels' once; its columns are: id,"),
        ("t.csv", "id,label,alt_labels,id\n", "needs the column 'id' once"),
        ("t.csv", "id,label,alt_labels\n1,a,\n2,b,\n1,c,\n", "row 3: the id '1' is that of row 1"),
        ("t.csv", "id,label,alt_labels\n1,a,\n2,\u200b ,x\n", "row 2: the label is empty"),
        ("t.csv", "id,label,alt_labels\n,a,\n", "row 1: the id is empty"),
        ("t.csv", "id,label,alt_labels,kind\n1,a,,talent\n", "row 1: unknown kind 'talent'"),
        ("t.csv", "id,label,alt_labels\n", "holds no concept"),
        (
            "t.jsonl",
            '{"id": "1", "label": "a", "alt_labels": []}\n[1]\n',
            "row 2 is no JSON object",
        ),
        ("t.jsonl", '{"id": "1", "label": "a"}\n', "row 1 lacks 'alt_labels'"),
        ("t.jsonl", '{"id": "1", "label": ', "row 1 is not JSON"),
        ("t.jsonl", '{"id": "1", "label": ["a"], "alt_labels": []}', "label must be a string"),
        ("t.jsonl", '{"id": "1", "label": "a", "alt_labels": [1]}', "must be a list of strings"),
        ("t.jsonl", '{"id": "1", "label": "\\ud800", "alt_labels": []}', "lone surrogate"),
        ("t.jsonl", "[" * 100_000, "row 1 is not JSON"),
        ("t.txt", "", r"must end in \.csv"),
    ],
)
def test_table_refuses(tmp_path, name, text, message):
    write(tmp_path, {name: text})
    with pytest.raises(TaxonomyFormatError, match=message):
        read_table(tmp_path / name)


TURTLE = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix k: <http://example.org/kites/> .
k:build a skos:Concept ; skos:prefLabel "build kites"@en, "Drachen bauen"@de ;
    skos:altLabel "make kites"@en, "Drachenbau"@de ; skos:hiddenLabel "kitebuilding" ;
    skos:definition "Build kites."@en ; skos:broader k:make ; skos:notation "K1" .
k:make a skos:Concept ; skos:prefLabel "make things"@en-GB ; skos:narrower k:fly .
k:fly a skos:Concept ; skos:prefLabel "fly kites"@en .
k:german a skos:Concept ; skos:prefLabel "Wind"@de .
"""
RDF_XML = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
  xmlns:skos="http://www.w3.org/2004/02/skos/core#">
  <skos:Concept rdf:about="http://example.org/kites/build">
    <skos:prefLabel xml:lang="fr">construire des cerfs-volants</skos:prefLabel>
  </skos:Concept>
</rdf:RDF>"""


def test_skos(tmp_path):
    write(tmp_path, {"kites.ttl": TURTLE, "kites.rdf": RDF_XML})
    taxonomy = read_taxonomy(tmp_path / "kites.ttl")
    k = "http://example.org/kites/"
    build = taxonomy[f"{k}build"]
    assert build.names == ("build kites", "make kites", "kitebuilding")
    assert (build.description, build.parents, build.code) == ("Build kites.", (f"{k}make",), "K1")
    assert taxonomy[f"{k}make"].label == "make things"
    assert taxonomy[f"{k}fly"].parents == (f"{k}make",)
    assert f"{k}german" not in taxonomy
    assert read_skos(tmp_path / "kites.ttl", language="de")[f"{k}german"].label == "Wind"
    assert read_taxonomy(tmp_path / "kites.rdf").language == "fr"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.ttl", "this is no turtle", "no valid RDF"),
        ("bad.rdf", "<rdf:RDF", "no valid RDF"),
        ("none.ttl", "@prefix k: <http://example.org/> . k:a k:b k:c .", "no skos:Concept"),
    ],
)
def test_skos_refuses(tmp_path, name, text, message):
    write(tmp_path, {name: text})
    with pytest.raises(TaxonomyFormatError, match=message):
        read_skos(tmp_path / name)
    write(tmp_path, {"kites.ttl": TURTLE})
    with pytest.raises(TaxonomyFormatError, match="in 'fi'; its languages are de, en"):
        read_skos(tmp_path / "kites.ttl", language="fi")


def test_skos_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_rdflib(name, *args, **kwargs):
        if name.startswith("rdflib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rdflib)
    with pytest.raises(TaxonomyError, match=r'pip install "jobshift\[skos\]"'):
        read_skos(tmp_path / "kites.ttl")
