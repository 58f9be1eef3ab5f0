"""`kalathi serve --check`: whether a start with these settings would succeed."""

import os
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from kalathi.cli.declaration import find_mode_mistake
from kalathi.marketplace.kernel.settings import Settings

if TYPE_CHECKING:
    from kalathi.marketplace.sandbox.declared import Declaration


class Finding(NamedTuple):
    """The result of one check. `text` describes the state, or the fix."""

    is_good: bool
    text: str


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Yield one finding for each requirement of a start, without changing anything."""
    from kalathi.marketplace.kernel.production import production_faults

    if settings.mode == "sandbox":
        yield Finding(True, "mode: sandbox (clock, faults and scenarios are there; --mode production for real orders)")
    else:
        faults = production_faults(settings)
        yield from (Finding(False, fault) for fault in faults)
        if not faults:
            yield Finding(
                True, f"mode: production, reached at {settings.public_url}, webhooks from {settings.ip_ranges}"
            )
    yield from _check_ranges(settings)
    yield _check_folder(settings)
    yield _check_database(settings)
    yield _check_port(settings)


def check_declared(settings: Settings, declared: "Declaration | list[str]") -> Iterator[Finding]:
    """Yield the mistakes in the declared shops, or one finding with their number; nothing if none are declared."""
    if isinstance(declared, list):
        yield from (Finding(False, sentence.removesuffix(".")) for sentence in declared)
    elif mistake := find_mode_mistake(settings, declared):
        yield Finding(False, mistake.removesuffix("."))
    elif not declared.is_empty:
        rules = len(declared.faults or ()) + sum(len(shop.faults.rules) for shop in declared.shops)
        listings = sum(len(shop.listings) for shop in declared.shops)
        counts = f"shops: {len(declared.shops)}, listings: {listings}, fault rules: {rules}"
        yield Finding(True, f"declared in {declared.source.name}: {counts}")


def _check_ranges(settings: Settings) -> Iterator[Finding]:
    from kalathi.marketplace.api.sandbox import ip_ranges
    from kalathi.marketplace.webhooks.http1.tunnel import parse_proxy
    from kalathi.marketplace.webhooks.retry import RetrySchedule

    # Production's own checks name a range that cannot be read.
    ranges = "" if settings.mode == "production" else settings.ip_ranges
    for name, read in (
        ("--ip-ranges", lambda: ip_ranges(ranges, "2026-01-01T00:00:00Z")),
        ("--ip-ranges-modified", lambda: ip_ranges("", settings.ip_ranges_modified)),
        ("--webhook-attempt-minutes", lambda: RetrySchedule(settings.webhook_attempt_minutes)),
        ("--webhook-proxy", lambda: parse_proxy(settings.webhook_proxy)),
    ):
        try:
            read()
        except ValueError as error:
            yield Finding(False, f"{name}: {error}")


def _check_folder(settings: Settings) -> Finding:
    folder = settings.data
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(False, f"--data {settings.data}: this user cannot write there")
    state = "" if settings.data.exists() else " (it will be made)"
    return Finding(True, f"data folder: {settings.data.absolute()}{state}")


def _check_database(settings: Settings) -> Finding:
    from kalathi.cli.secret_flags import mask_passwords
    from kalathi.marketplace.app import DATABASE_FILE
    from kalathi.marketplace.kernel.storage.backup_sqlite import sqlite_source
    from kalathi.marketplace.kernel.storage.database import DatabaseInUseError
    from kalathi.marketplace.kernel.storage.opening import is_postgres, sqlite_path
    from kalathi.marketplace.kernel.storage.sqlite import lock_database

    try:
        if is_postgres(settings.database):
            return _check_postgres(settings.database)
        path = sqlite_path(settings.database) if settings.database else settings.data / DATABASE_FILE
    except ValueError as error:
        return Finding(False, mask_passwords(f"--{error}", settings.database))
    if not path.exists():
        return Finding(True, f"database: {path} (it will be made)")
    try:
        lock_database(path).close()
        with sqlite_source(path) as source:
            return _shape_finding(str(path), source.shape())
    except DatabaseInUseError as error:
        return Finding(False, f"database: {error}")
    except sqlite3.Error as error:
        return Finding(False, f"database: {path} cannot be read: {error}")


def _check_postgres(url: str) -> Finding:
    import psycopg

    from kalathi.cli.secret_flags import mask_passwords
    from kalathi.marketplace.kernel.storage.backup_postgres import postgres_source

    shown = mask_passwords(url, url)
    try:
        with postgres_source(url) as source:
            return _shape_finding(shown, source.shape())
    except psycopg.Error as error:
        return Finding(False, f"database: {shown} cannot be used: {mask_passwords(str(error).splitlines()[0], url)}")


def _shape_finding(shown: str, shape: str) -> Finding:
    from kalathi.marketplace.kernel.storage.migrating import HEAD

    if shape > HEAD:
        return Finding(False, f"database: {shown} is of a newer version of Kalathi; run that version")
    more = (
        "" if shape == HEAD else " (its tables will be brought up to date)" if shape else " (its tables will be made)"
    )
    return Finding(True, f"database: {shown}{more}")


def _check_port(settings: Settings) -> Finding:
    from kalathi.serving import listening_socket

    try:
        listening_socket(settings.host, settings.port).close()
    except OSError as error:
        return Finding(False, f"--host {settings.host} --port {settings.port}: {error.strerror}")
    return Finding(True, f"address: {settings.host}, port {settings.port or 'any'}")
