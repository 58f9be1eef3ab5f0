"""Draws the parts of the docs that show a table of the code; `make docs` writes them, a test compares them.

A drawn part stands between `<!-- drawn: name -->` and `<!-- end -->`. The pages of docs/calls/ are made of exchanges:
requests that were made and answers that came, from exchanges.py.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from kalathi import merchant
from kalathi.checkup.recipes import list_recipes
from kalathi.checkup.running import list_checks
from kalathi.checkup.step_texts import PLACED, say_step, turn_of
from kalathi.marketplace.api.openapi import without_references
from kalathi.marketplace.api.route import Access, Route
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.kernel.settings import setting_fields
from kalathi.marketplace.orders.machine import TRANSITIONS
from kalathi.marketplace.orders.operations import OPERATIONS
from kalathi.marketplace.returns.machine import TRANSITIONS as RETURN_TRANSITIONS
from kalathi.marketplace.returns.operations import OPERATIONS as RETURN_OPERATIONS
from kalathi.marketplace.sandbox.body_faults import MAY_BE_ABSENT, MAY_BE_NEW, MAY_BE_NULL
from kalathi.marketplace.sandbox.faults import FaultKind
from kalathi.marketplace.sandbox.recipes import Turn
from kalathi.marketplace.sandbox.rough import ROUGH
from kalathi.marketplace.sandbox.scenario import Recipe, Scenario, scenarios
from kalathi.marketplace.web.bodies import CheckedBody
from kalathi.marketplace.web.reply import ERRORS
from kalathi.marketplace.web.uploads import FileField
from kalathi.mcp_server.tools import TOOLS
from kalathi.merchant import CallError, Client
from kalathi.merchant.client.sync_products import Products
from tests import exchanges

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
_FOR_ASSISTANTS: Final = """\
The wire contract (docs/contract.md) is the authority for every call and webhook. `kalathi COMMAND --help` has examples
for every command, and most commands answer in JSON with `--json`. `kalathi mcp` (docs/mcp.md) searches these documents
and operates a marketplace through the Model Context Protocol. Calls need the header
`Accept: application/vnd.skroutz+json; version=3.0` and the shop's token as a bearer token.
"""
_PART: Final = re.compile(r"(<!-- drawn: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page that has drawn parts, as it should be."""
    drawn = {}
    exchanged = exchanges.parts()
    drawing = PARTS | {f"exchange {name}": partial(str, text) for name, text in exchanged.items()}
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text("utf-8")
        if _PART.search(text):
            drawn[path] = _PART.sub(lambda match: match[1] + drawing[match[2]]() + match[3], text)
    return drawn | recipe_pages() | {ROOT / "llms.txt": guide_for_assistants()}


def guide_for_assistants() -> str:
    """`llms.txt` (llmstxt.org): a summary of Kalathi, and the list of documents with paths from the root."""
    readme = (ROOT / "README.md").read_text("utf-8")
    summary = readme.split("\n\n")[1].replace("**", "")
    listed = (DOCS / "README.md").read_text("utf-8").partition("\n")[2]
    sections = re.sub(r"^\*\*(.+)\*\*$", r"## \1", listed, flags=re.MULTILINE)
    sections = re.sub(r"\]\((?!\.\.)", "](docs/", sections).replace("](../", "](")
    return f"# Kalathi\n\n> {summary}\n\n{_FOR_ASSISTANTS}{sections}"


def state_diagram() -> str:
    """The order machine's table in Mermaid's notation; states without a way out end."""
    return _diagram(TRANSITIONS)


def _diagram(table: Mapping[tuple[Any, Any], Any]) -> str:
    arrows = [f"    {state or '[*]'} --> {following}: {action}" for (state, action), following in table.items()]
    left = {state for state, _ in table}
    ends = [f"    {state} --> [*]" for state in dict.fromkeys(table.values()) if state not in left]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, *ends, "```", ""])


def return_diagram() -> str:
    """The same of returns."""
    return _diagram(RETURN_TRANSITIONS)


def calls(*accesses: Access) -> str:
    """The routes of these kinds of callers: call, what it does, body, errors beside those of its access."""
    rows = ["| call | purpose | body | errors |", "|---|---|---|---|"]
    for route in ROUTES:
        if route.access in accesses:
            words = dict.fromkeys(f"`{ERRORS[code].word}`" for code in route.errors)
            query = "".join(f"`?{entry.name}=` " for entry in route.query)
            does = f"{_first_sentence(route.handler)} {query}".strip()
            rows.append(f"| `{route.method} {route.path}` | {does} | {_body(route)} | {', '.join(words)} |")
    return "\n".join(rows) + "\n"


def settings() -> str:
    """The settings table."""
    rows = ["| flag | variable | default | what it sets |", "|---|---|---|---|"]
    for field in setting_fields():
        default = f"`{field.default}`" if str(field.default) else "empty"
        rows.append(f"| `{field.flag}` | `{field.variable}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def operations() -> str:
    """Act as customer, support or courier, and the bodies."""
    rows = ["| call | who | what happens | body |", "|---|---|---|---|"]
    for word, operation in OPERATIONS.items():
        members = ", ".join(f"`{name}`" for name in getattr(operation.body, "__struct_fields__", ())) or "none"
        rows.append(
            f"| `POST /marketplace/orders/{{code}}/{word}` | {operation.actor} | {operation.sentence} | {members} |"
        )
    return "\n".join(rows) + "\n"


def return_operations() -> str:
    """What customers, couriers and support do to returns."""
    rows = ["| call | who | what happens | body |", "|---|---|---|---|"]
    for word, operation in RETURN_OPERATIONS.items():
        members = ", ".join(f"`{name}`" for name in operation.body.__struct_fields__) or "none"
        rows.append(
            f"| `POST /marketplace/returns/{{code}}/{word}` | {operation.actor} | {operation.sentence} | {members} |"
        )
    return "\n".join(rows) + "\n"


def scenario_table() -> str:
    """The scenarios, each with the sentence that says why it exists."""
    rows = ["| scenario | why it exists | steps |", "|---|---|---|"]
    for scenario in scenarios().values():
        steps = ", ".join(str(step["do"]) for step in scenario.steps if "do" in step) or "none: the shop answers"
        rows.append(f"| `{scenario.name}` | {scenario.sentence} | {steps} |")
    return "\n".join(rows) + "\n"


def check_table() -> str:
    """The checks of a checkup, in the order of a run."""
    rows = [
        "| check | claim | in a correct integration | if not | contract, source |",
        "|---|---|---|---|---|",
    ]
    for planned in list_checks():
        check = planned.check
        severity = str(check.severity).replace("_", " ")
        section = f"[section {check.section}](contract.md#section-{check.section}); {check.source}"
        consequence = f"**{severity}**: {check.consequence}"
        rows.append(f"| `{planned.scenario.name}` | {check.claim} | {check.title} | {consequence} | {section} |")
    return "\n".join(rows) + "\n"


def recipe_pages() -> dict[Path, str]:
    """A page for each recipe, and the list of them."""
    drawn = {}
    rows = ["| recipe | case |", "|---|---|"]
    for scenario, recipe in list_recipes():
        rows.append(f"| [{recipe.title}]({scenario.name}.md) | {recipe.intro} |")
        drawn[DOCS / f"recipes/{scenario.name}.md"] = _recipe_page(scenario, recipe)
    drawn[DOCS / "recipes/README.md"] = "\n".join(
        [
            "# Recipes",
            "",
            "A recipe guides you through one case with your own integration. `kalathi recipe NAME` plays the"
            " marketplace, waits for you, and ticks the steps that it has seen"
            " ([Check an integration](../checkup.md#recipes)). These pages and the command use the same files.",
            "",
            *rows,
            "",
        ]
    )
    return drawn


def _recipe_page(scenario: Scenario, recipe: Recipe) -> str:
    who = {Turn.SHOP: "You", Turn.MARKETPLACE: "Marketplace", Turn.CHECK: "Check"}
    steps = [f"1. **Marketplace**: {PLACED.en}"]
    for number, step in enumerate(scenario.steps):
        steps.append(f"{number + 2}. **{who[turn_of(step)]}**: {say_step(recipe, number, step).en}")
    needs = [f"`{name}` is `{value}`" for name, value in scenario.requires.items()]
    return "\n".join(
        [
            f"# {recipe.title}",
            "",
            recipe.intro,
            "",
            "```",
            f"kalathi recipe {scenario.name}",
            "```",
            "",
            *([f"The shop needs: {', '.join(needs)}. The command sets this for the recipe.", ""] if needs else []),
            *steps,
            "",
            "[All recipes](README.md)",
            "",
        ]
    )


def rough_mixture() -> str:
    """The rules of the rough mixture."""
    rows = ["| on | kind | probability | limited to |", "|---|---|---|---|"]
    for rule in ROUGH:
        facts = [f"`{rule.member}`"] if rule.member else []
        facts += [f"{rule.seconds:g} s"] if rule.kind in {FaultKind.DELAY, FaultKind.REORDER} else []
        facts += ["after the work"] if rule.after else []
        rows.append(f"| {rule.on} | `{rule.kind}` | {rule.probability:.0%} | {', '.join(facts)} |")
    return "\n".join(rows) + "\n"


def body_members() -> str:
    """The members that faults in bodies may remove, set to null, or give a new word."""
    rows = ["| kind | members |", "|---|---|"]
    shown = {
        FaultKind.ABSENT_MEMBER: sorted(MAY_BE_ABSENT),
        FaultKind.NULL_MEMBER: ["those of `absent_member`", *sorted(MAY_BE_NULL - MAY_BE_ABSENT)],
        FaultKind.NEW_WORD: [
            name + (f" (except {', '.join(sorted(kept))})" if kept else "") for name, kept in sorted(MAY_BE_NEW.items())
        ],
    }
    return "\n".join([*rows, *(f"| `{kind}` | {', '.join(members)} |" for kind, members in shown.items())]) + "\n"


def mcp_tools() -> str:
    """The tools of the MCP server, with the first sentence of each description."""
    rows = ["| tool | purpose | arguments | needs `--write` |", "|---|---|---|---|"]
    for tool in TOOLS:
        arguments = ", ".join(f"`{name}`" for name in tool.schema["properties"])
        sentence = tool.description.partition(". ")[0].rstrip(".")
        rows.append(f"| `{tool.name}` | {sentence}. | {arguments} | {'yes' if tool.writes else ''} |")
    return "\n".join(rows) + "\n"


def client_calls() -> str:
    """The methods of the client, in the order in which they stand there."""
    return _methods_of(Client)


def client_products() -> str:
    """The methods of `client.products`."""
    return _methods_of(Products)


def _methods_of(kind: type) -> str:
    rows = ["| method | purpose |", "|---|---|"]
    for name, method in vars(kind).items():
        if not name.startswith("_") and callable(method):
            signature = inspect.signature(method)
            shown = signature.replace(parameters=list(signature.parameters.values())[1:])
            rows.append(
                f"| `{name}{_plain(str(shown))}` | {without_references(' '.join((method.__doc__ or '').split()))} |"
            )
    return "\n".join(rows) + "\n"


def _plain(signature: str) -> str:
    """Without the modules of types, and as a table's cell takes it."""
    return re.sub(r"(?:[a-z_]+\.)+([A-Z])", r"\1", signature).replace("datetime.", "").replace("|", "\\|")


def client_failures() -> str:
    """The classes of failures, and what each says."""
    rows = ["| class | when |", "|---|---|"]
    for name in merchant.__all__:
        failure = getattr(merchant, name)
        if isinstance(failure, type) and issubclass(failure, CallError):
            rows.append(f"| `{name}` | {without_references(' '.join((failure.__doc__ or '').split()))} |")
    return "\n".join(rows) + "\n"


def _body(route: Route) -> str:
    if route.body is None:
        return ""
    if isinstance(route.body, FileField):
        return f"multipart `{route.body.names[0]}`"
    body = route.body.schema if isinstance(route.body, CheckedBody) else route.body
    return str(getattr(body, "__name__", "list"))


def _first_sentence(handler: Any) -> str:
    return without_references(" ".join((handler.__doc__ or "").split())).partition(". ")[0].rstrip(".") + "."


PARTS: Final[dict[str, Callable[[], str]]] = {
    "state diagram": state_diagram,
    "return diagram": return_diagram,
    "return operations": return_operations,
    "merchants calls": lambda: calls(Access.MERCHANT),
    "products calls": lambda: calls(Access.PRODUCTS),
    "operators calls": lambda: calls(Access.OPERATOR),
    "links": lambda: calls(Access.PUBLIC, Access.MONITOR),
    "client calls": client_calls,
    "client products": client_products,
    "client failures": client_failures,
    "settings": settings,
    "operations": operations,
    "scenarios": scenario_table,
    "checks": check_table,
    "rough mixture": rough_mixture,
    "body members": body_members,
    "mcp tools": mcp_tools,
}


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    for page, content in pages().items():
        page.parent.mkdir(exist_ok=True)
        page.write_text(content, "utf-8")
