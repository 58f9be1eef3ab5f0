"""Options of a command, made from the struct of its body: one for each member, with its type, range, help and default.

A member that is an object has no option of its own. `--set PATH=VALUE` sets its members. A list of objects takes one
option for each object, `FIRST=SECOND[,name=value]`, where FIRST and SECOND are the first two members.
"""

import re
from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import click
import msgspec
from msgspec import NODEFAULT, Struct, inspect

# The values of options that are given once for a list.
_LISTS: Final = (inspect.VarTupleType, inspect.ListType)
_NULL: Final = "__null"
# The name of the parameter of --set.
SETTINGS: Final = "settings"


class _Shape(NamedTuple):
    """A member's type without null and annotations, and its description."""

    type: inspect.Type
    description: str
    is_nullable: bool


class DecimalNumber(click.ParamType[Any]):
    """A decimal number, such as 10.40."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Return the exact number."""
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            self.fail(f"{value} is not a number such as 10.40.", param, ctx)
        return number


class Day(click.ParamType[Any]):
    """A day, YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the day as the wire has it."""
        try:
            return date.fromisoformat(str(value)).isoformat()
        except ValueError:
            self.fail(f"{value} is not a day such as 2026-12-01.", param, ctx)


class Entry(click.ParamType[Any]):
    """An object of a list: `FIRST=SECOND[,name=value]`. `key` are the members FIRST and SECOND, by default the first
    two. Members that the text does not name are taken from `defaults`."""

    def __init__(
        self, struct: type[Struct], key: tuple[str, str] | None = None, defaults: Mapping[str, Any] | None = None
    ) -> None:
        fields = _fields(inspect.type_info(struct))
        self._struct = struct
        self._first, self._second = key or tuple(fields)[:2]
        self._defaults = dict(defaults or {})
        self._lists = {name for name, field in fields.items() if isinstance(_shape(field).type, _LISTS)}
        self._comma = re.compile(rf",(?=(?:{'|'.join(fields)})=)")
        self.name = f"{self._first}={self._second}".upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the members of the object."""
        if isinstance(value, dict):
            return value
        head, *rest = self._comma.split(str(value))
        left, separator, right = head.rpartition("=")
        entry = self._defaults | ({self._first: left, self._second: right} if separator else {self._first: right})
        for part in rest:
            name, _, text = part.partition("=")
            entry[name] = [*entry.get(name, []), text] if name in self._lists else text
        try:
            read = msgspec.convert(entry, self._struct, strict=False)
        except msgspec.ValidationError as error:
            self.fail(f"{value}: {error}. Give {self.name}.", param, ctx)
        return {name: getattr(read, name) for name in entry}


def make_options(
    body: type[Struct],
    *,
    flags: Mapping[str, str] | None = None,
    optional: Collection[str] = (),
    leave_out: Collection[str] = (),
    choices: Mapping[str, Collection[str]] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> list[click.Option]:
    """Return the options of a body. `flags` are other names of options by member, `optional` are members that the
    command fills in, `choices` are the valid values of members whose type does not name them, `defaults` are the
    command's own defaults, for the help."""
    options: list[click.Option] = []
    objects = []
    for field in _fields(inspect.type_info(body)).values():
        if field.name in leave_out:
            continue
        shape = _shape(field)
        if isinstance(shape.type, inspect.StructType):
            objects.append(field.name)
            continue
        flag = (flags or {}).get(field.name, field.encode_name.replace("_", "-"))
        default = (defaults or {}).get(field.name, _default_of(field))
        words = (choices or {}).get(field.name)
        option = _option(field, shape, flag, click.Choice(list(words)) if words else _choose_kind(shape.type), default)
        option.required = field.required and not default and field.name not in optional
        options.append(option)
        if shape.is_nullable and not field.required and field.default is NODEFAULT:
            options.append(
                click.Option(
                    [field.name + _NULL, f"--no-{flag}"],
                    is_flag=True,
                    default=None,
                    help=f"Remove the value of --{flag}.",
                )
            )
    if objects:
        options.append(_set_option(objects))
    return options


def read_body(body: type[Struct], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of the body that the options name. `given` are all values of the command."""
    members = set(body.__struct_fields__)
    content = {name: value for name, value in given.items() if name in members and value not in (None, ())}
    content |= {name.removesuffix(_NULL): None for name, value in given.items() if name.endswith(_NULL) and value}
    for setting in given.get(SETTINGS) or ():
        path, _, text = setting.partition("=")
        _set_member(content, inspect.type_info(body), path, text)
    return content


def _shape(field: inspect.Field) -> _Shape:
    wanted, description, is_nullable = field.type, "", False
    while isinstance(wanted, inspect.Metadata | inspect.UnionType):
        if isinstance(wanted, inspect.Metadata):
            description = description or str((wanted.extra_json_schema or {}).get("description", ""))
            wanted = wanted.type
            continue
        rest = [entry for entry in wanted.types if not isinstance(entry, inspect.NoneType)]
        is_nullable = is_nullable or len(rest) < len(wanted.types)
        # A number that may also be a text is given as a text.
        wanted = next((entry for entry in rest if isinstance(entry, inspect.StrType)), rest[0])
    return _Shape(wanted, description, is_nullable)


def _option(field: inspect.Field, shape: _Shape, flag: str, kind: click.ParamType[Any], default: str) -> click.Option:
    if isinstance(shape.type, inspect.BoolType):
        names = f"--{flag}" if field.default is False else f"--{flag}/--no-{flag}"
        return click.Option([field.name, names], is_flag=True, default=None, help=shape.description)
    is_list = isinstance(shape.type, _LISTS)
    repeated = " May be repeated." if is_list else ""
    explained = f"{shape.description}{repeated}{f'  [default: {default}]' if default else ''}"
    return click.Option([field.name, f"--{flag}"], type=kind, multiple=is_list, help=explained)


def _default_of(field: inspect.Field) -> str:
    """Return the default of a member for the help; empty if there is none, or if the option's name shows it."""
    default = field.default
    return "" if default is NODEFAULT or default is None or isinstance(default, bool) else str(default or "")


def _choose_kind(wanted: inspect.Type) -> click.ParamType[Any]:
    match wanted:
        case inspect.IntType():
            return click.INT if wanted.ge is wanted.le is None else click.IntRange(wanted.ge, wanted.le)
        case inspect.DecimalType():
            return DecimalNumber()
        case inspect.DateType():
            return Day()
        case inspect.EnumType():
            return click.Choice([member.value for member in wanted.cls])
        case inspect.LiteralType():
            return click.Choice([str(value) for value in wanted.values])
        case inspect.VarTupleType() | inspect.ListType():
            item = wanted.item_type
            return Entry(item.cls) if isinstance(item, inspect.StructType) else _choose_kind(item)
        case _:
            return click.STRING


def _set_option(objects: Collection[str]) -> click.Option:
    def check(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if "=" not in value:
                raise click.BadParameter(f"{value}: give PATH=VALUE, such as {next(iter(objects))}.name=value.")
        return values

    return click.Option(
        [SETTINGS, "--set"],
        multiple=True,
        metavar="PATH=VALUE",
        callback=check,
        help=f"Set a member of {', '.join(objects)}, such as {next(iter(objects))}.NAME=VALUE. May be repeated.",
    )


def _set_member(content: dict[str, Any], wanted: inspect.Type, path: str, text: str) -> None:
    """Set the member at a path. Raises click.BadParameter if there is no such member."""
    *parents, last = path.split(".")
    for name in parents:
        field = _field(wanted, name, path)
        content = content.setdefault(name, {})
        wanted = _shape(field).type
    shape = _shape(_field(wanted, last, path))
    if isinstance(shape.type, inspect.StructType):
        raise click.BadParameter(f"--set {path}: it has the members {', '.join(_fields(shape.type))}.")
    kind = _scalar(shape.type)
    value = kind.convert(text, None, None)
    content[last] = [*content.get(last, []), value] if isinstance(shape.type, _LISTS) else value


def _scalar(wanted: inspect.Type) -> click.ParamType[Any]:
    return click.BOOL if isinstance(wanted, inspect.BoolType) else _choose_kind(wanted)


def _field(wanted: inspect.Type, name: str, path: str) -> inspect.Field:
    fields = _fields(wanted)
    if name not in fields:
        there = f"there are {', '.join(fields)}" if fields else "the part before it has no members"
        raise click.BadParameter(f"--set {path}: there is no {name}; {there}.")
    return fields[name]


def _fields(wanted: inspect.Type) -> dict[str, inspect.Field]:
    """Return the members of a struct by name; empty for any other type."""
    return {field.name: field for field in wanted.fields} if isinstance(wanted, inspect.StructType) else {}
