"""`kalathi mcp`: a running marketplace as tools of an assistant."""

import sys
from pathlib import Path

import click

from kalathi.cli.operating import check_address, fail, find_market, is_proxy_wanted, market_options

# The SDK and its second package; an older SDK has only the first.
_SDK = {"mcp", "mcp_types"}


@click.command()
@click.option("--write", "writes", is_flag=True, help="Add tools that change the marketplace.")
@market_options
def mcp(writes: bool, data: Path, url: str, token: str) -> None:
    """Serve a running marketplace to an assistant over the Model Context Protocol, on standard input and output.

    The tools read orders, webhooks, the request log and the documentation. With --write, others play scenarios, move
    the clock, set faults and send webhooks again. A client such as an editor starts this command.

    \b
    kalathi mcp --data market
    kalathi mcp --data market --write
    kalathi mcp --url http://127.0.0.1:8090 --token ...
    """
    check_address(url)
    try:
        from kalathi.mcp_server.server import serve
        from kalathi.mcp_server.tool import ToolError
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SDK:
            raise
        fail(
            "the MCP server needs the package mcp, version 2, which is not installed. Install it:"
            f' {sys.executable} -m pip install "mcp>=2,<3"'
        )
    from kalathi.serving import run_loop, until_signal

    def find() -> tuple[str, str]:
        found = find_market(data, url, token)
        if found is None:
            raise ToolError(
                f"No running marketplace is known in the folder {data.absolute()}. Start `kalathi serve --data"
                f" {data.absolute()}`, or start `kalathi mcp` with --data or --url and --token of another one."
            )
        return found

    if sys.stdin.isatty():
        click.echo("An MCP client starts this command. See docs/mcp.md. Press Ctrl-C to end it.", err=True)
    run_loop(until_signal(serve(find, writes=writes, uses_proxy=is_proxy_wanted())))
