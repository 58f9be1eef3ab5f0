"""Receive webhooks in Django, with a view that calls one plain method. This works in any other framework too.

    KALATHI_MERCHANT_DATA=merchant python django_receiver.py runserver 8000

The connector runs beside it (`kalathi merchant --data merchant ...`), reads the same inbox and does the work; give the
marketplace this application's address instead of the connector's.
"""

import os
import secrets
import sys
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from kalathi.merchant.inbox import Inbox
from kalathi.merchant.receiver import LARGEST_BODY_BYTES, WebhookHandler

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY=secrets.token_hex(),
    # Django's own limit is half of the connector's, and would refuse long webhooks with 400.
    DATA_UPLOAD_MAX_MEMORY_SIZE=LARGEST_BODY_BYTES,
)

# One handler for the whole process. Any thread may use it.
handler = WebhookHandler(Inbox(Path(os.environ["KALATHI_MERCHANT_DATA"]) / "merchant.db", beside=True))


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Store one webhook. The event is on disk before the answer 200."""
    answer = handler.handle(request.body, request.headers, request.META.get("REMOTE_ADDR"))
    return HttpResponse(answer.body, status=answer.status)


# The last part of the path is a secret that only the marketplace knows.
urlpatterns = [path("webhooks/change-me", webhook)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
