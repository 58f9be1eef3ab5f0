"""The parts of a checkup that need no marketplace: the checks, their products, known failures, reports."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kalathi.checkup.checking import judge_findings
from kalathi.checkup.known import KnownError, read_known
from kalathi.checkup.page import render_page
from kalathi.checkup.products import new_seed, overrides_of, render_products
from kalathi.checkup.recipes import list_recipes
from kalathi.checkup.running import choose_checks, list_checks, list_products
from kalathi.checkup.step_texts import say_step, turn_of
from kalathi.cli.checkup_output import make_case, render_failure
from kalathi.cli.junit import render_junit
from kalathi.cli.output import OUTPUT
from kalathi.marketplace.sandbox.checks import is_expectation, read_expectation
from kalathi.marketplace.sandbox.checkup_report import (
    CheckResult,
    Exchange,
    Finding,
    Notice,
    NoticeKind,
    Report,
    Text,
    Verdict,
    compare,
)
from kalathi.marketplace.sandbox.recipes import Turn
from kalathi.marketplace.sandbox.scenario import overridden, scenarios

CHECKS = list_checks()
GREEK = "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώ"


def _result(name: str, verdict: Verdict, **members: Any) -> CheckResult:
    planned = next(planned for planned in CHECKS if planned.scenario.name == name)
    check = planned.check
    base: dict[str, Any] = {
        "claim": check.claim,
        "severity": check.severity,
        "title": Text(check.title, check.title_el),
        "consequence": Text(check.consequence, check.consequence_el),
        "section": check.section,
        "source": check.source,
        "fell": check.fell,
    }
    return CheckResult(id=name, verdict=verdict, **base, **members)


def _report(*results: CheckResult, **members: Any) -> Report:
    moment = datetime(2026, 11, 30, 8, tzinfo=UTC)
    return Report(
        shop_id="s",
        webhook_url="http://shop/hook",
        claims=(),
        seed="TEST",
        has_probe=True,
        planned=len(results),
        began_at=moment,
        results=results,
        **members,
    )


FINDING = Finding(
    expected=Text("one call accept", "μία κλήση accept"),
    seen=Text("2 calls accept", "2 κλήσεις accept"),
    exchanges=(
        Exchange(
            kind="call",
            at="2026-11-30T10:00:00+02:00",
            line="POST /accept",
            request="{}",
            status=422,
            answer='{"errors": [<b>]}',
            curl="curl -i http://x",
        ),
    ),
)


def test_there_are_at_least_thirty_checks_each_with_its_texts_in_both_languages() -> None:
    assert len(CHECKS) >= 30
    assert [planned.check.place for planned in CHECKS] == list(range(1, len(CHECKS) + 1))
    for planned in CHECKS:
        check = planned.check
        assert check.title.endswith("."), planned.scenario.name
        assert check.consequence.endswith("."), planned.scenario.name
        for greek in (check.title_el, check.consequence_el):
            assert any(letter in GREEK for letter in greek), planned.scenario.name
        assert check.source, planned.scenario.name


@pytest.mark.parametrize("planned", CHECKS, ids=lambda planned: planned.scenario.name)
def test_the_steps_of_a_check_can_be_read_and_it_judges_something(planned: Any) -> None:
    expectations = [read_expectation(step) for step in planned.scenario.steps if is_expectation(step)]
    assert expectations
    uids = {line["shop_uid"] for line in planned.scenario.order["line_items"]}
    uids |= {line.get("shop_variation_uid") for line in planned.scenario.order["line_items"]}
    named = set(planned.check.stock) | {uid for step in planned.scenario.steps for uid in step.get("stock") or ()}
    assert named <= uids


def test_faults_of_a_scenario_end_before_its_last_step() -> None:
    for scenario in scenarios().values():
        words = [step.get("do") for step in scenario.steps]
        assert bool(scenario.faults) == ("end_faults" in words), scenario.name


def test_a_check_runs_after_the_check_that_it_needs() -> None:
    names = [planned.scenario.name for planned in CHECKS]
    for planned in CHECKS:
        if planned.check.needs:
            assert names.index(planned.check.needs) < names.index(planned.scenario.name)
    chosen = [planned.scenario.name for planned in choose_checks(["limited_stock"])]
    assert chosen == ["limited_stock_number", "limited_stock"]
    with pytest.raises(KeyError):
        choose_checks(["no_such_check"])


def test_every_check_has_products_of_its_own_and_the_file_has_them_all() -> None:
    rows = list(csv.DictReader(io.StringIO(render_products(list_products(CHECKS, "TEST")))))
    uids = [row["shop_uid"] for row in rows]
    assert len(uids) == len(set(uids))
    assert all(uid.startswith("TEST-") for uid in uids)
    for planned in CHECKS:
        placed = overridden(planned.scenario, overrides_of(planned.scenario, "TEST"))
        for line in placed.order["line_items"]:
            if "times" not in line:
                assert {line["shop_uid"], line.get("shop_variation_uid", line["shop_uid"])} <= set(uids)
    assert [row["quantity"] for row in rows if row["shop_uid"] == "TEST-19-STICK"] == ["1"]
    assert new_seed() != new_seed()


def test_known_failures_need_a_check_and_a_comment(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text('[duplicate]\ncomment = "ticket 1"\n', "utf-8")
    assert read_known(file) == {"duplicate": "ticket 1"}
    for text in (
        "[no_such_check]\ncomment = 'x'\n",
        "[duplicate]\n",
        "[duplicate]\ncomment = ' '\n",
        "duplicate = 1\n",
        "[",
    ):
        file.write_text(text, "utf-8")
        with pytest.raises(KnownError, match=r"known\.toml"):
            read_known(file)
    with pytest.raises(KnownError):
        read_known(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("verdict", "is_known", "status"),
    [
        (Verdict.PASSED, False, 0),
        (Verdict.FAILED, False, 1),
        (Verdict.WARNED, False, 0),
        (Verdict.FAILED, True, 0),
        (Verdict.PASSED, True, 1),
    ],
)
def test_a_known_failure_does_not_fail_the_run_until_it_passes(
    verdict: Verdict, *, is_known: bool, status: int
) -> None:
    assert _report(_result("duplicate", verdict, known=is_known, comment="ticket 1")).exit_status == status


@pytest.mark.parametrize("verdict", [Verdict.NOT_SEEN, Verdict.NOT_TRIED, Verdict.NOT_CLAIMED])
def test_a_run_that_judged_nothing_is_status_2_and_one_more_judged_check_is_enough(verdict: Verdict) -> None:
    unjudged = _result("duplicate", verdict, known=True, comment="ticket 1")
    assert _report(unjudged).exit_status == 2
    assert _report(unjudged, _result("vies", Verdict.PASSED)).exit_status == 0


def test_a_failure_outweighs_what_was_not_seen_and_a_warning_does_not() -> None:
    reason, warning = Text("a", "α"), replace(FINDING, warns=True)
    assert judge_findings([], None, None) is Verdict.PASSED
    assert judge_findings([warning], None, None) is Verdict.WARNED
    assert judge_findings([warning], None, reason) is Verdict.NOT_SEEN
    assert judge_findings([warning], reason, reason) is Verdict.NOT_TRIED
    assert judge_findings([warning, FINDING], reason, reason) is Verdict.FAILED


def test_a_wrong_set_up_is_status_2_and_a_stopped_run_is_1() -> None:
    wrong = Notice(kind=NoticeKind.WRONG, topic="callback", text=Text("a", "α"))
    assert _report(notices=(wrong,)).exit_status == 2
    passed = _result("duplicate", Verdict.PASSED)
    assert _report(passed, notices=(wrong,)).exit_status == 2
    assert _report(passed, notices=(replace(wrong, kind=NoticeKind.WARNING),)).exit_status == 0
    assert _report(_result("duplicate", Verdict.PASSED), stopped=Text("a", "α")).exit_status == 1


def test_two_runs_are_compared_by_their_verdicts() -> None:
    before = _report(
        _result("duplicate", Verdict.FAILED), _result("vies", Verdict.PASSED), _result("sizes", Verdict.PASSED)
    )
    after = _report(
        _result("duplicate", Verdict.PASSED), _result("vies", Verdict.PASSED), _result("greek", Verdict.FAILED)
    )
    assert compare(before, after) == [
        ("duplicate", Verdict.FAILED, Verdict.PASSED),
        ("greek", None, Verdict.FAILED),
        ("sizes", Verdict.PASSED, None),
    ]


def test_a_report_survives_its_json() -> None:
    report = _report(_result("duplicate", Verdict.FAILED, findings=(FINDING,)))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.parametrize("language", ["en", "el"])
def test_the_file_for_a_browser_has_every_finding_and_escapes_what_came_from_outside(language: str) -> None:
    failed = _result("duplicate", Verdict.FAILED, findings=(FINDING,), codes=("261130-1",))
    page = render_page(_report(failed, _result("vies", Verdict.PASSED)), language)
    assert FINDING.expected.in_language(language) in page
    assert failed.consequence.in_language(language) in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "<script" not in page
    assert 'href="http' not in page


@pytest.mark.parametrize("language", ["en", "el"])
def test_a_failure_in_a_terminal_has_expected_beside_seen_and_the_line_that_repeats_it(language: str) -> None:
    OUTPUT.take_over()
    text = render_failure(
        _result("duplicate", Verdict.FAILED, findings=(FINDING,)), "kalathi checkup --seed TEST", language
    )
    assert FINDING.expected.in_language(language) in text
    assert FINDING.seen.in_language(language) in text
    assert "kalathi checkup --seed TEST --only duplicate" in text
    assert "curl -i http://x" in text
    assert {"en": "section 4 of docs/contract.md", "el": "ενότητα 4 του docs/contract.md"}[language] in text


def test_junit_counts_failures_known_ones_and_those_that_were_not_judged() -> None:
    results = [
        _result("duplicate", Verdict.FAILED, findings=(FINDING,)),
        _result("vies", Verdict.FAILED, findings=(FINDING,), known=True, comment="ticket 1"),
        _result("sizes", Verdict.NOT_SEEN, reason=Text("no probe", "")),
        _result("greek", Verdict.PASSED, known=True, comment="old"),
        _result("burst", Verdict.PASSED),
    ]
    text = render_junit([make_case(result) for result in results], "kalathi checkup")
    assert 'failures="2"' in text
    assert 'skipped="2"' in text
    assert "does not fail any more" in text


def test_there_are_ten_recipes_and_each_step_has_a_sentence_in_both_languages() -> None:
    recipes = list_recipes()
    assert len(recipes) == 10
    assert [recipe.place for _, recipe in recipes] == list(range(1, 11))
    for scenario, recipe in recipes:
        assert recipe.say.keys() == recipe.say_el.keys()
        assert all(1 <= int(number) <= len(scenario.steps) for number in recipe.say)
        for number, step in enumerate(scenario.steps):
            text = say_step(recipe, number, step)
            assert any(letter in GREEK for letter in text.el), text
            assert not text.en.startswith("The marketplace runs"), (scenario.name, step)
            assert turn_of(step) in Turn
