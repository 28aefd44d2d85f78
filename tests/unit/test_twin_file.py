"""The public twin's parameter file: read, refused with its place, and written back as it was."""

from __future__ import annotations

import copy
import os
import time

import pytest
import yaml

from aocsim.errors import InputError
from aocsim.twin.format import (
    FIELDS,
    LARGEST,
    MOST_CHANNELS,
    measurement,
    read_measurement,
    write_measurement,
)
from aocsim.twin.sheets import PLACES, machine_spec, measured_by, sheets_of


@pytest.fixture
def tree(twin_file):
    """What a general reader makes of the file."""
    return yaml.safe_load(twin_file.read_text(encoding="utf-8"))


@pytest.fixture
def refused(tmp_path):
    """refused(text or bytes): the error that a file of this content gives."""

    def refusal(content):
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError) as caught:
            read_measurement(path)
        assert "\n" not in str(caught.value)
        assert caught.value.file == str(path)
        return caught.value

    return refusal


def changed(tree, key, value):
    out = copy.deepcopy(tree)
    *tables, last = key.split(".")
    place = out
    for step in tables:
        place = place[int(step) if isinstance(place, list) else step]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return yaml.safe_dump(out)


def test_every_number_is_read_as_a_general_reader_does(twin_file, tree):
    found = read_measurement(twin_file)
    assert found.channels == 48
    for key in FIELDS:
        value = tree
        for step in key.split("."):
            value = value[step]
        plain = found.values[key]
        plain = (
            [list(row) if isinstance(row, tuple) else row for row in plain]
            if isinstance(plain, tuple)
            else plain
        )
        assert plain == value, key


def test_written_back_it_is_the_same(twin_file, tree, tmp_path):
    path = write_measurement(read_measurement(twin_file), tmp_path / "back.yaml")
    back = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert back == tree
    assert all(isinstance(number, int) for number in back["best_to_worst_channels"])
    assert read_measurement(path).values == read_measurement(twin_file).values


def test_through_the_sheets_it_is_the_same(twin_file):
    found = read_measurement(twin_file)
    spec = machine_spec(found)
    assert measured_by(spec.parts, "sheets").values == found.values
    assert spec.channels == found.channels


def test_every_key_has_a_place_in_the_sheets():
    placed = {place.key for entries in PLACES.values() for place in entries.values()}
    placed |= {place.other for entries in PLACES.values() for place in entries.values() if place.other}
    assert placed == set(FIELDS)


def test_sheets_name_the_file_by_name_and_digest(twin_file):
    from aocsim.library import Library

    found = read_measurement(twin_file)
    texts = sheets_of(found, "some", Library.open())
    assert list(texts)[-1] == "some"
    for name, text in texts.items():
        assert str(twin_file.parent) not in text
        assert twin_file.name in text
        assert name == "some" or found.sha256 in text
        assert name == "some" or 'basis = "M"' in text


def test_extreme_numbers_survive_the_sheets(measured_values):
    values = measured_values(3, 4)
    values["close_loop_offset_and_scale.dc_offset"] = [-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]
    found = measurement(values, "made up")
    back = measured_by(machine_spec(found).parts, "sheets").values
    assert repr(back) == repr(dict(found.values))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("led_poly_coeffs_pos", [1, 2, 3], "wrong length; got 3; allowed: 4"),
        ("led_poly_coeffs_pos", 3.0, "must be a list"),
        ("row_profiles.positive_row12", [1.0] * 47, "wrong length; got 47; allowed: 48 channels"),
        ("row_profiles.positive_row12.3", "much", "must be a number; got 'much'"),
        ("row_profiles.positive_row12.3", True, "must be a number"),
        ("row_profiles.positive_row12.3", None, "must be a number"),
        ("row_profiles.positive_row12.3", "0.5", "must be a number; got '0.5'"),
        ("row_profiles.positive_row12.3", float("nan"), "must be a finite number"),
        ("row_profiles.positive_row12.3", float("-inf"), "must be a finite number"),
        ("row_profiles.positive_row12.3", [1.0], "must be a number"),
        ("saturation.piece0_constant", [1.0], "must be a number"),
        ("saturation", 1.0, "must be a table"),
        ("column_wise_weights_distortion.negative_row12.5", [1.0, 2.0], "list of 3 numbers"),
        ("column_wise_weights_distortion.negative_row12.5.1", "x", "must be a number"),
        ("best_to_worst_channels.0", 1.5, "must be a whole number"),
        ("best_to_worst_channels.0", -0.0, "must be a whole number; got -0.0; allowed: at least 1"),
        ("best_to_worst_channels.0", 0, "must be a whole number"),
        ("best_to_worst_channels.0", 49, "is no channel; got 49; allowed: each of 1 to 48 once"),
        ("best_to_worst_channels", [1, 2, 3, 3, *range(5, 49)], "names a channel twice; got 3"),
        ("tanh_sigmoid_coeffs.2", -2.0, "the pair has no exponent; got -2.0; allowed: more than 0"),
        ("tanh_sigmoid_coeffs.0", 0, "the pair has no slope; got 0.0; allowed: any number but 0"),
        ("tanh_sigmoid_coeffs.3", -0.0, "the pair has no swing"),
        ("tanh_sigmoid_coeffs.3", 1e-324, "the pair has no swing"),
        ("deq_input_min_max", [1.0, -1.0], "the lower end is above"),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(tree, refused, key, value, words):
    error = refused(changed(tree, key, value))
    assert words in str(error)
    assert error.key is not None
    assert key.startswith(error.key) or error.key.startswith(key)


def test_every_missing_key_is_named(tree, refused):
    for key in FIELDS:
        *tables, last = key.split(".")
        out = copy.deepcopy(tree)
        place = out
        for step in tables:
            place = place[step]
        del place[last]
        error = refused(yaml.safe_dump(out))
        assert error.problem == "missing"
        assert error.key == key


def test_an_unknown_key_is_named_with_the_nearest(tree, refused):
    error = refused(changed(tree, "pd_crosstalk.ratio_to_later_positive_row13", [0.0] * 48))
    assert error.key == "pd_crosstalk.ratio_to_later_positive_row13"
    assert error.nearest == "pd_crosstalk.ratio_to_later_positive_row12"
    assert str(error).endswith("allowed: one of the format's 42 keys")
    error = refused(changed(tree, "sturation", 1.0))
    assert error.nearest == "saturation"
    assert len(error.problem) < 20 and len(str(error)) < len(error.file) + 120


def test_a_number_of_channels_that_no_machine_has(measured_values):
    values = measured_values(1, 2)
    single = {
        key: value[:1] if isinstance(FIELDS[key], str) and FIELDS[key] != "number" else value
        for key, value in values.items()
    }
    assert measurement(values, "two").channels == 2
    with pytest.raises(InputError, match="2 to 4096"):
        measurement(single, "one")


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "anchors and aliases"),
        ("tanh_sigmoid_coeffs: *x\n", "anchors and aliases"),
        ("a: !!python/object/apply:os.system ['true']\n", "tags are not accepted"),
        ("!!python/object:object {}\n", "tags are not accepted"),
        ("a: !!float 1\n", "tags are not accepted"),
        ("a: 1\n---\na: 2\n", "more than one document"),
        ("a: 1\na: 2\n", "stands there twice"),
        ("led_poly_coeffs_pos: [1, 2\n", "not valid YAML, line"),
        ("? [1, 2]\n: 3\n", "key must be plain text"),
        ("[1, 2, 3]\n", "must be a table"),
        ("", "must be a table"),
        ("a: " + "[" * 30, "nested too deep"),
        # newer versions of the library refuse it themselves
        ("a: " + "[" * 100_000, "nested too deep|exceeded maximum nesting depth"),
        ("a: [" + "1," * 10_000 + "1]\n", "more than 4096"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: \x07\n", "not valid YAML"),
        ("tanh_sigmoid_coeffs: [010, 1, 2, 3, 4, 5]\n", "unknown key|missing|number"),
        ("a: .nan\n", "must be a finite number"),
        ("a: 1e999\n", "must be a finite number; got '1e999'"),
        ("a: " + "1" * 500_000 + "x\n", "unknown key"),
        ("saturation: {piece0_constant: " + "1" * 500_000 + "x}\n", "missing"),
        ("? " + "x" * 500_000 + "\n: 1\n", "must be plain text"),
        ('"a\\nb": 1\n', "must be plain text"),
        ("a: [" + f"[{'1,' * 4000}1]," * 900 + "]\n", "more values than"),
        ("\n".join(f"a{k}: 1" for k in range(500_000)), "a table of more than 100 keys"),
        (f"a: [{'1,' * 1_000_000}1]\n", "more than 4096"),
    ],
)
def test_what_is_no_plain_yaml_of_numbers_is_refused(refused, content, words):
    began = time.perf_counter()
    error = refused(content)
    assert time.perf_counter() - began < 5
    assert any(word in str(error) for word in words.split("|"))


def test_a_number_too_large_for_a_float_is_refused(tree, refused):
    text = changed(tree, "saturation.piece0_constant", 1234567.0).replace("1234567.0", "1e999")
    assert "finite" in str(refused(text))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "123456789e999"])
def test_a_number_too_large_for_a_float_is_told_as_it_is_written(tree, refused, number):
    text = changed(tree, "saturation.piece0_constant", 1234567.0).replace("1234567.0", number)
    error = refused(text)
    assert error.key == "saturation.piece0_constant"
    assert f"must be a finite number; got '{number}'; allowed: up to 1.7e308" in str(error)


def widest(kind, n):
    """A value of a field with as many characters as any number can have."""
    number = -1.7976931348623157e308
    if kind == "order":
        return [float(k + 1) for k in range(n)]
    if kind == "columns":
        return [[number] * 3] * n
    return number if kind == "number" else [number] * (n if kind == "channels" else kind)


def test_the_largest_machine_fits_into_a_file(tmp_path):
    """The limits of the file's size and of its numbers leave room for as many channels as a machine can have."""
    values = {key: widest(kind, MOST_CHANNELS) for key, kind in FIELDS.items()}
    values["deq_input_min_max"] = [-1.3, 1.3]
    values["tanh_sigmoid_coeffs"] = [1.0] * 6
    path = write_measurement(measurement(values, "made up"), tmp_path / "large.yaml")
    assert path.stat().st_size < LARGEST / 2
    assert read_measurement(path).values["row_profiles.positive_row12"][-1] == -1.7976931348623157e308


def test_no_file_is_written_that_could_not_be_read(measured_values, tmp_path):
    values = measured_values(1, 4) | {"best_to_worst_channels": [1, 2, 3, 7]}
    with pytest.raises(InputError, match="is no channel"):
        write_measurement(measurement(values, "made up"), tmp_path / "out.yaml")
    assert not list(tmp_path.iterdir())


def test_a_huge_file_is_refused_unread(refused):
    began = time.perf_counter()
    assert f"{LARGEST} bytes" in str(refused(b"a: 1\n" * (LARGEST // 2)))
    assert time.perf_counter() - began < 1


def test_what_is_no_file_is_refused(tmp_path):
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "none.yaml", "cannot be read"),
        (tmp_path / ("x" * 5000), "cannot be read"),
        (tmp_path / "a\0b", "cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            read_measurement(path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(InputError, match="not an ordinary file"):
        read_measurement(fifo)


def test_sheets_that_contradict_each_other_are_refused(twin_file):
    spec = machine_spec(read_measurement(twin_file))
    darkness = ("0.05",) * 48
    changed = spec.with_overrides({"optics": {"darkness_plus": darkness}}, lambda name: None)
    with pytest.raises(InputError, match="contradicts"):
        measured_by(changed.parts, "sheets")
