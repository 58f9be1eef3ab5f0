"""A release is built, checked and published by rules that stand in `release/` and `hatch_build.py`."""

import subprocess
from pathlib import Path

import pytest

from hatch_build import make_links_absolute
from release.__main__ import find_obstacles, read_version
from release.notes import Notes, read_notes
from release.platforms import PLATFORMS

ROOT = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## 0.2.0, unreleased

### Added

- Two.

## 0.1.0, 2026-12-24

- One.
"""


def test_the_notes_of_a_version_are_its_part_of_the_changelog() -> None:
    assert read_notes(CHANGELOG, "0.2.0") == Notes("### Added\n\n- Two.\n", is_dated=False)
    assert read_notes(CHANGELOG, "0.1.0") == Notes("- One.\n", is_dated=True)


@pytest.mark.parametrize(("version", "reason"), [("0.3.0", "has no heading"), ("0.2.0", "says nothing about 0.2.0")])
def test_a_version_without_notes_is_refused(version: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_notes("## 0.2.0, unreleased\n\n## 0.1.0, 2026-12-24\n- One.\n", version)


def test_the_version_in_the_sources_has_notes() -> None:
    assert read_notes((ROOT / "CHANGELOG.md").read_text("utf-8"), read_version(ROOT)).text


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_each_obstacle_to_a_release_is_named(tmp_path: Path) -> None:
    project = '[project.urls]\nHomepage = "https://shop.example"\nSource = "https://real.test/x"\n'
    (tmp_path / "pyproject.toml").write_text(project, "utf-8")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "--message", "One")
    _git(tmp_path, "tag", "v0.2.0")
    (tmp_path / "pyproject.toml").write_text(project + "# more\n", "utf-8")
    _git(tmp_path, "commit", "--quiet", "--all", "--message", "Two")
    (tmp_path / "new").touch()
    assert find_obstacles(tmp_path, "0.2.0", Notes("x", is_dated=False)) == [
        "CHANGELOG.md has no day for 0.2.0.",
        "[project.urls] in pyproject.toml has examples: Homepage.",
        "The checkout has changes that are not committed. The build has none of them.",
        "The tag v0.2.0 is another commit.",
    ]
    (tmp_path / "new").unlink()
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nSource = "https://real.test/x"\n', "utf-8")
    _git(tmp_path, "commit", "--quiet", "--all", "--message", "Three")
    assert find_obstacles(tmp_path, "0.3.0", Notes("x", is_dated=True), "v0.3.0") == []
    assert find_obstacles(tmp_path, "0.3.0", Notes("x", is_dated=True), "v0.4.0") == [
        "The tag v0.4.0 is of another version than 0.3.0."
    ]


def test_links_of_the_readme_lead_to_the_files_of_the_version(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    text = (
        "[a](docs/README.md#documentation) [folder](docs) ![picture](docs/p.png) [web](https://x.example) [here](#top)"
    )
    assert make_links_absolute(text, "https://forge.example/k", "v1.0.0", tmp_path) == (
        "[a](https://forge.example/k/blob/v1.0.0/docs/README.md#documentation) [folder](https://forge.example/k/tree/v1.0.0/docs)"
        " ![picture](https://forge.example/k/raw/v1.0.0/docs/p.png) [web](https://x.example) [here](#top)"
    )


def test_every_link_of_the_readme_becomes_absolute() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    made = make_links_absolute(readme, "https://forge.example/k", "v1", ROOT)
    assert made.count("](https://forge.example/k/") == readme.count("](") - readme.count("](http") > 20


def test_the_table_of_systems_has_each_of_them() -> None:
    page = (ROOT / "docs/installing.md").read_text("utf-8")
    table = page.partition("<!-- platforms -->\n")[2].partition("<!-- end -->")[0]
    assert [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]] == list(PLATFORMS)
