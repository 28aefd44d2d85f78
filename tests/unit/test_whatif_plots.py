"""What pictures of studies hold, drawn from points that were not run."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.collections import QuadMesh

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.record import assemble
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.load import what_if
from aocsim.scenarios.whatif import montecarlo, sweep
from aocsim.scenarios.whatif.plots import draw
from aocsim.scenarios.whatif.store import Found

CONTRAST, BETA = "20:2000:log:5", [10.0, 20.0, 30.0, 40.0]
NODE = "2 MHz:10 MHz:log:4"


def study(kind, figure_of, **settings):
    """A study's dataset, its figures a function of the number of the point; None is an impossible one."""
    library = Library.open()
    scenario = what_if(kind, "heart", library, {"figures": ["rms_shift", "nrmse_top"], **settings})
    module = {"sweep": sweep, "montecarlo": montecarlo}[kind]
    values = [figure_of(k) for k in range(len(module.lay_out(scenario, library)))]
    found = [
        Found({}, "has no fixed point")
        if value is None
        else Found({"rms_shift": value, "nrmse_top": value / 2})
        for value in values
    ]
    laid = module.lay(scenario, library, found)
    spec = library.machine(scenario.machine)
    attributes = attributes_of(scenario, spec, notes=laid.notes, summary=laid.summary, wall_seconds=0.0)
    return assemble(
        laid.variables, laid.coordinates, {**attributes, "figures_shown": '["rms_shift", "nrmse_top"]'}
    )


@pytest.fixture
def drawn():
    figures = []

    def run(data, names=None):
        figures.append(draw(data, names))
        figures[-1].canvas.draw()
        return figures[-1]

    yield run
    for figure in figures:
        pyplot.close(figure)


def titled(figure):
    return figure.get_suptitle()


def test_one_axis_is_a_line_in_its_unit(drawn):
    figure = drawn(study("sweep", float, vary={"parts.poles.node": NODE}))
    assert len(figure.axes) == 2
    for axis, factor in zip(figure.axes, (1.0, 0.5), strict=True):
        (line,) = axis.lines
        np.testing.assert_allclose(line.get_xdata(), np.geomspace(2, 10, 4), rtol=1e-9)
        np.testing.assert_allclose(line.get_ydata(), factor * np.arange(4))
        assert axis.get_xscale() == "log" and axis.get_xlabel() == "poles: node (MHz)"
        assert axis.get_ylabel()
    assert "aoc48, serial 1, model heart, seed 1" in titled(figure)


def test_a_second_axis_of_few_values_is_a_line_each(drawn):
    figure = drawn(study("sweep", float, vary={"parts.slm.contrast": CONTRAST, "compile.beta": [20.0, 25.0]}))
    assert [len(axis.lines) for axis in figure.axes] == [2, 2]
    assert [text.get_text() for text in figure.legends[0].texts] == ["20", "25"]
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), [1, 3, 5, 7, 9])


def test_two_long_axes_are_a_map_and_a_third_its_rows_in_one_scale(drawn):
    vary = {"parts.slm.contrast": CONTRAST, "compile.beta": BETA, "parts.slm.bits": [6, 8]}
    data = study("sweep", lambda k: None if k == 3 else float(k), vary=vary)
    figure = drawn(data)
    meshes = [item for axis in figure.axes for item in axis.collections if isinstance(item, QuadMesh)]
    meshes = [mesh for mesh in meshes if mesh.get_array().size == 20]
    assert len(meshes) == 4  # two values of the third axis, two figures
    assert {mesh.get_clim() for mesh in meshes} == {(0.0, 39.0), (0.0, 19.5)}
    first = np.ma.masked_invalid(meshes[0].get_array())
    assert first.mask.sum() + np.ma.masked_invalid(meshes[2].get_array()).mask.sum() == 1
    # rows of the map are the shorter axis, and bits vary fastest
    assert first[0, 0] == 0.0 and first[0, 1] == 8.0 and first[1, 0] == 2.0
    # cells of a logarithmic axis are as wide as one another there
    x = meshes[0].get_coordinates()[0, :, 0]
    np.testing.assert_allclose(np.diff(np.log10(x)), 0.5, rtol=1e-9)
    assert "grey: impossible" in titled(figure)


def crosses(axis):
    return [line for line in axis.lines if line.get_marker() == "x"]


def test_impossible_points_of_lines_are_crossed_out_on_top(drawn):
    vary = {"parts.slm.contrast": CONTRAST, "compile.beta": [20.0, 25.0]}
    figure = drawn(study("sweep", lambda k: None if k in (3, 8) else float(k), vary=vary))
    assert "crosses: impossible" in titled(figure)
    for axis in figure.axes:
        first, second = sorted(crosses(axis), key=lambda line: line.get_ydata()[0])
        contrast = np.geomspace(20, 2000, 5)
        assert first.get_xdata() == pytest.approx(contrast[4:])
        assert second.get_xdata() == pytest.approx(contrast[1:2])
        # in the colour of its line, and above the panel whatever the figure's numbers are
        lines = [line for line in axis.lines if line.get_marker() != "x"]
        assert [first.get_color(), second.get_color()] == [line.get_color() for line in lines]
        box = axis.get_window_extent()
        where = [line.get_transform().transform(line.get_xydata()[0]) for line in crosses(axis)]
        assert all(box.x0 < x < box.x1 and box.y1 < y < box.y1 + 0.1 * box.height for x, y in where)
        assert np.isnan(lines[0].get_ydata()).tolist() == [False, False, False, False, True]


def test_impossible_points_of_one_key_at_a_time_are_crossed_out_in_its_column(drawn):
    vary = {"parts.slm.bits": [4, 6, 8], "parts.slm.flicker": ["0 mrad", "15 mrad"]}
    figure = drawn(study("sweep", lambda k: None if k == 1 else float(k), vary=vary, design="alone"))
    assert "crosses: impossible" in titled(figure)
    assert [len(crosses(axis)) for axis in figure.axes] == [1, 0, 1, 0]
    assert crosses(figure.axes[0])[0].get_xdata() == [6]


def test_one_key_at_a_time_has_a_column_each(drawn):
    vary = {"parts.slm.bits": [4, 6, 8], "parts.slm.flicker": ["0 mrad", "15 mrad"]}
    figure = drawn(study("sweep", float, vary=vary, design="alone"))
    assert len(figure.axes) == 4
    np.testing.assert_allclose(figure.axes[1].lines[0].get_xdata(), [0.0, 15.0])
    assert [axis.get_xlabel() for axis in figure.axes[2:]] == ["slm: bits", "slm: flicker (mrad)"]
    assert all(tick == round(tick) for tick in figure.axes[2].get_xticks())
    assert "impossible" not in titled(figure)


def test_words_stand_at_their_places(drawn):
    figure = drawn(study("sweep", float, vary={"diffusion.method": "heun,implicit_euler"}))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["heun", "implicit_euler"]


def test_other_figures_and_wrong_ones(drawn):
    data = study("sweep", float, vary={"compile.beta": BETA})
    assert len(drawn(data, ["nrmse_top"]).axes) == 1
    with pytest.raises(InputError, match="did you mean 'nrmse_top'"):
        draw(data, ["nrmse_tpo"])


@pytest.mark.parametrize("kind", ["sweep", "montecarlo"])
def test_why_points_were_impossible_is_no_figure(kind):
    settings = {"sweep": {"vary": {"compile.beta": BETA}}, "montecarlo": {"serials": 4}}[kind]
    data = study(kind, lambda k: float(k) if k else None, **settings)
    with pytest.raises(InputError, match="unknown figure") as told:
        draw(data, ["error"])
    assert {"nrmse_top", "rms_shift"} <= set(str(told.value).split("known: ")[1].split(", "))


def test_machines_are_dots_in_rows_and_the_part_to_blame_is_named(drawn):
    """Optics alone draws what all draw; the modulators a tenth of it."""
    size = {0: 1.0, 1: 1.0, 2: 0.1}
    data = study(
        "montecarlo",
        lambda k: size[k // 4] * (1 + k % 4),
        serials=4,
        only=["all", "optics", "slm"],
        limits={"rms_shift": "< 2.5"},
    )
    figure = drawn(data)
    places = np.concatenate([item.get_offsets() for item in figure.axes[0].collections])
    assert places.shape == (12, 2)
    rows = np.round(places[:, 1]).astype(int)
    np.testing.assert_allclose(sorted(places[rows == 2, 0]), [0.1, 0.2, 0.3, 0.4])
    assert "yield 50%" in figure.axes[0].get_yticklabels()[0].get_text()
    assert "yield 100%" in figure.axes[0].get_yticklabels()[2].get_text()
    assert "serials 1 to 4, model heart" in titled(figure)
    assert "the mismatch of optics alone comes nearest" in data.attrs["notes"]


def test_a_limit_in_per_cent_is_drawn_where_it_is(drawn):
    figure = drawn(
        study("montecarlo", float, serials=4, limits={"rms_shift": "< 250%"}), ["rms_shift", "nrmse_top"]
    )
    edges = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert edges == [2.5]
