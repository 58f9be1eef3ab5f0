"""The refusals of anonymising and erasing."""

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class OrderUnderWay(Refusal, frozen=True):
    """An order that is not finished, or that has a return under way. The shop and the courier need its customer."""

    code: str
    CODE = ErrorCode.ORDER_STATUS
    SENTENCE = "Order {code} is not finished, or has a return under way."


class ShopNotClosed(Refusal, frozen=True):
    """A shop that is to be erased but is not closed."""

    CODE = ErrorCode.CONFLICT
    SENTENCE = "Close the shop first. Only a closed shop can be erased."


class NothingToSearch(Refusal, frozen=True):
    """A search for a customer without a name."""

    SENTENCE = "Enter a name or an order code."
