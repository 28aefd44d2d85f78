import dataclasses
import json
import stat

import numpy as np
import pytest

from aocsim.diffusion.data import shape_rings
from aocsim.diffusion.network import Network, load_loss, load_network, network_of, save_network
from aocsim.errors import InputError
from aocsim.law import Law

LAW = Law.tabulate("tanh", np.tanh, lambda x: 1.0 / np.cosh(x) ** 2, -8.0, 8.0, intervals=64)


def a_network(**changes):
    rng = np.random.default_rng(0)
    parts = {
        "name": "small",
        "weights": (rng.standard_normal((4, 2)), rng.standard_normal((3, 4)), rng.standard_normal((2, 3))),
        "biases": tuple(rng.standard_normal(n) for n in (4, 3, 2)),
        "time_embeddings": tuple(rng.standard_normal(n) for n in (4, 3, 2)),
        "activation": LAW,
        "data": "heart",
        "origin": {"seed": 3, "recipe": {"layout": [2, 4, 3]}},
    }
    return Network(**(parts | changes))


@pytest.fixture
def saved(tmp_path):
    return save_network(a_network(), tmp_path / "small.nc", np.array([1.0, 0.5]))


def rewrite(path, change):
    """The file again, after `change` was applied to its dataset."""
    import xarray

    dataset = change(xarray.load_dataset(path))
    dataset.to_netcdf(path)
    return path


def test_network_comes_back_bit_for_bit(saved):
    before, after = a_network(), load_network(saved)
    for key in ("weights", "biases", "time_embeddings"):
        for a, b in zip(getattr(before, key), getattr(after, key), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (after.name, after.data, after.origin) == (before.name, before.data, before.origin)
    assert after.layout == (2, 4, 3)
    assert after.units == 9
    x = np.random.default_rng(1).standard_normal((7, 2))
    np.testing.assert_array_equal(after.velocity(x, 0.3), before.velocity(x, 0.3))
    np.testing.assert_array_equal(load_loss(saved), [1.0, 0.5])


def test_velocity_is_the_layers_in_turn():
    network = a_network()
    x, t = np.array([[0.2, -1.5]]), 0.7
    z = x[0]
    for weight, bias, embedding in zip(network.weights, network.biases, network.time_embeddings, strict=True):
        z = weight @ LAW.response(z) + bias + t * embedding
    np.testing.assert_allclose(network.velocity(x, t)[0], z, rtol=1e-14)


def test_single_layer_network_goes_to_a_file(tmp_path):
    network = Network("one", (np.eye(2),), (np.zeros(2),), (np.ones(2),), LAW, "heart")
    again = load_network(save_network(network, tmp_path / "one.nc"))
    np.testing.assert_array_equal(again.weights[0], np.eye(2))
    assert not load_loss(tmp_path / "one.nc").size


def test_every_variable_says_what_it_is(saved):
    import xarray

    dataset = xarray.load_dataset(saved)
    assert dataset.attrs["aocsim_schema"] == 1
    assert json.loads(dataset.attrs["origin"])["seed"] == 3
    for variable in dataset.variables.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]


def test_writing_leaves_no_scraps_and_a_readable_file(saved, tmp_path):
    save_network(a_network(name="again"), saved)
    assert [path.name for path in tmp_path.iterdir()] == ["small.nc"]
    assert load_network(saved).name == "again"
    other = tmp_path / "plain"
    other.touch()
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_failed_write_keeps_the_old_file(saved, tmp_path, monkeypatch):
    import xarray

    def full_disk(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(xarray.Dataset, "to_netcdf", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_network(a_network(name="again"), saved)
    assert [path.name for path in tmp_path.iterdir()] == ["small.nc"]
    assert load_network(saved).name == "small"


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="folder"):
        save_network(a_network(), tmp_path / "absent" / "small.nc")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file") as caught:
        load_network(tmp_path / "absent.nc")
    assert caught.value.file == str(tmp_path / "absent.nc")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_file_that_was_cut_short_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="cut short"):
        load_network(saved)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.nc").write_text("schema = 1\n")
    with pytest.raises(InputError, match="not a netCDF file"):
        load_network(tmp_path / "text.nc")
    with pytest.raises(InputError, match="no such file"):
        load_network(tmp_path)


@pytest.mark.parametrize("key", ["weight_2", "bias_1", "time_embedding_3", "activation_coefficients"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(saved, key, value):
    def spoil(dataset):
        dataset[key].values.flat[1] = value
        return dataset

    with pytest.raises(InputError, match="finite") as caught:
        load_network(rewrite(saved, spoil))
    assert caught.value.key == key
    assert caught.value.file == str(saved)


@pytest.mark.parametrize(
    ("key", "dimension", "wrong"),
    [
        ("weight_2", "input_2", "layers do not chain"),
        ("weight_3", "output_3", "layers do not chain"),
        ("bias_1", "output_1", "wrong shape"),
        ("time_embedding_2", "output_2", "wrong shape"),
    ],
)
def test_shapes_that_do_not_chain_are_refused(saved, key, dimension, wrong):
    def spoil(dataset):
        short = dataset[key].isel({dimension: slice(1, None)}).rename({dimension: "short"})
        return dataset.drop_vars(key).assign({key: short})

    with pytest.raises(InputError, match=wrong) as caught:
        load_network(rewrite(saved, spoil))
    # A narrow input is found out at the layer before it.
    assert caught.value.key == ("weight_1" if dimension == "input_2" else key)


def test_other_schema_is_refused(saved):
    with pytest.raises(InputError, match=r"aocsim_schema.*got 2; allowed: 1"):
        load_network(rewrite(saved, lambda dataset: dataset.assign_attrs(aocsim_schema=2)))


def test_other_kind_is_refused(saved):
    with pytest.raises(InputError, match="not a network"):
        load_network(rewrite(saved, lambda dataset: dataset.assign_attrs(kind="result")))


@pytest.mark.parametrize("key", ["bias_2", "activation_lower"])
def test_missing_variable_is_refused(saved, key):
    with pytest.raises(InputError, match="missing") as caught:
        load_network(rewrite(saved, lambda dataset: dataset.drop_vars(key)))
    assert caught.value.key == key


@pytest.mark.parametrize("key", ["layers", "origin", "data"])
def test_missing_attribute_is_refused(saved, key):
    def spoil(dataset):
        del dataset.attrs[key]
        return dataset

    with pytest.raises(InputError, match="attribute") as caught:
        load_network(rewrite(saved, spoil))
    assert caught.value.key == key


def test_layers_that_do_not_chain_make_no_network():
    with pytest.raises(InputError, match="chain"):
        a_network(weights=(np.zeros((4, 2)), np.zeros((3, 5)), np.zeros((2, 3))))
    with pytest.raises(InputError, match="as many"):
        a_network(biases=())


def with_outline(**changes):
    return a_network(data="polygon:absent.csv", outline=shape_rings("letter:O"), **changes)


@pytest.fixture
def outlined(tmp_path):
    return save_network(with_outline(), tmp_path / "outlined.nc")


def test_outline_comes_back_bit_for_bit_and_needs_no_file(outlined):
    again = load_network(outlined)
    assert len(again.outline) == len(again.rings) == 2
    for a, b in zip(again.rings, shape_rings("letter:O"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rings_are_those_of_the_name_where_none_are_kept(saved):
    again = load_network(saved)
    assert again.outline == ()
    np.testing.assert_array_equal(again.rings[0], shape_rings("heart")[0])
    with pytest.raises(InputError, match="no such file"):
        a_network(data="polygon:absent.csv").rings  # noqa: B018


def test_file_from_before_outlines_were_kept_is_read(saved):
    def older(dataset):
        del dataset.attrs["data_rings"]
        return dataset

    assert load_network(rewrite(saved, older)).outline == ()


def test_kept_outline_says_what_it_is(outlined):
    import xarray

    dataset = xarray.load_dataset(outlined)
    assert dataset.attrs["data_rings"] == 2
    assert dataset["data_ring_2"].dims == ("vertex_2", "axis")
    assert "outline" in dataset["data_ring_2"].attrs["long_name"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.drop_vars("data_ring_2"), "data_rings: not the number of rings.*got 2; allowed: 1"),
        (lambda d: d.assign_attrs(data_rings=1), "data_rings: not the number of rings.*got 1; allowed: 2"),
        (lambda d: d.rename(data_ring_2="data_ring_7"), "data_ring_2: the variable is missing"),
        (lambda d: d.assign_attrs(data_rings="two"), "attribute is damaged"),
        (lambda d: d.isel(axis=[0]), "data_ring_1: wrong shape"),
        (lambda d: d.assign(data_ring_1=d["data_ring_1"].isel(axis=0)), "data_ring_1: wrong shape"),
        (lambda d: d.assign(data_ring_2=d["data_ring_2"] * np.nan), "data_ring_2: not a finite"),
        (lambda d: d.assign(data_ring_2=d["data_ring_2"].astype(str)), "data_ring_2: not numbers"),
        (lambda d: d.assign(data_ring_1=d["data_ring_1"] * 0.0), "outline: ring 1 encloses nothing"),
        (
            lambda d: d.assign({key: 2.0 * d[key] for key in ("data_ring_1", "data_ring_2")}),
            "outline: the outline is not normalised",
        ),
        (lambda d: d.assign(data_ring_2=d["data_ring_2"] + 0.5), "outline: the outline crosses"),
        (lambda d: d.isel(vertex_2=slice(2)), "outline: ring 2 encloses nothing"),
    ],
)
def test_damaged_outline_is_refused(outlined, spoil, message):
    with pytest.raises(InputError, match=message) as caught:
        load_network(rewrite(outlined, spoil))
    assert caught.value.file == str(outlined)


def test_rings_without_their_number_are_refused(outlined):
    def spoil(dataset):
        del dataset.attrs["data_rings"]
        return dataset

    with pytest.raises(InputError, match="data_rings: the attribute is missing"):
        load_network(rewrite(outlined, spoil))


def test_outline_makes_no_network_of_other_dimensions():
    flat = {"weights": (np.eye(3),), "biases": (np.zeros(3),), "time_embeddings": (np.zeros(3),)}
    assert a_network(**flat).outline == ()
    with pytest.raises(InputError, match="two dimensions"):
        with_outline(**flat)


def test_network_can_be_changed_and_keeps_its_outline():
    changed = dataclasses.replace(with_outline(), name="other")
    np.testing.assert_array_equal(changed.rings[0], shape_rings("letter:O")[0])


def test_a_network_is_read_once_as_long_as_its_file_stays_the_same(saved):
    first = network_of(saved)
    assert first.name == "small" and network_of(saved) is first
    save_network(a_network(name="another"), saved, np.array([1.0]))
    assert network_of(saved).name == "another"
    saved.unlink()
    with pytest.raises(InputError, match="no such file"):
        network_of(saved)
