"""YAML of tables, lists and numbers alone: no tags, anchors or aliases, no second document, and nothing without end.

The parser's events are read one by one, so that a file that is refused is refused at its first fault, whatever follows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aocsim.errors import InputError

DEEPEST = 4  # tables and lists within each other; the twin's format has three
MOST_KEYS = 100  # of one table; the twin's format has fourteen
MOST_EVENTS = 50  # for each element of the longest list: one a number, two a list; the twin's format has 33
LONGEST_KEY = 100
LONGEST_NUMBER = 400  # characters: no float needs more, and a pattern may be slow on what is far longer

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?\.?(?:inf|nan|infinity)", re.IGNORECASE)


def parse(text: str, path: Path, longest: int) -> Any:
    """Tables, lists, numbers and texts of the one document in a text.

    Args:
        text: of the file.
        path: its path, for messages.
        longest: elements that a list may have.

    Raises:
        InputError: any fault, with its place.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(path, longest).document(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"is not valid YAML{where}: {problem}", file=path) from error


@dataclass(frozen=True)
class _Reader:
    path: Path
    longest: int

    def document(self, source: Iterable[Any]) -> Any:
        import yaml

        tree: Any = None
        documents = 0
        events = self.counted(source)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise InputError("holds more than one document", file=self.path)
                tree = self.node(next(events), events, "", 1)
        return tree

    def counted(self, events: Iterable[Any]) -> Iterator[Any]:
        for count, event in enumerate(events):
            if count == MOST_EVENTS * self.longest:
                raise InputError("holds more values than such a file can", file=self.path)
            yield event

    def node(self, event: Any, events: Iterator[Any], place: str, depth: int) -> Any:
        import yaml

        key = place or None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InputError("YAML anchors and aliases are not accepted", file=self.path, key=key)
        if event.tag is not None:
            raise InputError("YAML tags are not accepted", file=self.path, key=key, got=str(event.tag))
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event.value, event.style, key)
        if depth > DEEPEST:
            raise InputError("tables and lists are nested too deep", file=self.path, key=key)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                if len(items) == self.longest:
                    raise InputError(f"a list of more than {self.longest}", file=self.path, key=key)
                items.append(self.node(event, events, f"{place}.{len(items)}" if place else "", depth + 1))
            return items
        table: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            name = self.name(event, key)
            here = f"{place}.{name}" if place else name
            if name in table:
                raise InputError("stands there twice", file=self.path, key=here)
            if len(table) == MOST_KEYS:
                raise InputError(f"a table of more than {MOST_KEYS} keys", file=self.path, key=key)
            table[name] = self.node(next(events), events, here, depth + 1)
        return table

    def name(self, event: Any, key: str | None) -> str:
        """A key of the table at `key`."""
        import yaml

        if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
            raise InputError("a key must be plain text", file=self.path, key=key)
        name: str = event.value
        if len(name) > LONGEST_KEY or not name.isprintable():
            raise InputError("a key must be plain text", file=self.path, key=key, got=name)
        return name

    def scalar(self, text: str, style: str | None, key: str | None) -> float | str:
        """A number; other text comes back as it is, to be refused with its place."""
        if style or len(text) > LONGEST_NUMBER:  # quoted, a block of text, or more than any number needs
            return text
        if _NOT_FINITE.fullmatch(text):
            raise InputError("must be a finite number", file=self.path, key=key, got=text)
        # a leading 0 is octal to some readers
        if not _NUMBER.fullmatch(text) or re.match(r"[+-]?0[0-9]", text):
            return text
        number = float(text)
        if math.isinf(number):  # as it stands in the file, where there is no "inf"
            allowed = "up to 1.7e308 either way"
            raise InputError("must be a finite number", file=self.path, key=key, got=text, allowed=allowed)
        return number
