"""docs/rules.md, made of the rules' own documentation: `python -m introspect.rules.document > docs/rules.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from textwrap import dedent

from introspect.rules import HEADINGS, RULES, Rule

HEAD = """# Rules

This page is made by `python -m introspect.rules.document`; the texts stand in `introspect/rules/`, one file a rule. For
each rule, `samples/rules/<name>/` holds a script that raises it and its healthy twin. `--select`, `--ignore` and
`--explain` take an id or a name.

With `--try-fixes` the code that a fix proposes (set flags, compile again with the optimizer's state, make a tf.function
anew) is done on a copy of the step, which is traced and read as any other: the report says what trains then, what still
does not, and why. `verified` is true where what is proposed first mends the finding there; `trials` has a result for each
proposal that was tried. Where your own code has to change, that is not tried: the report says what compiling again leaves.

| Id | Name | Severity | Certainty | |
| --- | --- | --- | --- | --- |
"""


def write_document(rules: Sequence[Rule] = RULES) -> str:
    """The whole page.

    Raises:
        ValueError: a rule lacks a heading, or has one that is unknown.
    """
    rows = "".join(
        f"| [{rule.id}](#{rule.id.lower()}-{rule.name}) | {rule.name} | {rule.severity} | {rule.certainty} "
        f"| {rule.summary} |\n"
        for rule in rules
    )
    return HEAD + rows + "".join(_write_rule(rule) for rule in rules)


def _write_rule(rule: Rule) -> str:
    parts = [f"\n## {rule.id} {rule.name}\n\n{rule.summary} *({rule.severity}, {rule.certainty})*\n"]
    for heading, text in read_sections(rule).items():
        body = f"```python\n{text}\n```" if heading == "Example" else " ".join(text.split())
        parts.append(f"\n**{heading}**\n\n{body}\n" if heading == "Example" else f"\n**{heading}.** {body}\n")
    return "".join(parts)


def read_sections(rule: Rule) -> dict[str, str]:
    """The text below each of HEADINGS, in their order.

    Raises:
        ValueError: the documentation has other headings, or nothing below one.
    """
    found: dict[str, list[str]] = {}
    for heading, line in _read_lines(rule.doc):
        found.setdefault(heading, []).append(line)
    sections = {heading: dedent("\n".join(lines)).strip() for heading, lines in found.items()}
    if tuple(sections) != HEADINGS or not all(sections.values()):
        raise ValueError(f"{rule.id}: its documentation has the headings {list(sections)}; it needs {list(HEADINGS)}")
    return sections


def _read_lines(doc: str) -> Iterator[tuple[str, str]]:
    heading = ""
    for line in doc.strip().splitlines()[1:]:
        if line and not line.startswith(" "):
            heading = line.strip()
        elif heading:
            yield heading, line


if __name__ == "__main__":
    sys.stdout.write(write_document())
