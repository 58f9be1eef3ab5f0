"""Reading of one TOML table into a struct. Each mistake is found, with its place and the valid values in words."""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import inspect

from kalathi.toml_lines import Path


class Mistake(NamedTuple):
    """A mistake in the file: its place, and a sentence that says what to write."""

    path: Path
    sentence: str


# Texts whose valid characters are not clear from a pattern.
_CHARACTERS = {
    "id": "letters, digits, - and _ only",
    "token": "letters, digits and ASCII signs only, without spaces",
}


def find_mistakes(table: object, kind: type[msgspec.Struct], path: Path) -> Iterator[Mistake]:
    """Yield each mistake in the table at this path: an unknown or missing member, or a value that does not fit."""
    if not isinstance(table, dict):
        yield Mistake(path, f"write it as {_render_header(path)}.")
        return
    members = _members_of(kind)
    for name in table:
        if name not in members:
            yield Mistake((*path, name), f"there is no such member; {_suggest(name, list(members))}")
    for name, member in members.items():
        if name in table:
            yield from _find_value_mistakes(table[name], member, (*path, name))
        elif member.is_required:
            yield Mistake((*path, name), f"it is missing: {_make_sentence(member.info, (name,))}")


def read_table(table: Mapping[str, Any], kind: type[msgspec.Struct]) -> Any:
    """Return the struct of a table without mistakes."""
    return msgspec.convert(table, kind)


class _Member(NamedTuple):
    """A member of a struct: its annotation, the same as data, and whether it has no default."""

    hint: Any
    info: inspect.Type
    is_required: bool


@cache
def _members_of(kind: type[msgspec.Struct]) -> dict[str, _Member]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: _Member(hints[field.name], inspect.type_info(hints[field.name]), field.required)
        for field in msgspec.structs.fields(kind)
    }


def _find_value_mistakes(value: object, member: _Member, path: Path) -> Iterator[Mistake]:
    for part in _flatten_type(member.info):
        if isinstance(part, inspect.StructType):
            yield from find_mistakes(value, part.cls, path)
            return
        if isinstance(part, inspect.VarTupleType) and isinstance(part.item_type, inspect.StructType):
            yield from _find_list_mistakes(value, part, part.item_type.cls, path)
            return
    try:
        msgspec.convert(value, member.hint)
    except msgspec.ValidationError:
        yield Mistake(path, _make_sentence(member.info, path))
        return
    if "\0" in str(value):
        yield Mistake(path, "it holds a character that cannot be kept: U+0000.")


def _find_list_mistakes(
    value: object, shape: inspect.VarTupleType, kind: type[msgspec.Struct], path: Path
) -> Iterator[Mistake]:
    if not isinstance(value, list):
        yield Mistake(path, f"write each one as {_render_header((*path, 0))}.")
        return
    if shape.max_length is not None and len(value) > shape.max_length:
        yield Mistake(path, f"there are {len(value)}; at most {shape.max_length} are possible.")
    for number, table in enumerate(value):
        yield from find_mistakes(table, kind, (*path, number))


def _suggest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}."


def _render_header(path: Path) -> str:
    """Return how the table at this path is written: `[[shops.listings]]`, or `size = { ... }`."""
    names = [part for part in path if isinstance(part, str)]
    return f"[[{'.'.join(names)}]]" if isinstance(path[-1], int) else f"{names[-1]} = {{ ... }}"


def _flatten_type(info: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        yield from _flatten_type(info.type)
    elif isinstance(info, inspect.UnionType):
        for part in info.types:
            yield from _flatten_type(part)
    elif not isinstance(info, inspect.NoneType):
        yield info


def _make_sentence(info: inspect.Type, path: Path) -> str:
    """Return the sentence with the valid values of a type."""
    return f"give {' or '.join(_describe_type(part, path) for part in _flatten_type(info))}."


def _describe_type(info: inspect.Type, path: Path) -> str:
    match info:
        case inspect.StrType(min_length=least, max_length=most):
            allowed = _CHARACTERS.get(str(path[-1])) if info.pattern else None
            return f"a text{_describe_limits(least, most, ' characters')}" + (f", {allowed}" if allowed else "")
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number{_describe_limits(least, most)}"
        case inspect.FloatType(gt=above) if above is not None:
            return f"a number above {above:g}" + ("" if info.le is None else f" and up to {info.le:g}")
        case inspect.FloatType(ge=least, le=most):
            return f"a number{_describe_limits(least, most)}"
        case inspect.DecimalType():
            return "a number"
        case inspect.DateType():
            return "a date such as 2026-12-31"
        case inspect.EnumType(cls=kind):
            return ", ".join(f'"{member.value}"' for member in kind)
        case inspect.LiteralType(values=values):
            return ", ".join(f'"{value}"' for value in values)
        case inspect.VarTupleType(item_type=item):
            return f"a list of {' or '.join(_describe_type(part, path) for part in _flatten_type(item))}"
        case _:
            return _render_header(path)


def _describe_limits(least: float | None, most: float | None, unit: str = "") -> str:
    if least and most:
        return f" of {least:g} to {most:.0f}{unit}" if unit else f" from {least:g} to {most:.0f}"
    if most is not None:
        return f" of at most {most:.0f}{unit}" if unit else f" from {least or 0:g} to {most:.0f}"
    if least is not None:
        return f" of at least {least:g}{unit}" if unit else f" of {least:g} or more"
    return ""
