import json

import numpy as np
import pytest

from aocsim.diffusion.data import check_data, shape_points, shape_rings
from aocsim.diffusion.polygon_file import LARGEST, read_polygon
from aocsim.errors import InputError

SQUARE = [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]
HOLE = [[1.0, 0.5], [3.0, 0.5], [3.0, 1.5], [1.0, 1.5]]


def lines(rings, separator):
    return "\n\n".join("\n".join(f"{x}{separator}{y}" for x, y in ring) for ring in rings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", lines([SQUARE, HOLE], " ")),
        ("a.csv", "# a frame\n" + lines([SQUARE, HOLE], ",") + "\n\n\n"),
        ("b.csv", "\n\n" + lines([SQUARE, HOLE], " ; ").replace("\n", "\r\n")),
        ("c.csv", "\ufeff" + lines([[*SQUARE, SQUARE[0]], HOLE], "\t")),
        ("d.txt", lines([SQUARE, HOLE], "  # ").replace("  # ", "  ").replace("\n", " # why\n", 1)),
        ("a.json", json.dumps([SQUARE, HOLE])),
        ("b.json", json.dumps({"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]], HOLE]}, indent=1)),
    ],
)
def test_every_format_gives_the_same_shape(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    rings = read_polygon(tmp_path / name)
    assert [ring.tolist() for ring in rings] == [SQUARE, HOLE]
    normal = shape_rings(f"polygon:{name}", folder=tmp_path)
    np.testing.assert_allclose(normal[0], [[-1.0, -0.5], [1.0, -0.5], [1.0, 0.5], [-1.0, 0.5]])
    points = shape_points(f"polygon:{name}", 200, np.random.default_rng(0), folder=tmp_path)
    assert not ((np.abs(points) < [0.5, 0.25]).all(axis=1)).any()


def test_comment_line_does_not_part_a_ring(tmp_path):
    (tmp_path / "a.txt").write_text("0 0\n4 0\n# half way\n4 2\n0 2\n")
    assert len(read_polygon(tmp_path / "a.txt")) == 1


def test_file_is_found_from_the_folder_or_by_its_whole_name(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(lines([SQUARE], " "))
    whole = shape_rings(f"polygon:{tmp_path / 'a.txt'}", folder="elsewhere")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(whole[0], shape_rings("polygon:a.txt")[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no outline"),
        (b"# nothing\n\n", "no outline"),
        (b"1 2\n", "1 distinct vertices"),
        (b"0 0\n1 1\n2 2\n", "no area"),
        (b"0 0\n1 1\n1 0\n0 1\n", "edge 1 of ring 1 meets edge 3 of ring 1"),
        (b"x,y\n0,0\n", "line 1: not numbers; got \\['x', 'y'\\]"),
        (b"0 0\n1 0\n\n1 1 1\n", "line 4: not a vertex"),
        (b"0 0\n1,\n", "line 2: not numbers"),
        (b"0 0\nnan 1\n", "line 2: not a finite number"),
        (b"0 0\n1 -inf\n", "line 2: not a finite number"),
        (b"0 0\n1 1e999\n", "line 2: not a finite number"),
        (bytes(range(256)), "not a text file"),
        (b"0 0\n\0\0", "not a text file"),
        (b"[[[0, 0], [1, 0], [1, 1]]", "line 1: no JSON"),
        (b"[" * 100_000, "no JSON|nested"),
        (b'{"type": "Feature"}', "type: unknown kind of object; got 'Feature'"),
        (b'{"type": "Polygon"}', "not rings"),
        (b"[1, 2]", "not rings"),
        (b"[[1, 2]]", "ring 1, vertex 1: not a vertex"),
        (b'[[[0, 0], ["a", 0], [1, 1]]]', "ring 1, vertex 2: not numbers"),
        (b"[[[0, 0], [true, 0], [1, 1]]]", "ring 1, vertex 2: not numbers"),
        (b"[[[0, 0], [null, 0], [1, 1]]]", "ring 1, vertex 2: not numbers"),
        (b"[[[0, 0], [NaN, 0], [1, 1]]]", "ring 1, vertex 2: not a finite"),
        (b"[[[0, 0], [1" + b"0" * 400 + b", 0], [1, 1]]]", "ring 1, vertex 2: not numbers"),
        (b"[[]]", "0 distinct"),
        (b"[]", "no outline"),
        (b"0 0\n" * 20_000, "too many vertices|encloses nothing"),
    ],
)
def test_content_that_is_no_polygon_is_refused_with_its_place(tmp_path, content, message):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_polygon(file)
    assert caught.value.file == str(file)
    assert len(str(caught.value)) < 600


def test_large_file_is_refused_unread(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(InputError, match="too large"):
        read_polygon(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["absent.csv", ".", "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"no such file|not the name"):
        read_polygon(tmp_path / name)


def test_name_alone_is_checked_without_the_file():
    check_data("polygon:absent.csv")
    with pytest.raises(InputError, match="file is missing"):
        check_data("polygon: ")
