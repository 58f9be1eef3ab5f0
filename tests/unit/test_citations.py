"""Every document that code and pages cite is there, with the section that they name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("src", "tests", "examples", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".html", ".js", ".css", ".typ", ".toml"} and path != Path(__file__)
]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
DECISIONS = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("0*.md")}
SECTIONS = set(re.findall(r'<a id="section-(\d+)"></a>', (ROOT / "docs" / "contract.md").read_text("utf-8")))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page, as forges make them of its headings, and its own."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading)).strip().lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain} | set(re.findall(r'<a id="([^"]+)">', text))


def test_code_cites_decisions_and_sections_that_exist() -> None:
    # One test for all files: a test for each would take most of its time to begin and to end.
    for path in SOURCES:
        text = path.read_text("utf-8")
        for found in re.findall(r"docs/decisions/(\d+)(?:\s+(?:and|to)\s+(\d{4}))?", text):
            assert {number for number in found if number} <= DECISIONS, (path, found)
        for page, anchor in re.findall(r"docs/([\w/-]+\.md)(?:#([\w-]+))?", text):
            assert (ROOT / "docs" / page).exists(), (path, page)
            assert not anchor or anchor in _anchors(ROOT / "docs" / page), (path, page, anchor)
        assert set(re.findall(r"#section-(\d+)", text)) <= SECTIONS, path
        assert not re.search(r"\bDESIGN\b|\bCONTRACT\b|\bcontract, section", text), path


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_the_docs_have_targets(page: Path) -> None:
    text = page.read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]+))?\)", text):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert not anchor or anchor in _anchors(found), (target, anchor)
    assert not re.search(r"\bDESIGN\b|\bCONTRACT\b", text)


def test_the_openapi_document_cites_no_repository_file() -> None:
    text = (ROOT / "docs" / "openapi.json").read_text("utf-8")
    assert not re.search(r"DESIGN|CONTRACT|docs/|contract, section", text)


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(
        r"^(\d+)\. \[(.+)\]\((\d{4}-[\w-]+\.md)\)$", (folder / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert [int(number) for number, _, _ in listed] == list(range(1, len(DECISIONS) + 1))
    for number, title, name in listed:
        assert (folder / name).read_text("utf-8").startswith(f"# {number}. {title}\n"), name
    assert {name for _, _, name in listed} == {path.name for path in folder.glob("0*.md")}
