"""The output of `kalathi checkup`: progress, findings, and files."""

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
    Severity.LOSES_ORDERS: Text("loses orders", "χάνονται παραγγελίες"),
    Severity.COSTS_MONEY: Text("costs money", "κοστίζει χρήματα"),
    Severity.ANNOYS: Text("annoys", "μικρό πρόβλημα"),
}
# Greek words beside a number other than one.
_PLURALS: Final = {
    Verdict.PASSED: "πέρασαν",
    Verdict.FAILED: "ΑΠΕΤΥΧΑΝ",
    Verdict.NOT_CLAIMED: "δεν δηλώθηκαν",
    Verdict.NOT_SEEN: "δεν φάνηκαν",
    Verdict.NOT_TRIED: "δεν δοκιμάστηκαν",
}
_NOTICES: Final = {
    NoticeKind.OK: Text("ok", "εντάξει"),
    NoticeKind.WARNING: Text("warning", "προσοχή"),
    NoticeKind.WRONG: Text("WRONG", "ΛΑΘΟΣ"),
}
_WORD_WIDTH: Final = 18
_ID_WIDTH: Final = 28
_LONGEST_SHOWN: Final = 800
_LONGEST_REQUEST: Final = 200
_NOTHING_JUDGED: Final = 2


class Console:
    """Prints a run while it goes on."""

    def __init__(self, language: str, *, to_error: bool) -> None:
        """`to_error`: standard output is for a report, so the progress goes to standard error."""
        self._language = language
        self._to_error = to_error
        self._notices = 0
        self._results = 0

    def show_marketplace(self, url: str, token: str) -> None:
        """Print the settings for the integration: the marketplace's address, and the token or the option with it."""
        self._echo(
            self._say(
                f"A marketplace for this run is at {url}. This is the integration's base URL; its token is {token}.",
                f"Το marketplace της εκτέλεσης είναι στο {url}. Αυτό είναι το base URL· το token είναι {token}.",
            )
        )

    def show(self, report: Report) -> None:
        """Print the new notices and results of a report."""
        for notice in report.notices[self._notices :]:
            word = _NOTICES[notice.kind].in_language(self._language)
            first, *more = notice.text.in_language(self._language).split("\n")
            self._echo(f"{self._paint(word, notice.kind)}{in_one_line(first)}")
            for line in more:
                self._echo(" " * _WORD_WIDTH + in_one_line(line))
        self._notices = len(report.notices)
        for result in report.results[self._results :]:
            if result.verdict is not Verdict.NOT_CLAIMED:
                self._echo(self._line(result))
        self._results = len(report.results)

    def show_end(self, report: Report, before: Report | None, *, is_own: bool) -> None:
        """Print the findings of failed checks, the differences to an earlier run, and the counts. `is_own`: the
        marketplace ended with the run."""
        for result in report.results:
            if result.needs_attention:
                self._echo("")
                self._echo(render_failure(result, report.command, self._language))
        if any(exchange.kind == "call" for result in report.results for exchange in result.list_exchanges()):
            self._show_hint(is_own=is_own)
        if before is not None:
            self._show_changes(before, report)
        if report.stopped is not None:
            self._echo("")
            self._echo(report.stopped.in_language(self._language))
        if report.results:
            self._show_counts(report)

    def _show_hint(self, *, is_own: bool) -> None:
        """Explain the curl lines."""
        hint = Text(
            "In the curl lines, TOKEN is the shop's token.", "Στις γραμμές curl, TOKEN είναι το token του καταστήματος."
        )
        ended = Text(
            " The marketplace of this run has ended: to repeat them, start kalathi serve.",
            " Το marketplace αυτής της εκτέλεσης τελείωσε: για επανάληψη ξεκινήστε kalathi serve.",
        )
        self._echo("")
        self._echo(hint.in_language(self._language) + (ended.in_language(self._language) if is_own else ""))

    def _show_counts(self, report: Report) -> None:
        counts = report.count()
        shown = [f"{number} {_count_word(verdict, number, self._language)}" for verdict, number in counts.items()]
        self._echo("")
        self._echo(", ".join(shown))
        if counts.get(Verdict.NOT_SEEN) and not report.has_probe:
            number = counts[Verdict.NOT_SEEN]
            self._echo(
                self._say(
                    f"Not seen: only your own system shows the result of {number} of these checks. Give --probe.",
                    f"Δεν φάνηκαν: μόνο το σύστημά σας δείχνει το αποτέλεσμα σε {number} από αυτούς. Δώστε --probe.",
                )
            )
        if report.exit_status == _NOTHING_JUDGED:
            self._echo(self._say("No check could be judged.", "Κανένας έλεγχος δεν μπόρεσε να κριθεί."))

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


def _count_word(verdict: Verdict, number: int, language: str) -> str:
    """Return the word of a verdict beside a number."""
    word = _PLURALS.get(verdict) if number != 1 and language == "el" else None
    return word or VERDICTS[verdict].in_language(language)


def render_failure(result: CheckResult, command: str, language: str) -> str:
    """Render the findings of a check: the consequence, expected beside seen, the exchanges, and how to repeat it.
    `command` repeats the run."""

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
        lines.append(f"  {say('seen', 'βρέθηκε'):{width}}  {in_one_line(finding.seen.in_language(language))}")
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
    lines.append(f"  {say('why this check', 'γιατί αυτός ο έλεγχος')}: {result.source} ({section})")
    if result.fell:
        lines.append(f"  {say('others with this fault', 'το έπαθαν κι άλλοι')}: {', '.join(result.fell)}")
    lines.append(f"  {say('repeat', 'επανάληψη')}: {escape_controls(command)} --only {result.id}")
    if any(exchange.kind == "webhook" for exchange in result.list_exchanges()):
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
    greek = ("έλεγχος", "δυνατότητα", "συνέπεια", "σε μια σωστή διασύνδεση")
    english = ("check", "claim", "severity", "in a correct integration")
    return render_table(greek if language == "el" else english, rows)


def check_files(*names: str) -> None:
    """Check the folders of the files that are written at the end. Raises ValueError."""
    files = [name for name in names if name]
    if sum(name == _STANDARD_OUTPUT for name in files) > 1:
        raise ValueError("only one of --junit, --json and --html can write to standard output.")
    for name in files:
        if name != _STANDARD_OUTPUT and not Path(name).absolute().parent.is_dir():
            raise ValueError(f"{name}: there is no folder {Path(name).parent}.")
        if Path(name).is_dir():
            raise ValueError(f"{name} is a folder: give a file.")


def write_reports(report: Report, junit: str, json_file: str, html: str, language: str) -> None:
    """Write the files. Raises OSError."""
    if junit:
        wrong = [notice for notice in report.notices if notice.kind is NoticeKind.WRONG]
        cases = [Case(f"set-up: {notice.topic}", Result.FAILED, notice.text.en) for notice in wrong]
        cases += [make_case(result) for result in report.results]
        _write(junit, render_junit(cases, suite="kalathi checkup"))
    if json_file:
        import msgspec

        _write(json_file, msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    if html:
        from kalathi.checkup.page import render_page

        _write(html, render_page(report, language))


def make_case(result: CheckResult) -> Case:
    """Return the result of a check as a test case."""
    texts = [f"Expected: {finding.expected.en}. Seen: {finding.seen.en}" for finding in result.findings]
    output = tuple(exchange.curl for finding in result.findings for exchange in finding.exchanges)
    if result.fails_the_run:
        reason = "; ".join(texts) or f"It is known ({result.comment}), but it does not fail any more."
        return Case(result.id, Result.FAILED, f"{reason}. {result.consequence.en}", output, result.duration_seconds)
    if result.verdict in {Verdict.PASSED, Verdict.WARNED}:
        return Case(result.id, Result.PASSED, "", output, result.duration_seconds)
    reason = result.comment if result.known else result.reason.en if result.reason else result.verdict
    return Case(result.id, Result.SKIPPED, reason, output, result.duration_seconds)


def _write(name: str, text: str) -> None:
    if name == _STANDARD_OUTPUT:
        click.echo(text)
    else:
        Path(name).write_text(text + "\n", "utf-8")
