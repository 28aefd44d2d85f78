"""Messages of errors that a user can cause."""

import pickle
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aocsim.errors import (
    UNSET,
    AocsimError,
    InputError,
    PhysicsError,
    ResourceError,
    from_validation,
    nearest_name,
    unknown_name,
    validate,
)


def test_all_errors_are_the_users():
    for kind in (InputError, PhysicsError, ResourceError):
        assert issubclass(kind, AocsimError)


def test_message_carries_all_that_is_given():
    error = InputError("out of range", file=Path("a/b.toml"), key="x.y", got=0, allowed="1 to 3", nearest="z")
    assert str(error) == "a/b.toml: x.y: out of range; got 0; did you mean 'z'?; allowed: 1 to 3"


def test_message_leaves_out_what_is_not_given():
    assert str(InputError("wrong")) == "wrong"
    assert str(InputError("wrong", got=None)) == "wrong; got None"
    assert InputError("wrong").got is UNSET


def test_long_input_is_cut():
    assert len(str(InputError("wrong", got="x" * 10_000))) < 200


def test_unknown_name_says_nearest_and_known():
    error = unknown_name("part sheet", "slmm", ["slm", "pair"])
    assert str(error) == "unknown part sheet; got 'slmm'; did you mean 'slm'?; known: pair, slm"
    assert "known: none" in str(unknown_name("model", "heart", []))


@pytest.mark.parametrize(
    ("name", "nearest"), [("contrst", "contrast"), ("CONTRAST", "contrast"), ("zzz", None), ("", None)]
)
def test_nearest_name(name, nearest):
    assert nearest_name(name, ["contrast", "pitch"]) == nearest


def test_located_fills_only_what_is_missing():
    error = InputError("wrong", key="a", got=1).located(file="f.toml", key="b")
    assert (error.file, error.key, error.got) == ("f.toml", "a", 1)


def test_survives_pickling():
    # Worker processes hand their errors back pickled.
    error = InputError("wrong", file="f.toml", key="a", allowed=["b"])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.got is UNSET
    assert again.allowed == ["b"]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    steps: int = Field(ge=1, le=9)
    flag: bool = True
    method: Literal["one", "two"] = "one"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    number: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    inner: Inner
    named: dict[str, Inner] = {}
    words: list[str] = Field(default=[], max_length=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inner": {"stepz": 3}}, "inner.stepz: unknown key (the first of 2 faults); did you mean 'steps'?"),
        ({"inner": {}}, "inner.steps: missing"),
        ({"inner": 3}, "inner: must be a table; got 3"),
        ({"inner": {"steps": 0}}, "inner.steps: not allowed; got 0; allowed: at least 1 and at most 9"),
        ({"inner": {"steps": "3"}}, "inner.steps: must be a whole number; got '3'"),
        ({"inner": {"steps": True}}, "inner.steps: must be a whole number; got True"),
        ({"inner": {"steps": 1.0}}, "inner.steps: must be a whole number; got 1.0"),
        ({"inner": {"steps": 1, "flag": 1}}, "inner.flag: must be true or false; got 1"),
        (
            {"inner": {"steps": 1, "method": "on"}},
            "inner.method: unknown value; got 'on'; did you mean 'one'?",
        ),
        ({"inner": {"steps": 1, "method": 1}}, "inner.method: wrong value; got 1; allowed: one or two"),
        ({"inner": {"steps": 1}, "number": float("nan")}, "number: must be a finite number; got nan"),
        ({"inner": {"steps": 1}, "number": "1"}, "number: must be a number; got '1'"),
        (
            {"inner": {"steps": 1}, "named": {"a": {"steps": 1, "x": 1}}},
            "named.a.x: unknown key; known: flag",
        ),
        (
            {"inner": {"steps": 1}, "named": {"a": {"steps": 99}}},
            "named.a.steps: not allowed; got 99; allowed: at least 1",
        ),
        ({"inner": {"steps": 1}, "words": [1]}, "words.0: must be text in quotes; got 1"),
        ({"inner": {"steps": 1}, "words": ["a", "b"]}, "words: "),
    ],
)
def test_validation_is_one_plain_message(data, message):
    with pytest.raises(InputError) as caught:
        validate(Outer, data, "f.toml")
    assert str(caught.value).startswith(f"f.toml: {message}")
    assert "\n" not in str(caught.value)


def test_validate_returns_the_model():
    assert validate(Outer, {"inner": {"steps": 4}}).inner.steps == 4


def test_from_validation_without_file():
    with pytest.raises(ValidationError) as caught:
        Inner.model_validate({"steps": 10})
    assert str(from_validation(caught.value, Inner)).startswith("steps: not allowed; got 10")
