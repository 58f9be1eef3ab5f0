"""The report of a checkup as one HTML file, without a script and without other files, for a browser and for paper."""

from markupsafe import Markup

from kalathi.marketplace.panel.languages import Language
from kalathi.marketplace.panel.rendering import assets, render
from kalathi.marketplace.sandbox.checkup_report import Report


def render_page(report: Report, language: str) -> str:
    """Render the report in this language, `en` or `el`."""
    css = assets()["kalathi.css"].content.decode()
    content = {"report": report, "language": language, "css": Markup(css)}  # noqa: S704  (our own file)
    return render("checkup_file.html", Language(language), content).decode()
