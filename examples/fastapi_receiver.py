"""Receive webhooks in a FastAPI application.

    KALATHI_MERCHANT_DATA=merchant uvicorn fastapi_receiver:app --port 8000

The connector runs beside it (`kalathi merchant --data merchant ...`), reads the same inbox and does the work; give the
marketplace this application's address instead of the connector's.
"""

import os
from pathlib import Path

from fastapi import FastAPI

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.receiver import Receiver, WebhookHandler

inbox = Inbox(Path(os.environ["KALATHI_MERCHANT_DATA"]) / "merchant.db", beside=True)
app = FastAPI()


@app.get("/")
def about() -> dict[str, str]:
    """Stand for the rest of the application."""
    return {"shop": "ours"}


# The last part of the path is a secret that only the marketplace knows.
app.mount("/webhooks", Receiver(WebhookHandler(inbox), "/change-me"))
