"""`kalathi openapi`: the description of every call."""

import click

from kalathi.cli.output import echo_json


@click.command()
@click.option(
    "--vendor", envvar="KALATHI_VENDOR", default="skroutz", show_default=True, help="Vendor name in the Accept header."
)
def openapi(vendor: str) -> None:
    """Print the OpenAPI 3.1 document of every call, as a running marketplace serves it at /openapi.json.

    \b
    kalathi openapi > openapi.json
    """
    from kalathi.marketplace.api.openapi import document

    echo_json(document(vendor), indent=1)
