"""Errors whose message is meant for the person at the keyboard.

Everything a user can cause derives from `AocsimError`; the command line prints its message and exits with
status 2 (1 where a computation has not converged), without a traceback. Any other exception is a defect of the program.
"""

from __future__ import annotations

import difflib
import enum
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo


class Unset(enum.Enum):
    """Marks "nothing came", which is not the same as None; an enum, so that it survives pickling."""

    UNSET = "unset"


UNSET = Unset.UNSET
Model = TypeVar("Model", bound="BaseModel")
_LONGEST_GOT = 120


class AocsimError(Exception):
    """Base of all errors that the user can understand and mend."""


class PhysicsError(AocsimError):
    """What was asked for is mathematically or physically wrong: an unstable loop, no fixed point reached."""


class NoConvergenceError(PhysicsError):
    """A fit has not come to an end; there is no result, though nothing was wrong with what was asked (status 1)."""


class ResourceError(AocsimError):
    """The computer is too small for what was asked: memory, disk, threads."""


class InputError(AocsimError):
    """A file, key or argument is wrong; str() is one message with all that is known about it.

    >>> str(InputError("must be a whole number", file="a.toml", key="diffusion.steps", got=1.5))
    'a.toml: diffusion.steps: must be a whole number; got 1.5'

    Attributes:
        problem: what is wrong, without place and remedy.
        file: the file it stands in, or None.
        key: dotted key, spelled as in `--set KEY=VALUE`, or None.
        got: the offending value, or `UNSET`.
        allowed: a description of what is allowed, or the sequence of all known names.
        nearest: the known name closest to what came, or None.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | os.PathLike[str] | None = None,
        key: str | None = None,
        got: object = UNSET,
        allowed: str | Sequence[object] | None = None,
        nearest: str | None = None,
    ) -> None:
        """Build the message; every argument but `problem` may be left out."""
        self.problem = problem
        self.file = None if file is None else os.fspath(file)
        self.key = key
        self.got = got
        self.allowed = allowed
        self.nearest = nearest
        parts = [": ".join([place for place in (self.file, key) if place] + [problem])]
        if got is not UNSET:
            shown = repr(got)
            parts.append(f"got {shown if len(shown) <= _LONGEST_GOT else shown[:_LONGEST_GOT] + '...'}")
        if nearest is not None:
            parts.append(f"did you mean {nearest!r}?")
        if isinstance(allowed, str):
            parts.append(f"allowed: {allowed}")
        elif allowed is not None:
            parts.append(f"known: {', '.join(map(str, allowed)) or 'none'}")
        super().__init__("; ".join(parts))

    def located(self, file: str | os.PathLike[str] | None = None, key: str | None = None) -> InputError:
        """The same error with `file` and `key` filled in where this one names none."""
        return InputError(
            self.problem,
            file=file if self.file is None else self.file,
            key=key if self.key is None else self.key,
            got=self.got,
            allowed=self.allowed,
            nearest=self.nearest,
        )


def nearest_name(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, case aside; None when none resembles it."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def unknown_name(what: str, name: str, known: Iterable[str], **place: str | None) -> InputError:
    """The error for a name that is not among `known`; `place` holds `file` and `key`."""
    names = sorted(known)
    return InputError(
        f"unknown {what}",
        got=name,
        nearest=nearest_name(name, names),
        allowed=names,
        file=place.get("file"),
        key=place.get("key"),
    )


_PROBLEMS: Mapping[str, str] = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "list_type": "must be a list",
    "missing": "missing",
}


def validate(
    model: type[Model],
    data: object,
    file: str | os.PathLike[str] | None = None,
    context: Mapping[str, object] | None = None,
) -> Model:
    """`data` as an instance of a pydantic model; `context` is passed on to its validators.

    Raises:
        InputError: the first fault found, with file and key.
    """
    from pydantic import ValidationError  # late: most users of this module read no file

    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise from_validation(error, model, file) from None


def from_validation(
    error: ValidationError, model: type[BaseModel], file: str | os.PathLike[str] | None = None
) -> InputError:
    """Translate pydantic's report on `model` into one InputError.

    A misspelled key is reported before the missing key that it causes; further faults are counted only.

    Args:
        error: what pydantic raised.
        model: the model that was validated; names of known keys and ranges are read from it.
        file: the file the data came from.
    """
    details = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    detail = details[0]
    kind, got = detail["type"], detail["input"]
    location = [str(step) for step in detail["loc"] if step != "[key]"]
    key = ".".join(location)
    more = f" (the first of {len(details)} faults)" if len(details) > 1 else ""
    if kind == "extra_forbidden":
        keys = sorted(_fields(_table_at(model, location[:-1])))
        name = location[-1]
        return InputError(
            "unknown key" + more, file=file, key=key, nearest=nearest_name(name, keys), allowed=keys
        )
    field = _fields(_table_at(model, location[:-1])).get(location[-1]) if location else None
    if kind == "literal_error" and field is not None:
        words = [str(word) for word in get_args(field.annotation)]
        near = nearest_name(got, words) if isinstance(got, str) else None
        problem = "unknown value" if isinstance(got, str) else "wrong value"
        return InputError(
            problem + more, file=file, key=key, got=got, nearest=near, allowed=" or ".join(words)
        )
    cause = detail.get("ctx", {}).get("error")
    problem = str(cause) if isinstance(cause, ValueError) else _PROBLEMS.get(kind, "")
    allowed = None if field is None else _range(field)
    if not problem:
        problem = "not allowed" if allowed and "than" in kind else detail["msg"]
    return InputError(
        problem + more, file=file, key=key, got=UNSET if kind == "missing" else got, allowed=allowed
    )


def _fields(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """Fields of a model by the key that the file uses."""
    if model is None:
        return {}
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _table_at(model: type[BaseModel], location: Sequence[str]) -> type[BaseModel] | None:
    """The model of the table at a dotted place; None where the table is not a model."""
    table: Any = model
    for step in location:
        if hasattr(table, "model_fields"):
            field = _fields(table).get(step)
            table = None if field is None else field.annotation
        else:  # dict[str, Model]: the step is a free name, what follows is the value type
            table = (get_args(table) or (None,))[-1]
    return table if hasattr(table, "model_fields") else None


def _range(field: FieldInfo) -> str | None:
    """The range that the field's metadata allow, in words."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    ends = {
        name: f"{getattr(item, name):g}"
        for name in words
        for item in field.metadata
        if getattr(item, name, None) is not None
    }
    if "ge" in ends and ends["ge"] == ends.get("le"):
        return ends["ge"]
    return " and ".join(f"{words[name]} {end}" for name, end in ends.items()) or None
