"""The answer of `report` back to `Report.to_dict`'s form, by the rules of http_api.md alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STRINGS = {
    "variables": "path dtype layer device updated gradient reason optimizer gradient_device decided_by findings replicas",
    "writes": "kind op op_type device placed trace function",
    "slots": "name path updated device placed",
    "measured": "placed",
    "locations": "file function",
    "layers": "path name class_name parent variables",
    "flow_nodes": "label kind layer op op_type",
    "flow_edges": "",
}
BOOLEANS = {"trainable", "expected", "tracked", "conditional", "built", "differentiable"}
MAYBE_BOOLEANS = {"finite", "resolved"}
REFERENCES = {"location": "locations", "measured": "measured"}
PATHS = {
    "findings": ("variables", "layers"),
    "traces": ("updated",),
    "optimizers": ("tracks",),
}
BESIDE = ("source", "model", "environment", "reason", "step", "created")

Row = dict[str, Any]


def decode_report(answer: Row) -> Row:
    """Plain objects with the names of the records."""
    rows: dict[str, list[Row]] = {}
    for name in ("locations", "measured", "slots", "writes", "variables", "layers", "flow_nodes", "flow_edges"):
        rows[name] = _decode_table(answer, name, rows)
    edges = [[edge["source"], edge["target"], edge["differentiable"]] for edge in rows["flow_edges"]]
    return {
        **{name: answer[name] for name in BESIDE},
        "timings": dict(answer["timings"]),
        "variables": rows["variables"],
        "layers": rows["layers"],
        "flow": {"nodes": rows["flow_nodes"], "edges": edges},
        **{name: [_decode_object(answer, name, item) for item in answer[name]] for name in PATHS},
    }


def _decode_table(answer: Row, name: str, rows: dict[str, list[Row]]) -> list[Row]:
    table = answer[name]
    made: list[Row] = [{} for _ in range(table["rows"])]
    for column, values in table.items():
        if column == "rows":
            continue
        field = column.removesuffix("_start")
        if column == field and f"{field}_start" in table:
            continue
        decode = _choose(answer, name, field, rows)
        for row, target in enumerate(made):
            if column == field:
                target[field] = decode(values[row])
            else:
                child = rows[field] if field not in table else list(map(decode, table[field]))
                target[field] = child[values[row] : values[row + 1]]
    return made


def _choose(answer: Row, table: str, field: str, rows: dict[str, list[Row]]) -> Callable[[Any], Any]:
    if field in STRINGS[table].split():
        return lambda index: answer["strings"][index]
    if field in BOOLEANS:
        return lambda value: value == 1
    if field in MAYBE_BOOLEANS:
        return lambda value: None if value < 0 else value == 1
    if field in REFERENCES:
        return lambda row: None if row < 0 else rows[REFERENCES[field]][row]
    if field == "shape":
        return lambda size: None if size < 0 else size
    return lambda value: value


def _decode_object(answer: Row, name: str, item: Row) -> Row:
    def name_all(indexes: list[int]) -> list[str]:
        return [answer["strings"][index] for index in indexes]

    named = {**item, **{field: name_all(item[field]) for field in PATHS[name]}}

    def name_result(fix: Row) -> Row:
        return {**fix, "trains": name_all(fix["trains"]), "still_not": name_all(fix["still_not"])}

    if named.get("fix_result"):
        named["fix_result"] = name_result(named["fix_result"])
    if "trials" in named:
        named["trials"] = list(map(name_result, named["trials"]))
    return named
