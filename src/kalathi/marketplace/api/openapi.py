"""The OpenAPI 3.1 document, generated from the route table. The schemas come from the structs of bodies and answers."""

import inspect
import re
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import msgspec

from kalathi import __version__
from kalathi.contract.errors import ErrorEnvelope
from kalathi.marketplace.api.route import Access, Route
from kalathi.marketplace.api.routes import ROUTES
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.sandbox.triggers import TriggerKind
from kalathi.marketplace.web.bodies import CheckedBody
from kalathi.marketplace.web.reply import ERRORS, INTERNAL_ERROR
from kalathi.marketplace.web.uploads import FileField

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_REFERENCE: Final = re.compile(r"\s*\(docs/[^)]*\)")
_REF: Final = "#/components/schemas/{name}"
_SECURITY: Final = {
    Access.MERCHANT: "shopToken",
    Access.PRODUCTS: "productsToken",
    Access.OPERATOR: "operatorToken",
    Access.MONITOR: "operatorToken",
}
_TAGS: Final = {
    Access.MERCHANT: "Orders API",
    Access.PRODUCTS: "Products API",
    Access.OPERATOR: "Operator",
    Access.MONITOR: "Links",
    Access.PUBLIC: "Links",
}
# The errors of every call with this access.
_OF_ACCESS: Final = {
    Access.MERCHANT: (ErrorCode.UNAUTHORIZED, ErrorCode.NOT_ACCEPTABLE, ErrorCode.RATE_LIMITED),
    Access.PRODUCTS: (ErrorCode.UNAUTHORIZED, ErrorCode.NOT_ACCEPTABLE, ErrorCode.RATE_LIMITED),
    Access.OPERATOR: (ErrorCode.UNAUTHORIZED, ErrorCode.RATE_LIMITED),
    Access.MONITOR: (ErrorCode.UNAUTHORIZED, ErrorCode.RATE_LIMITED),
    Access.PUBLIC: (),
}


def document(vendor: str) -> dict[str, Any]:
    """Return the whole document as plain data. `vendor` is the vendor's name in the Accept header."""
    wanted = [ErrorEnvelope, *_structs()]
    schemas, components = msgspec.json.schema_components(wanted, ref_template=_REF)
    by_type = {_key(kind): _plain(schema) for kind, schema in zip(wanted, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    needs = f"Every call also needs the header Accept: application/vnd.{vendor}+json; version=3.0"
    accept, products = f"The shop's API token. {needs}", f"The shop's token of the Products API. {needs}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kalathi",
            "version": __version__,
            "summary": "An open Smart Cart: the merchants' Orders API and the operator's API.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: _plain(schema) for name, schema in sorted(components.items())},
            "securitySchemes": {
                "shopToken": {"type": "http", "scheme": "bearer", "description": accept},
                "productsToken": {"type": "http", "scheme": "bearer", "description": products},
                "operatorToken": {"type": "http", "scheme": "bearer", "description": "The operator's token."},
            },
        },
    }


def _structs() -> list[Any]:
    kinds = []
    for route in ROUTES:
        kinds += [
            kind
            for kind in (_body_type(route), route.answer, *(entry.type for entry in route.query))
            if kind is not None and kind is not bytes and not isinstance(kind, FileField)
        ]
    return list({_key(kind): kind for kind in kinds}.values())


def _body_type(route: Route) -> Any:
    return route.body.schema if isinstance(route.body, CheckedBody) else route.body


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [_TAGS[route.access]],
        "summary": summarize(route),
        "parameters": _parameters(route, by_type),
        "responses": {
            str(route.status): {"description": "Done.", "content": _answer_content(route, by_type)},
            **_failures((*_OF_ACCESS[route.access], *route.errors)),
        },
    }
    if route.access in _SECURITY:
        operation["security"] = [{_SECURITY[route.access]: []}]
    if route.body is not None:
        operation["requestBody"] = _request_body(route, by_type)
    if not operation["parameters"]:
        del operation["parameters"]
    return operation


def summarize(route: Route) -> str:
    """Return the sentences of the handler's docstring that describe the call to its callers."""
    sentence = without_references(" ".join((route.handler.__doc__ or "").split()))
    return re.sub(r"\s*Raises .*", "", sentence)


def _operation_id(route: Route) -> str:
    words = re.sub(r"\W+", "_", route.path.removeprefix("/merchants/ecommerce").removeprefix("/merchants")).strip("_")
    return f"{route.method.lower()}_{words}"


def _parameters(route: Route, by_type: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"{(\w+)}", route.path):
        schema: dict[str, Any] = {"type": "string"}
        if name == "kind":
            schema["enum"] = [str(kind) for kind in TriggerKind]
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    for entry in route.query:
        schema = by_type[_key(entry.type)]
        found.append({"name": entry.name, "in": "query", "description": entry.sentence, "schema": schema})
    if route.takes_idempotency_key:
        schema = {"type": "string", "minLength": 1, "maxLength": 255}
        description = "The same key and body happen once; a repeat gets the first answer."
        found.append({"name": "Idempotency-Key", "in": "header", "description": description, "schema": schema})
    return found


def _request_body(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    if isinstance(route.body, FileField):
        properties = {name: {"type": "string", "contentMediaType": "application/pdf"} for name in route.body.names}
        schema = {"type": "object", "properties": properties}
        return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    content = {_JSON: {"schema": by_type[_key(_body_type(route))]}}
    if route.access is Access.MERCHANT:
        content[_FORM] = {"schema": {"type": "object"}}
    return {"content": content}


def _answer_content(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    if route.answer is str:
        return {"text/html": {"schema": {"type": "string"}}}
    if route.answer is bytes:
        binary = {"type": "string", "format": "binary"}
        return {name: {"schema": binary} for name in ("application/pdf", "image/png", "image/jpeg")}
    return {_JSON: {"schema": by_type[_key(route.answer)]}}


def _failures(codes: Iterable[ErrorCode]) -> dict[str, Any]:
    words: dict[int, list[str]] = {}
    for answer in (*(ERRORS[code] for code in dict.fromkeys(codes)), ERRORS[ErrorCode.UNAVAILABLE], INTERNAL_ERROR):
        listed = words.setdefault(answer.status, [])
        if answer.word not in listed:
            listed.append(answer.word)
    content = {_JSON: {"schema": {"$ref": _REF.format(name="ErrorEnvelope")}}}
    return {
        str(status): {"description": ", ".join(listed), "content": content} for status, listed in sorted(words.items())
    }


def without_references(sentence: str) -> str:
    """Return a docstring without its references to documents of the project, such as (docs/contract.md#section-3)."""
    return _REFERENCE.sub("", sentence)


def _plain(schema: Any) -> Any:
    """Return plain data. Money becomes a number, as on the wire."""
    if isinstance(schema, str):
        # Some versions of Python and msgspec keep the indentation of a docstring.
        return without_references(inspect.cleandoc(schema))
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            number = {name: value for name, value in schema.items() if name != "format"} | {"type": "number"}
            return number | ({"default": float(schema["default"])} if "default" in schema else {})
        return {str(name): _plain(value) for name, value in schema.items()}
    if isinstance(schema, list | tuple):
        # Versions of msgspec put null in different places of a union. Here it is always last.
        return sorted((_plain(value) for value in schema), key=lambda value: value == {"type": "null"})
    if isinstance(schema, Enum):
        return schema.value
    # A default can be an amount or a struct; both must become plain JSON values.
    return schema if schema is None or isinstance(schema, str | int | float | bool) else msgspec.to_builtins(schema)
