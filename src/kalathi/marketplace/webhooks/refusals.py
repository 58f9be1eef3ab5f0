"""The refusals of deliveries."""

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class DeliveryNotFound(Refusal, frozen=True):
    """No delivery has this id, or it is another shop's."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "Delivery not found"
