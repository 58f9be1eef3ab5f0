"""The refusals of people and invitations."""

from kalathi.marketplace.kernel.errors import ErrorCode, Refusal


class InvitationEnded(Refusal, frozen=True):
    """An invitation that was used or removed, or has expired."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "This invitation has been used, or it is too old. Ask for a new one."


class PersonNotFound(Refusal, frozen=True):
    """No person of this place has this id."""

    CODE = ErrorCode.NOT_FOUND
    SENTENCE = "There is no such person."


class NoName(Refusal, frozen=True):
    """A person without a name, or with a name that is too long."""

    most: int
    SENTENCE = "Enter a name of at most {most} characters."


class NameTaken(Refusal, frozen=True):
    """The name of another person. Names are unique in the whole marketplace, because people sign in with them."""

    SENTENCE = "This name is taken. Choose another, such as your e-mail address."


class BadPassword(Refusal, frozen=True):
    """A password that is too short or too long."""

    least: int
    most: int
    SENTENCE = "Choose a password of {least} to {most} characters."


class PasswordIsName(Refusal, frozen=True):
    """A password that contains the person's name."""

    SENTENCE = "Choose a password that does not contain your name."


class OldPasswordWrong(Refusal, frozen=True):
    """The present password of a person who wants a new one."""

    SENTENCE = "Your current password is not correct."


class LastOwner(Refusal, frozen=True):
    """The only owner, who would leave or get a lower role. No person could manage people after that."""

    SENTENCE = "There must be an owner. Make another person an owner first."


class FirstMustBeOwner(Refusal, frozen=True):
    """The first person of a place has a role that could not invite others."""

    SENTENCE = "The first person must be an owner."


class TooManyPeople(Refusal, frozen=True):
    """The place has the largest number of people and invitations."""

    most: int
    SENTENCE = "There are {most} people and invitations. Remove one first."
