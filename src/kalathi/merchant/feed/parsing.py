"""Read a feed as a stream, one product at a time, so that files may have any size.

The layout of feeds is not fixed. A product is an element `product` with members such as `id` and `price_with_vat`, and
with `variations`. Names are compared without case and without underscores, because shops write `UniqueID`, `unique_id`
or `id`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from xml.parsers import expat

from kalathi.merchant.feed.content import FeedError

_PRODUCT: Final = "product"
_VARIATION: Final = "variation"
_CREATED_AT: Final = "createdat"
_LONGEST_TEXT: Final = 100_000
# More variations of one product are not kept.
MOST_VARIATIONS: Final = 1000


class FeedElement(NamedTuple):
    """The members of a product or a variation by their plain names, such as `pricewithvat`, and its line."""

    line: int
    members: dict[str, str]

    def find(self, *names: str) -> str | None:
        """Return the first of these members that is there, without spaces around it; None if there is none."""
        return next((self.members[name].strip() for name in names if name in self.members), None)


class FeedProduct(NamedTuple):
    """A product of a feed, with its variations."""

    element: FeedElement
    variations: list[FeedElement]


class FeedStart(NamedTuple):
    """The creation time as the feed writes it; None if the feed has none."""

    created_at: str


def read_feed(pieces: Iterable[bytes]) -> Iterator[FeedProduct | FeedStart]:
    """Yield the creation time and each product, in their order. Raises FeedError with the line of a fault."""
    reader = _Reader()
    parser = reader.parser
    try:
        for piece in pieces:
            parser.Parse(piece, False)
            yield from reader.take()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise FeedError(f"line {error.lineno}: it is not valid XML ({expat.ErrorString(error.code)})") from None
    except (LookupError, ValueError) as error:
        raise FeedError(f"line {parser.CurrentLineNumber}: {error}") from None
    yield from reader.take()


class _Reader:
    """Collects products while the parser runs."""

    def __init__(self) -> None:
        self.parser: Any = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        # Entities of the file's own could grow to any size, and no feed needs them.
        self.parser.EntityDeclHandler = self._refuse_entity
        self._found: list[FeedProduct | FeedStart] = []
        self._product: FeedProduct | None = None
        self._variation: FeedElement | None = None
        self._texts: list[str] = []
        self._length = 0
        # The number of open elements, and the same number inside of the open product and the open variation.
        self._depth = self._product_depth = self._variation_depth = 0

    def take(self) -> list[FeedProduct | FeedStart]:
        """Return the entries since the last call."""
        found, self._found = self._found, []
        return found

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        plain = _plain(name)
        line = self.parser.CurrentLineNumber
        self._depth += 1
        if plain == _PRODUCT and self._product is None:
            self._product, self._product_depth = FeedProduct(FeedElement(line, {}), []), self._depth
        elif plain == _VARIATION and self._product is not None:
            self._variation, self._variation_depth = FeedElement(line, {}), self._depth
        self._texts, self._length = [], 0

    def _text(self, text: str) -> None:
        self._length += len(text)
        if self._length <= _LONGEST_TEXT:
            self._texts.append(text)

    def _end(self, name: str) -> None:
        plain, text = _plain(name), "".join(self._texts)
        self._texts, self._length = [], 0
        self._depth -= 1
        if plain == _CREATED_AT and self._product is None:
            self._found.append(FeedStart(text.strip()))
        elif self._product is None:
            return
        elif plain == _PRODUCT and self._depth < self._product_depth:
            self._found.append(self._product)
            self._product = None
        elif plain == _VARIATION and self._variation is not None and self._depth < self._variation_depth:
            if len(self._product.variations) < MOST_VARIATIONS:
                self._product.variations.append(self._variation)
            self._variation = None
        elif self._variation is not None:
            if self._depth == self._variation_depth:
                self._variation.members.setdefault(plain, text)
        elif self._depth == self._product_depth:
            # Elements within members, such as the id of a category, are no members of the product.
            self._product.element.members.setdefault(plain, text)

    def _refuse_entity(self, *_arguments: object) -> None:
        raise FeedError(f"line {self.parser.CurrentLineNumber}: the file declares entities of its own")


def _plain(name: str) -> str:
    return name.rpartition(":")[2].lower().replace("_", "").replace("-", "")
