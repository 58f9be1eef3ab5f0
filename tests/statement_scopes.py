"""Read a statement as PostgreSQL does, and find the tables of which it names no shop (statement_shapes.py)."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from sqlglot import exp

from kalathi.marketplace.kernel.storage.schema import METADATA
from kalathi.marketplace.kernel.storage.spread.tables import BY_COLUMN, ON_COORDINATOR, REFERENCE

_SMALL: Final = dict.fromkeys(REFERENCE, "a copy on each node") | dict.fromkeys(ON_COORDINATOR, "on the coordinator")
# The spread database runs such a subquery before its statement.
_LOOKUP: Final = re.compile(r"\(SELECT shop_id FROM \w+ WHERE \w+ = :\w+\)")
# PostgreSQL's form of `View.for_each` puts this alias before the parameters of a key.
_KEYS_OF_FOR_EACH: Final = "k"


class _Output(NamedTuple):
    """A column of a query's rows, and whether its value is that of a shop that the query names."""

    name: str
    is_bound: bool


# A condition, and the aliases that it can bind: None for all.
_Condition = tuple[exp.Expr, frozenset[str] | None]
# The columns of each CTE.
_Ctes = Mapping[str, Sequence[_Output]]


class _Source:
    """A table or a subquery of a FROM clause."""

    def __init__(self, alias: str, table: str, outputs: Sequence[_Output]) -> None:
        self.alias = alias
        self.column = BY_COLUMN.get(table, "")
        self.columns = [output.name for output in outputs]
        self.bound = {output.name for output in outputs if output.is_bound}
        self.title = table if alias == table else f"{alias} ({table})"

    @property
    def is_unbound(self) -> bool:
        """Whether it is a table that still needs a condition on its column."""
        return bool(self.column) and self.column not in self.bound

    def outputs(self) -> list[_Output]:
        """Return its columns as those of `SELECT *`."""
        return [_Output(name, name in self.bound) for name in self.columns]


class _Scope:
    """The sources of one query. Names that it does not have are those of the query around it."""

    def __init__(self, sources: Sequence[_Source], outer: "_Scope | None") -> None:
        self.sources = sources
        self.outer = outer

    def source_of(self, column: exp.Column) -> _Source | None:
        """Return the source of a column; None for an unknown one."""
        for source in self.sources:
            if source.alias == column.table if column.table else column.name in source.columns:
                return source
        return self.outer.source_of(column) if self.outer else None

    def has_value(self, expression: exp.Expr) -> bool:
        """Whether the expression is one known value: a parameter, or the column of a table that names its shop."""
        expression = _unwrap(expression)
        if isinstance(expression, exp.Column):
            source = self.source_of(expression)
            return expression.name in source.bound if source else expression.table == _KEYS_OF_FOR_EACH
        if isinstance(expression, exp.Subquery):
            return _stands_alone(expression)
        return isinstance(expression, exp.Placeholder | exp.Parameter | exp.Literal)

    def bind(self, conditions: Sequence[_Condition]) -> None:
        """Note the sources that the conditions bind, until they bind no further one. A condition binds only the aliases
        beside it, or any if there are none."""
        progress = True
        while progress:
            progress = False
            for source in self.sources:
                if source.is_unbound and any(
                    self._binds(condition, source)
                    for condition, aliases in conditions
                    if aliases is None or source.alias in aliases
                ):
                    source.bound.add(source.column)
                    progress = True

    def _binds(self, condition: exp.Expr, source: _Source) -> bool:
        condition = _unwrap(condition)
        if isinstance(condition, exp.And):
            parts = list(condition.flatten())
            return any(self._binds(part, source) for part in parts) or self._binds_by_rows(parts, source)
        if isinstance(condition, exp.Or):
            return all(self._binds(part, source) for part in condition.flatten())
        if isinstance(condition, exp.EQ):
            sides = (condition.this, condition.expression)
            return any(self._is_column_of(one, source) and self.has_value(other) for one, other in (sides, sides[::-1]))
        if isinstance(condition, exp.In):
            values = condition.expressions
            return self._is_column_of(condition.this, source) and bool(values) and all(map(self.has_value, values))
        return False

    def _binds_by_rows(self, parts: Sequence[exp.Expr], source: _Source) -> bool:
        """Whether two comparisons of rows, `(a.shop_id, …) >= (b.shop_id, …)` and `<`, leave one value of the first
        column."""
        limits: dict[type[exp.Expr], set[str]] = {exp.GTE: set(), exp.LT: set()}
        for part in parts:
            rows = (part.this, part.expression) if type(part) in limits else ()
            if rows and all(isinstance(row, exp.Tuple) for row in rows):
                first, limit = (row.expressions[0] for row in rows)
                if self._is_column_of(first, source) and self.has_value(limit):
                    limits[type(part)].add(limit.sql())
        return bool(limits[exp.GTE] & limits[exp.LT])

    def _is_column_of(self, expression: exp.Expr, source: _Source) -> bool:
        expression = _unwrap(expression)
        return (
            isinstance(expression, exp.Column)
            and expression.name == source.column
            and self.source_of(expression) is source
        )


class StatementCheck:
    """One statement. `unbound` has a sentence for each table without a shop, `refused` one for each other fault."""

    def __init__(self, tree: exp.Expr) -> None:
        self.unbound: list[str] = []
        self.refused: list[str] = []
        self._read: set[int] = set()
        if isinstance(tree, exp.Query):
            self._read_query(tree, None, {})
        elif isinstance(tree, exp.Update | exp.Delete):
            self._read_change(tree)
        elif isinstance(tree, exp.Insert):
            self._read_insert(tree)
        tables = [table for table in tree.find_all(exp.Table) if not _is_in_lookup(table)]
        for table in tables:
            if table.name in BY_COLUMN and id(table) not in self._read:
                self.refused.append(f"{table.sql()} is in a part of the statement that this check does not understand.")
        large = sorted({table.name for table in tables if table.name in BY_COLUMN})
        for name in sorted({table.name for table in tables if table.name in _SMALL}) if large else ():
            self.refused.append(f"{name} ({_SMALL[name]}) is joined with {', '.join(large)}, which are spread by shop.")

    def _read_query(self, query: exp.Expr, outer: _Scope | None, known: _Ctes) -> list[_Output]:
        """Check a query and the queries in it, and return its columns. `known` has the columns of each CTE."""
        ctes = self._read_ctes(query, outer, known)
        if isinstance(query, exp.Subquery):
            return self._read_query(query.this, outer, ctes)
        if isinstance(query, exp.SetOperation):
            return _of_both(self._read_query(query.this, outer, ctes), self._read_query(query.expression, outer, ctes))
        if isinstance(query, exp.Select):
            return self._read_select(query, outer, ctes)
        return []

    def _read_ctes(self, query: exp.Expr, outer: _Scope | None, known: _Ctes) -> dict[str, Sequence[_Output]]:
        ctes = dict(known)
        for cte in query.ctes if isinstance(query, exp.Query) else ():
            names, inner = cte.alias_column_names, cte.this
            if isinstance(inner, exp.SetOperation):
                # A recursive one reads its own rows: first those of its beginning, then also those of its step.
                ctes[cte.alias] = _rename(self._read_query(inner.this, outer, ctes), names)
                ctes[cte.alias] = _rename(self._read_query(inner, outer, ctes), names)
            ctes[cte.alias] = _rename(self._read_query(inner, outer, ctes), names)
        return ctes

    def _read_select(self, select: exp.Select, outer: _Scope | None, ctes: _Ctes) -> list[_Output]:
        joins: list[exp.Join] = select.args.get("joins") or []
        from_ = select.args.get("from_")
        parts = ([from_.this] if from_ else []) + [join.this for join in joins]
        scope = _Scope([self._source(part, outer, ctes) for part in parts], outer)
        where = select.args.get("where")
        self._bind(scope, ([(where.this, None)] if where else []) + _conditions_of(joins, scope.sources))
        for inner in _inner_queries(select):
            self._read_query(inner, scope, ctes)
        outputs: list[_Output] = []
        for shown in select.expressions:
            if shown.is_star and not isinstance(shown, exp.Alias):
                alias = shown.table if isinstance(shown, exp.Column) else ""
                for source in scope.sources:
                    outputs += source.outputs() if alias in ("", source.alias) else []
            else:
                outputs.append(_Output(shown.alias_or_name, scope.has_value(shown.unalias())))
        return outputs

    def _source(self, part: exp.Expr, outer: _Scope | None, ctes: _Ctes) -> _Source:
        alias = part.alias_or_name
        if isinstance(part, exp.Subquery):
            return _Source(alias, "", _rename(self._read_query(part, outer, ctes), part.alias_column_names))
        if isinstance(part, exp.Table) and part.name in ctes:
            self._read.add(id(part))
            return _Source(alias, "", ctes[part.name])
        if isinstance(part, exp.Table) and part.name in METADATA.tables:
            self._read.add(id(part))
            return _Source(alias, part.name, [_Output(column.name, False) for column in METADATA.tables[part.name].c])
        return _Source(alias, "", ())

    def _bind(self, scope: _Scope, conditions: Sequence[_Condition]) -> None:
        scope.bind(conditions)
        for source in scope.sources:
            if source.is_unbound:
                sentence = f"{source.title} has no known {source.column}."
                # A recursive CTE is read twice.
                self.unbound += [] if sentence in self.unbound else [sentence]

    def _read_change(self, change: exp.Update | exp.Delete) -> None:
        """Check an UPDATE or a DELETE of one table, and that it leaves the row on its node."""
        source = self._source(change.this, None, {})
        where = change.args.get("where")
        self._bind(_Scope([source], None), [(where.this, None)] if where else [])
        for assigned in change.expressions if isinstance(change, exp.Update) else ():
            if assigned.this.name == source.column and assigned.expression.name != source.column:
                self.refused.append(f"{source.title} gets another {source.column}, which may be on another node.")

    def _read_insert(self, insert: exp.Insert) -> None:
        table = insert.find(exp.Table)
        if table is not None and table.name in BY_COLUMN:
            self._read.add(id(table))
            names = {column.name for column in insert.this.expressions}
            if BY_COLUMN[table.name] not in names:
                self.refused.append(f"{table.name} gets a row without {BY_COLUMN[table.name]}.")


def _unwrap(expression: exp.Expr) -> exp.Expr:
    """Return the expression without parentheses, casts and collations."""
    while isinstance(expression, exp.Paren | exp.Cast | exp.Collate):
        expression = expression.this
    return expression


def _stands_alone(subquery: exp.Subquery) -> bool:
    """Whether the subquery has one value: it names no table of the query around it."""
    aliases = {part.alias_or_name for part in subquery.find_all(exp.Table, exp.Subquery)}
    return all(column.table in aliases for column in subquery.find_all(exp.Column) if column.table)


def _is_in_lookup(table: exp.Table) -> bool:
    subquery = table.find_ancestor(exp.Subquery)
    return subquery is not None and bool(_LOOKUP.fullmatch(subquery.sql()))


def _rename(outputs: Sequence[_Output], names: Sequence[str]) -> list[_Output]:
    renamed = [_Output(name, output.is_bound) for name, output in zip(names, outputs, strict=False)]
    return [*renamed, *outputs[len(renamed) :]]


def _of_both(first: Sequence[_Output], second: Sequence[_Output]) -> list[_Output]:
    """Return the columns of a UNION or its like."""
    both = zip(first, second, strict=False)
    return [_Output(one.name, one.is_bound and other.is_bound) for one, other in both]


def _conditions_of(joins: Sequence[exp.Join], sources: Sequence[_Source]) -> list[_Condition]:
    """Return the condition of each join with the aliases that it can bind: an outer join keeps the rows of the other
    side, whether the condition holds for them or not."""
    found: list[_Condition] = []
    for place, join in enumerate(joins, start=len(sources) - len(joins)):
        before = frozenset(source.alias for source in sources[:place])
        binds = {"": None, "LEFT": frozenset({sources[place].alias}), "RIGHT": before}
        if (condition := join.args.get("on")) is not None:
            found.append((condition, binds.get(join.side, frozenset())))
    return found


def _inner_queries(select: exp.Select) -> list[exp.Query]:
    """Return the subqueries of the conditions and columns, without those in them and those of the FROM clause."""
    roots = [select.args.get(name) for name in ("where", "group", "having", "order", "limit", "offset")]
    roots += [*select.expressions, *(join.args.get("on") for join in select.args.get("joins") or [])]
    nodes = chain.from_iterable(root.walk(prune=_is_query) for root in roots if root is not None)
    return [node for node in nodes if isinstance(node, exp.Query)]


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, exp.Query)
