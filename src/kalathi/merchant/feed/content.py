"""The bytes of a feed, from a file or an address, in pieces: plain, gzip, or the first XML file of a zip."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Final

_PIECE_BYTES: Final = 65_536
_IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
# A feed of a million products has about 2 GB. A small compressed file must not fill the machine.
_MOST_BYTES: Final = 4 * 1024**3
# A zip file is kept on disk while it is read.
_MOST_ZIP_BYTES: Final = 512 * 1024**2
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_SECONDS: Final = 60.0


class FeedError(Exception):
    """The feed cannot be read. The sentence says why."""


class FeedContent:
    """A feed as pieces of XML. `is_compressed` and `size` (bytes of XML) are known after the last piece."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        """`pieces` opens the source and yields its bytes."""
        self._pieces = pieces
        self.is_compressed = False
        self.size = 0

    def read(self) -> Iterator[bytes]:
        """Yield the XML in pieces. Raises FeedError."""
        try:
            for piece in self._decompress(self._pieces()):
                self.size += len(piece)
                if self.size > _MOST_BYTES:
                    raise FeedError(f"it has more than {_MOST_BYTES // 1024**3} GB")
                yield piece
        except (OSError, zlib.error, zipfile.BadZipFile, EOFError) as error:
            raise FeedError(str(error) or "it ends too early") from None
        except (NotImplementedError, RuntimeError) as error:
            # An unknown compression method, or a password.
            raise FeedError(f"the zip file cannot be unpacked: {error}") from None

    def _decompress(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        first = next(pieces, b"")
        if first.startswith(_GZIP):
            self.is_compressed = True
            yield from _gunzip(first, pieces)
        elif first.startswith(_ZIP):
            self.is_compressed = True
            yield from _unzip(first, pieces)
        else:
            yield first
            yield from pieces


def open_feed(place: str) -> FeedContent:
    """Return the feed at an address, or in a file. It is opened when its first piece is read."""
    if place.startswith(("http://", "https://")):
        return FeedContent(lambda: _download(place))
    return FeedContent(lambda: _read_file(Path(place)))


def _read_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _download(url: str) -> Iterator[bytes]:
    import niquests  # noqa: PLC0415  (50 ms)

    try:
        with niquests.get(url, stream=True, timeout=_SECONDS) as answer:
            if answer.status_code != 200:
                raise FeedError(f"the address has answered {answer.status_code}")
            yield from answer.iter_content(_PIECE_BYTES)
    except niquests.exceptions.RequestException as error:
        raise FeedError(f"the address cannot be read: {type(error).__name__}") from None


def _gunzip(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    waiting = first
    while True:
        # A piece of a bomb is not expanded as a whole.
        yield stream.decompress(waiting, _PIECE_BYTES * 16)
        waiting = stream.unconsumed_tail
        if stream.eof:
            # A file may have several members (RFC 1952, section 2.2), and zeros after the last one.
            waiting = stream.unused_data or next(pieces, b"")
            if not waiting.startswith(_GZIP[:1]):
                return
            stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif not waiting:
            piece = next(pieces, None)
            if piece is None:
                raise FeedError("the gzip file ends too early")
            waiting = piece


def _unzip(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        spool.write(first)
        for piece in pieces:
            spool.write(piece)
            if spool.tell() > _MOST_ZIP_BYTES:
                raise FeedError(f"the zip file has more than {_MOST_ZIP_BYTES // 1024**2} MB")
        with zipfile.ZipFile(spool) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".xml")]
            if not names:
                raise FeedError("the zip file has no XML file")
            with archive.open(names[0]) as file:
                yield from _read_pieces(file)


def _read_pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece
