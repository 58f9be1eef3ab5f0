"""Webhooks as a Python team would send them today: a Celery task that posts with requests and tries again.

Run by Celery in an environment of its own; KALATHI_BENCH_BROKER is Redis' URL.
"""

# mypy: ignore-errors
# Celery is not among the project's packages.
import os
import threading

import requests
from celery import Celery

app = Celery("webhooks", broker=os.environ["KALATHI_BENCH_BROKER"])
# If a worker does not finish a task, another worker runs it: at-least-once delivery, like ours.
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True)
_local = threading.local()


@app.task(bind=True, name="deliver", max_retries=3)
def deliver(self, url: str, body: str) -> None:
    """Send one webhook."""
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Skroutz OrderNotifier v1"}
    try:
        _local.session.post(url, data=body.encode(), headers=headers, timeout=10).raise_for_status()
    except requests.RequestException as error:
        raise self.retry(exc=error, countdown=60) from error


if __name__ == "__main__":
    import sys

    endpoint, count = sys.argv[1], int(sys.argv[2])
    text = '{"event_type":"new_order","order":"' + "x" * 2700 + '"}'
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            deliver.apply_async((endpoint, text), producer=producer)
