"""The job kinds of a marketplace: each kind of due row with its handler and its slots."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from kalathi.marketplace.kernel.clock import BusinessClock
from kalathi.marketplace.kernel.due import DueKind, DueRow
from kalathi.marketplace.kernel.idempotency import IdempotencyKeys
from kalathi.marketplace.kernel.settings import Settings
from kalathi.marketplace.kernel.storage.database import Database
from kalathi.marketplace.orders.due_work import OrderDueWork
from kalathi.marketplace.products.batches import ProductBatches
from kalathi.marketplace.returns.due_work import ReturnDueWork
from kalathi.marketplace.webhooks.dispatcher import Dispatcher, Transport
from kalathi.marketplace.webhooks.openings import Openings
from kalathi.marketplace.webhooks.retry import RetrySchedule
from kalathi.marketplace.worker.job_kinds import JobKind
from kalathi.marketplace.worker.running import Worker

Handler = Callable[[DueRow], Awaitable[None]]
# Two batches of one shop at a time would change the same listings, and one of them would have to start again.
_SLOTS_PER_SHOP: Final = {DueKind.PRODUCTS: 1}


def list_handlers(
    orders: OrderDueWork,
    reviews: ReturnDueWork,
    openings: Openings,
    idempotency: IdempotencyKeys,
    batches: ProductBatches,
) -> dict[DueKind, Handler]:
    """Return the handlers of all due rows except deliveries."""
    return {
        DueKind.EXPIRY: orders.expire,
        DueKind.EXPRESS: orders.accept_express,
        DueKind.VOUCHER: orders.make_voucher,
        DueKind.DELIVERY_NOTE: orders.make_delivery_note,
        DueKind.REVIEW: reviews.expire,
        DueKind.OPENED: openings.release,
        DueKind.PRODUCTS: batches.execute,
        DueKind.FORGET: idempotency.forget,
    }


def list_job_kinds(settings: Settings, dispatcher: Dispatcher, handlers: Mapping[DueKind, Handler]) -> list[JobKind]:
    """Return the job kinds: the handler of each kind of due row, and its number of slots."""
    return [
        _deliveries(settings, dispatcher),
        *(
            JobKind(kind, handler, slots=20, slots_per_shop=_SLOTS_PER_SHOP.get(kind, 20))
            for kind, handler in handlers.items()
        ),
    ]


def _deliveries(settings: Settings, dispatcher: Dispatcher, only_shop: str = "") -> JobKind:
    return JobKind(
        DueKind.DELIVERY,
        dispatcher.deliver,
        settings.webhook_slots_per_shop if only_shop else settings.webhook_slots,
        settings.webhook_slots_per_shop,
        record=dispatcher.record,
        prepare=dispatcher.prepare,
        weigh=dispatcher.weigh,
        only_shop=only_shop,
    )


def listener_workers(
    settings: Settings, database: Database, clock: BusinessClock, schedule: RetrySchedule
) -> Callable[[str, Transport], Worker]:
    """Return the function that makes the worker of a shop's listeners."""

    def make_worker(shop_id: str, transport: Transport) -> Worker:
        dispatcher = Dispatcher(database, clock, transport, schedule, has_listeners=True)
        return Worker(database, clock, [_deliveries(settings, dispatcher, shop_id)], is_alone=True)

    return make_worker
