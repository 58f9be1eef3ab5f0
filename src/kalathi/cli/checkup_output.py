"""What `kalathi checkup` prints: its progress, its findings, and its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kalathi.cli.junit import Case, Result, render_junit
from kalathi.cli.tables import render_table
from kalathi.marketplace.sandbox.checks import Severity
from kalathi.marketplace.sandbox.checkup_report import CheckResult, NoticeKind, Report, Text, Verdict, compare
from kalathi.terminal import escape_controls, in_one_line, style

if TYPE_CHECKING:
    from kalathi.checkup.running import PlannedCheck

_STANDARD_OUTPUT: Final = "-"
_COLOURS: Final = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "red",
    Verdict.WARNED: "yellow",
    NoticeKind.OK: "green",
    NoticeKind.WARNING: "yellow",
    NoticeKind.WRONG: "red",
}
VERDICTS: Final = {
    Verdict.PASSED: Text("passed", "πέρασε"),
    Verdict.FAILED: Text("FAILED", "ΑΠΕΤΥΧΕ"),
    Verdict.WARNED: Text("warned", "προσοχή"),
    Verdict.NOT_CLAIMED: Text("not claimed", "δεν δηλώθηκε"),
    Verdict.NOT_SEEN: Text("not seen", "δεν φάνηκε"),
    Verdict.NOT_TRIED: Text("not tried", "δεν δοκιμάστηκε"),
}
SEVERITIES: Final = {
    Severity.LOSES_ORDERS: Text("loses orders", "χάνει παραγγελίες"),
    Severity.COSTS_MONEY: Text("costs money", "κοστίζει χρήματα"),
    Severity.ANNOYS: Text("annoys", "ενοχλεί"),
}
_NOTICES: Final = {
    NoticeKind.OK: Text("ok", "εντάξει"),
    NoticeKind.WARNING: Text("warning", "προσοχή"),
    NoticeKind.WRONG: Text("WRONG", "ΛΑΘΟΣ"),
}
_WORD_WIDTH: Final = 15
_ID_WIDTH: Final = 28
_LONGEST_SHOWN: Final = 800
_LONGEST_REQUEST: Final = 200


class Console:
    """Prints a run while it goes on."""

    def __init__(self, language: str, *, to_error: bool) -> None:
        """`to_error`: standard output is for a report, so the progress goes to standard error."""
        self._language = language
        self._to_error = to_error
        self._notices = 0
        self._results = 0

    def show_marketplace(self, url: str, token: str, *, is_given: bool) -> None:
        """Print the settings for the integration."""
        self._echo(f"{self._say('Marketplace', 'Marketplace')}: {url}")
        if not is_given:
            hint = self._say(
                f"Set the integration's base URL to {url} and its token to {token}; keep it with --shop-token.",
                f"Βάλτε στη σύνδεση base URL {url} και token {token}· κρατήστε το με --shop-token.",
            )
            self._echo(hint)

    def show(self, report: Report) -> None:
        """Print the new notices and results of a report."""
        for notice in report.notices[self._notices :]:
            word = _NOTICES[notice.kind].in_language(self._language)
            self._echo(f"{self._paint(word, notice.kind)}{in_one_line(notice.text.in_language(self._language))}")
        self._notices = len(report.notices)
        for result in report.results[self._results :]:
            if result.verdict is not Verdict.NOT_CLAIMED:
                self._echo(self._line(result))
        self._results = len(report.results)

    def show_end(self, report: Report, before: Report | None) -> None:
        """Print the findings of failed checks, what changed since an earlier run, and the counts."""
        for result in report.results:
            if result.findings or (result.known and result.fails_the_run):
                self._echo("")
                self._echo(render_failure(result, self._language))
        if before is not None:
            self._show_changes(before, report)
        if report.stopped is not None:
            self._echo("")
            self._echo(report.stopped.in_language(self._language))
        counts = report.count()
        shown = [f"{number} {VERDICTS[verdict].in_language(self._language)}" for verdict, number in counts.items()]
        if shown:
            self._echo("")
            self._echo(", ".join(shown))
        if counts.get(Verdict.NOT_SEEN) and not report.has_probe:
            self._echo(
                self._say(
                    "With --probe, the checks that were not seen can be judged too.",
                    "Με --probe κρίνονται και οι έλεγχοι που δεν φάνηκαν.",
                )
            )

    def _show_changes(self, before: Report, after: Report) -> None:
        changes = compare(before, after)
        words = [
            (change.id, *(VERDICTS[verdict].in_language(self._language) if verdict else "–" for verdict in change[1:]))
            for change in changes
        ]
        self._echo("")
        header = (self._say("check", "έλεγχος"), self._say("before", "πριν"), self._say("now", "τώρα"))
        same = self._say("No check changed.", "Κανένας έλεγχος δεν άλλαξε.")
        self._echo(render_table(header, words) if words else same)

    def _line(self, result: CheckResult) -> str:
        word = VERDICTS[result.verdict].in_language(self._language)
        text = (result.reason or result.title).in_language(self._language)
        known = self._say(" (known)", " (γνωστό)") if result.known else ""
        return f"{self._paint(word, result.verdict)}{result.id:{_ID_WIDTH}}{in_one_line(text)}{known}"

    def _paint(self, word: str, kind: Verdict | NoticeKind) -> str:
        colour = _COLOURS.get(kind)
        padding = " " * max(1, _WORD_WIDTH - len(word))
        return (style(word, fg=colour) if colour else word) + padding

    def _say(self, en: str, el: str) -> str:
        return Text(en, el).in_language(self._language)

    def _echo(self, text: str) -> None:
        click.echo(text, err=self._to_error)


def render_failure(result: CheckResult, language: str) -> str:
    """Render the findings of a check: the consequence, expected beside seen, the exchanges, and how to repeat it."""

    def say(en: str, el: str) -> str:
        return Text(en, el).in_language(language)

    severity = SEVERITIES[result.severity].in_language(language)
    lines = [style(f"{result.id}: {severity}", bold=True), in_one_line(result.consequence.in_language(language))]
    if result.known and not result.findings:
        lines.append(
            say(
                f"It is in --known ({result.comment}), but it does not fail any more: remove it from the file.",
                f"Είναι στο --known ({result.comment}), αλλά δεν αποτυγχάνει πια: βγάλτε το από το αρχείο.",
            )
        )
    width = max(len(say("expected", "αναμενόταν")), len(say("seen", "φάνηκε")))
    for finding in result.findings:
        lines.append(
            f"  {say('expected', 'αναμενόταν'):{width}}  {in_one_line(finding.expected.in_language(language))}"
        )
        lines.append(f"  {say('seen', 'φάνηκε'):{width}}  {in_one_line(finding.seen.in_language(language))}")
        for exchange in finding.exchanges:
            status = exchange.status or say("no answer", "καμία απάντηση")
            lines.append(f"    {exchange.at[11:19]}  {in_one_line(exchange.line)}  {status}")
            if exchange.answer and (exchange.status or 0) >= 400:
                lines.append(f"      {in_one_line(exchange.answer[:_LONGEST_SHOWN])}")
            if exchange.kind == "webhook" and (exchange.status or 0) // 100 != 2:
                lines.append(f"      {in_one_line(exchange.request[:_LONGEST_REQUEST])}…")
            if exchange.kind == "call":
                lines.append(f"      {escape_controls(_shorten(exchange.curl))}")
    if result.codes:
        lines.append(f"  {say('orders', 'παραγγελίες')}: {', '.join(result.codes[:5])}")
    section = say("section {} of docs/contract.md", "ενότητα {} του docs/contract.md").format(result.section)
    lines.append(f"  {say('see', 'δείτε')}: {section}; {result.source}")
    if result.fell:
        lines.append(f"  {say('fell here too', 'έπεσαν κι αυτά εδώ')}: {', '.join(result.fell)}")
    lines.append(f"  {say('repeat', 'επανάληψη')}: kalathi checkup --only {result.id} ...")
    if any(exchange.kind == "webhook" for finding in result.findings for exchange in finding.exchanges):
        whole = say(
            "The webhooks' bodies, as curl lines: --html FILE", "Τα σώματα των webhooks, ως γραμμές curl: --html FILE"
        )
        lines.append(f"  {whole}")
    return "\n".join(lines)


def _shorten(curl: str) -> str:
    return curl if len(curl) <= _LONGEST_SHOWN else f"{curl[:_LONGEST_SHOWN]}…"


def render_checks(checks: "Sequence[PlannedCheck]", language: str) -> str:
    """Render the list of checks."""
    rows = [
        (
            planned.scenario.name,
            planned.check.claim,
            SEVERITIES[planned.check.severity].in_language(language),
            Text(planned.check.title, planned.check.title_el).in_language(language),
        )
        for planned in checks
    ]
    return render_table(("check", "claim", "severity", "what holds"), rows)


def check_files(*names: str) -> None:
    """Check the folders of the files that are written at the end. Raises ValueError."""
    files = [name for name in names if name]
    if sum(name == _STANDARD_OUTPUT for name in files) > 1:
        raise ValueError("only one of --junit, --json and --html can write to standard output.")
    for name in files:
        if name != _STANDARD_OUTPUT and not Path(name).absolute().parent.is_dir():
            raise ValueError(f"{name}: there is no folder {Path(name).parent}.")


def write_reports(report: Report, junit: str, json_file: str, html: str, language: str) -> None:
    """Write the files. Raises OSError."""
    if junit:
        _write(junit, render_junit([case_of(result) for result in report.results], suite="kalathi checkup"))
    if json_file:
        import msgspec

        _write(json_file, msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    if html:
        from kalathi.checkup.page import render_page

        _write(html, render_page(report, language))


def case_of(result: CheckResult) -> Case:
    """Return the result of a check as a test case."""
    texts = [f"{finding.expected.en}: {finding.seen.en}" for finding in result.findings]
    output = tuple(exchange.curl for finding in result.findings for exchange in finding.exchanges)
    if result.fails_the_run:
        reason = "; ".join(texts) or f"It is known ({result.comment}), but it does not fail any more."
        return Case(result.id, Result.FAILED, f"{result.consequence.en} {reason}", output, result.duration_seconds)
    if result.verdict in {Verdict.PASSED, Verdict.WARNED}:
        return Case(result.id, Result.PASSED, "", output, result.duration_seconds)
    reason = result.comment if result.known else result.reason.en if result.reason else result.verdict
    return Case(result.id, Result.SKIPPED, reason, output, result.duration_seconds)


def _write(name: str, text: str) -> None:
    if name == _STANDARD_OUTPUT:
        click.echo(text)
    else:
        Path(name).write_text(text + "\n", "utf-8")
