"""The refusals of the pages themselves. Their texts in both languages are in refusal_texts.py."""

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class NotANumber(Refusal, frozen=True):
    """A field of a form that needs a number."""

    member: str
    SENTENCE = "{member}: give a number such as 10.40."


class NotATime(Refusal, frozen=True):
    """A time that cannot be read."""

    SENTENCE = "Enter a date and a time in Athens, such as 2026-11-24T10:00."


class UnknownOrder(Refusal, frozen=True):
    """One of several chosen orders does not exist, or is another shop's."""

    code: str
    CODE = ErrorCode.ORDER_NOT_FOUND
    SENTENCE = "Order {code} not found"


class OrderWithoutVoucher(Refusal, frozen=True):
    """One of several chosen orders has no voucher."""

    code: str
    SENTENCE = "Order {code} has no voucher."


class NoShare(Refusal, frozen=True):
    """A share of faults that is not a percentage."""

    SENTENCE = "The share of a fault is a whole number from 1 to 100."


class NotJson(Refusal, frozen=True):
    """An edited webhook that is not JSON."""

    SENTENCE = "The body must be JSON."


class TooManyToResend(Refusal, frozen=True):
    """A filter with too many failed webhooks."""

    most: int
    SENTENCE = "More than {most} webhooks match. Narrow the list."


class NoSuchPage(Refusal, frozen=True):
    """An address that no page has."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "There is no such page."


class NoSuchState(Refusal, frozen=True):
    """A list is filtered by a state that does not exist."""

    SENTENCE = "There is no such state."


class NoSuchChoice(Refusal, frozen=True):
    """A list is filtered or sorted by a value that does not exist."""

    SENTENCE = "There is no such choice."


class NotADay(Refusal, frozen=True):
    """A day of a filter that cannot be read."""

    SENTENCE = "Enter a day such as 2026-11-24."


class NotConfirmed(Refusal, frozen=True):
    """An action that cannot be undone, without the user's confirmation."""

    SENTENCE = "This cannot be undone. Tick the box to confirm."


class NoNote(Refusal, frozen=True):
    """A note without a text, or with a text that is too long."""

    most: int
    SENTENCE = "Write a note of at most {most} characters."


class NoViewName(Refusal, frozen=True):
    """A view of the list without a name, or with a name that is too long."""

    most: int
    SENTENCE = "Give the view a name of at most {most} characters."


class TooManyViews(Refusal, frozen=True):
    """More saved views than a page can show."""

    most: int
    SENTENCE = "There are {most} saved views already. Remove one first."


class NoSuchDemoOrder(Refusal, frozen=True):
    """A webhook of a demo order that does not exist."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "There is no such demo order."


class NoVoucher(Refusal, frozen=True):
    """An order without a voucher to show."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "Voucher not found"


class TooManyOpenPages(Refusal, frozen=True):
    """Too many pages follow changes, of one visitor or in total."""

    CODE = ErrorCode.RATE_LIMITED
    SENTENCE = "Too many pages are open already."


class UnreadableForm(Refusal, frozen=True):
    """A form with an unreadable encoding."""

    CODE = ErrorCode.UNREADABLE_BODY
    SENTENCE = "The form cannot be read."


class EmptyFile(Refusal, frozen=True):
    """A chosen file without content."""

    SENTENCE = "The file is empty."


class WrongPassword(Refusal, frozen=True):
    """A name and a password that do not belong together. It does not say whether the name exists."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "This name or this password is not correct."


class SignInByName(Refusal, frozen=True):
    """A token's place has people, who sign in by themselves."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "Sign in with your name and password. The token is only for a place without people."


class RoleTooLow(Refusal, frozen=True):
    """A form or page that the person's role does not allow."""

    SENTENCE = "Your role does not allow this. Ask an owner."


class WrongToken(Refusal, frozen=True):
    """A token to sign in with that is not valid."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "This token is not valid."


class NotTheShop(Refusal, frozen=True):
    """A page of a shop without the shop's session."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "Sign in with the shop's token."


class NotSignedIn(Refusal, frozen=True):
    """A form that was sent after its session ended."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "Your session has ended. Nothing was done. Sign in and try again."


class SignedInAsAnother(Refusal, frozen=True):
    """A form for pages of another user."""

    CODE = ErrorCode.UNAUTHORIZED
    SENTENCE = "You are signed in as another user. Nothing was done. Sign in for this page and try again."


class AnotherShopOpened(Refusal, frozen=True):
    """A form of a shop in a browser that has opened another shop since."""

    SENTENCE = "Another shop has been opened in this browser since this form was opened. Nothing was done for either."


class NoCookies(Refusal, frozen=True):
    """A form to sign in without the cookie that belongs to it."""

    SENTENCE = "This form is too old, or your browser keeps no cookies. Load the page again, and repeat."


class SessionChanged(Refusal, frozen=True):
    """A form that was opened in an earlier session of the same user."""

    SENTENCE = "Your session changed since you opened this form. Check it and send it again."


class ForeignForm(Refusal, frozen=True):
    """The form's token does not belong to this browser's session."""

    SENTENCE = "This form is too old, or not ours. Go back, load the page again, and repeat."


class DatabaseAway(Refusal, frozen=True):
    """The database cannot be reached."""

    CODE = ErrorCode.UNAVAILABLE
    SENTENCE = "The marketplace cannot reach its database at the moment. Try again."


class InternalFault(Refusal, frozen=True):
    """A fault of the marketplace."""

    SENTENCE = "Something went wrong on our side. Nothing was saved."


class NothingBought(Refusal, frozen=True):
    """A cart without a quantity."""

    SENTENCE = "Enter a quantity for at least one product."


class NoFullName(Refusal, frozen=True):
    """A cart without the customer's name."""

    SENTENCE = "The customer needs a first and a last name."


class NothingSentBack(Refusal, frozen=True):
    """A return without a quantity."""

    SENTENCE = "Enter a quantity for at least one item."


class NoOrdersHook(Refusal, frozen=True):
    """A webhook is to be sent to a shop that receives none."""

    SENTENCE = "The shop has no webhook URL, or its switch is off."


class NothingDue(Refusal, frozen=True):
    """The clock is to move to the next event, and there is none."""

    SENTENCE = "Nothing is due."


class NoClockMove(Refusal, frozen=True):
    """A move of the clock without a distance."""

    SENTENCE = "Choose how far to move the clock."


class CommentNotSent(Refusal, frozen=True):
    """A comment with a decision that sends none."""

    SENTENCE = "This decision sends no comment to the customer. Clear the comment, or choose another decision."


class PartNotNamed(Refusal, frozen=True):
    """The address of a part with a decision that names none."""

    SENTENCE = "This decision takes no link to a part. Clear the link, or choose another decision."


class NoAddressToTry(Refusal, frozen=True):
    """A test webhook without a saved address."""

    SENTENCE = "Save a webhook address first."


class WebhookBeingTried(Refusal, frozen=True):
    """A second test webhook at the same time."""

    CODE = ErrorCode.RATE_LIMITED
    SENTENCE = "A test webhook is already being sent. Wait for its answer."


class NoOrdersChosen(Refusal, frozen=True):
    """An action on several orders without an order."""

    SENTENCE = "Select orders first."


class TooManyOrdersChosen(Refusal, frozen=True):
    """An action on more orders than one form may have."""

    most: int
    SENTENCE = "Select at most {most} orders at once."


class TooManyLinesToPrint(Refusal, frozen=True):
    """A printed list of orders with too many lines in all."""

    most: int
    SENTENCE = "These orders have more than {most} lines. Select fewer orders."
