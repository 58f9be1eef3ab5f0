"""Tables for a person, JUnit XML for a CI system, and completions for a shell."""

from pathlib import Path
from xml.etree import ElementTree

from click.shell_completion import BashComplete

from kalathi.cli import main
from kalathi.cli.junit import Case, Result, render_junit
from kalathi.cli.tables import render_members, render_page, render_table
from tests.unit.test_terminal import write_text


def test_columns_are_aligned_and_only_states_have_a_colour() -> None:
    table = render_table(("code", "state", "product"), [("1", "open", "USB"), ("22", "delivered", "open")])
    assert write_text(table, is_terminal=False).splitlines() == [
        "code  state      product",
        "1     open       USB",
        "22    delivered  open",
    ]
    first, second = write_text(table, is_terminal=True).splitlines()[1:]
    assert first == "1     \x1b[33mopen\x1b[0m       USB"
    assert second == "22    \x1b[32mdelivered\x1b[0m  open"


def test_a_cell_is_one_line_without_control_characters() -> None:
    table = render_table(("state", "name"), [("open", "a\x1b[2J\nb\tc\u202e")])
    assert write_text(table, is_terminal=False).splitlines()[1:] == ["open   a?[2J?b?c?"]
    assert "\x1b[2J" not in write_text(render_members({"name": "\x1b[2J", "state": "\x1b[2J"}), is_terminal=True)


def test_facts_without_a_value_are_left_out() -> None:
    text = render_members({"order": "1", "voucher": None, "tracking": [], "comments": "", "parcels": 0, "ready": False})
    assert write_text(text, is_terminal=False).splitlines() == ["order    1", "parcels  0", "ready    no"]


def test_a_page_names_the_next_page() -> None:
    def page(number: int) -> str:
        answer = {"meta": {"pagination": {"page": number, "total_pages": 2}}}
        return write_text(render_page(("code",), [("1",)], answer, "Nothing."), is_terminal=False)

    assert page(1).splitlines()[-1] == "Page 1 of 2. Next page: --page 2"
    assert page(2).splitlines()[-1] == "1"
    assert render_page(("code",), [], {}, "Nothing.") == "Nothing."


def test_junit_xml_has_a_case_for_each_result() -> None:
    cases = [
        Case("one", Result.PASSED, webhooks=("new_order 200",), duration_seconds=0.25),
        Case("two", Result.FAILED, 'refused: "<&>" \x00\ufffe'),
        Case("three", Result.SKIPPED, "needs fbm"),
    ]
    [suite] = ElementTree.fromstring(render_junit(cases))
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors", "time")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "errors": "0",
        "time": "0.250",
    }
    one, two, three = suite
    assert (one.get("name"), one.findtext("system-out")) == ("one", "new_order 200")
    assert [child.tag for child in one] == ["system-out"]
    failure, skipped = two.find("failure"), three.find("skipped")
    assert failure is not None
    assert failure.get("message") == 'refused: "<&>" ??'
    assert skipped is not None
    assert skipped.get("message") == "needs fbm"


def test_completions_know_scenarios_and_need_no_marketplace(tmp_path: Path) -> None:
    shell = BashComplete(main, {}, "kalathi", "_KALATHI_COMPLETE")
    [found] = shell.get_completions(["trigger"], "late_cancellation_")
    assert (found.value, "later" in str(found.help)) == ("late_cancellation_comes_back", True)
    nowhere = ["--data", str(tmp_path)]
    assert shell.get_completions(["trigger", *nowhere, "--shop"], "") == []
    assert shell.get_completions(["order", "accept", *nowhere], "") == []
    assert [item.value for item in shell.get_completions(["order"], "hand")] == ["hand-over"]


def test_no_color_leaves_the_colours_out() -> None:
    assert write_text(render_table(("state",), [("open",)]), is_terminal=True, is_plain=True) == "state\nopen"
