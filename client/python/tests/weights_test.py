"""Weight sets: where they come from, and what the server keeps."""

import hashlib
import io
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from attention_client import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    Initializer,
    InvalidArgumentError,
    NotFoundError,
    WeightSet,
    WeightSetSelector,
    operations,
)
from attention_client import attention_pb2 as pb
from attention_client.weight_stream import WeightSetAssembler


def weight_set(random, width=3, dtype=np.float32, layout="in_out"):
    """Four random square projections, one with a bias."""
    arrays = {path: random.standard_normal((width, width)).astype(dtype)
              for path in ("query", "key", "value", "output")}
    arrays["output.bias"] = random.standard_normal(width).astype(dtype)
    return WeightSet.from_dict(arrays, num_heads=1, layout=layout)


def same(first, second):
    """Whether two weight sets are equal to the bit, type and all."""
    return first.to_message() == second.to_message()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32,
                                   np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("width", [3, 700])  # one message; an upload in chunks
def test_what_was_set_comes_back_to_the_bit(client, random, name, width, dtype):
    weights = weight_set(random, width, dtype)
    version = client.set_weights(name, weights, labels=["a"],
                                 annotations={"made by": "a test"})
    stored = client.get_weights(version)
    assert same(stored.weights, weights)
    assert version.sha256 == weights.sha256()
    summary = stored.summary
    assert summary.version == version
    assert (summary.labels, summary.annotations) == (("a",), {"made by": "a test"})
    assert (summary.num_heads, summary.num_kv_heads) == (1, 1)
    assert (summary.head_dim, summary.value_dim) == (width, width)
    assert (summary.dtype, summary.tensor_bytes) == (dtype, weights.nbytes)
    assert summary.create_time.utcoffset().total_seconds() == 0
    client.delete_weights(name)


def test_the_server_refuses_an_upload_as_it_does_a_message(client, random, name):
    for width in (3, 700):
        weights = weight_set(random, width)
        bad = WeightSet(query=weights.query, key=weights.key, value=weights.value,
                        output=weights.output, num_heads=11, layout="in_out")
        with pytest.raises(InvalidArgumentError) as raised:
            client.set_weights(name + str(width), bad)
        assert "num_heads" in str(raised.value)
        assert raised.value.violations


def test_compare_and_set_holds_for_messages_and_uploads(client, random, name):
    for width in (3, 700):
        weights = weight_set(random, width)
        target = name + str(width)
        assert client.set_weights(target, weights, expected_version=0).version == 1
        with pytest.raises(AbortedError):
            client.set_weights(target, weights, expected_version=0)
        assert client.set_weights(target, weights, expected_version=1).version == 2
        client.delete_weights(target)


def test_an_idempotency_key_appends_once(client, random, name):
    for width in (3, 700):
        weights = weight_set(random, width)
        versions = [client.set_weights(name + str(width), weights,
                                       idempotency_key="once") for _ in range(2)]
        assert versions[0] == versions[1]
        client.delete_weights(name + str(width))


def test_one_text_is_not_taken_for_labels(client, name):
    weights = Initializer(distribution="linear", seed=1, layout="out_in",
                          num_heads=1, query_width=4, head_dim=2)
    with pytest.raises(TypeError, match=r"labels is 'prod'; expected .*\['prod'\]"):
        client.set_weights(name, weights, labels="prod")


def test_a_dict_is_not_taken_for_a_weight_set(client, name):
    with pytest.raises(TypeError, match="^weights is dict; expected a WeightSet"):
        client.set_weights(name, {"query": np.eye(2)})


def test_labels_move_and_go(client, random, name):
    first, second = (client.set_weights(name, weight_set(random)) for _ in range(2))
    stable = WeightSetSelector(name, label="stable")
    assert client.set_label(name, "stable", 1, expected_version=0) == first
    with pytest.raises(AbortedError):
        client.set_label(name, "stable", 2, expected_version=0)
    assert client.get_weights(stable).summary.version == first
    assert client.set_label(name, "stable", 2) == second
    assert client.get_weights(stable).summary.version == second
    with pytest.raises(FailedPreconditionError):
        client.delete_weights(name, version=2)
    with pytest.raises(AbortedError):
        client.remove_label(name, "stable", expected_version=1)
    client.remove_label(name, "stable", expected_version=2)
    with pytest.raises(NotFoundError):
        client.get_weights(stable)


def test_every_page_is_listed(client, random, name):
    weights = weight_set(random)
    made = [client.set_weights(name, weights) for _ in range(101)]  # two pages
    assert [s.version for s in client.list_weights(name)] == made
    latest = client.list_weights(latest_only=True)
    assert made[-1] in [s.version for s in latest]
    assert made[0] not in [s.version for s in latest]
    assert client.delete_weights(name, version=101) == 1
    with pytest.raises(AbortedError):
        client.delete_weights(name, expected_version=101)
    assert client.delete_weights(name, expected_version=100) == 100
    with pytest.raises(NotFoundError):
        client.list_weights(name)


def test_an_initializer_draws_what_the_chapter_does(client, name):
    recipe = Initializer(distribution="uniform", seed=123, layout="in_out",
                         num_heads=1, query_width=3, head_dim=2)
    client.set_weights(name, recipe)
    drawn = client.get_weights(name).weights.query.weight
    np.testing.assert_allclose(drawn[0], [0.2961, 0.5166], atol=0.5e-4)
    assert Initializer.from_message(recipe.to_message()) == recipe


def test_the_documented_example_has_its_sha256():
    weights = WeightSet.from_dict(
        {"query": np.array([[1], [-2]], "f4"),
         "key": {"weight": np.array([[0.5]], "f4"), "bias": np.array([0.25], "f4")},
         "value": np.array([[3]], "f4")},
        num_heads=2, num_kv_heads=1, layout="out_in")
    assert weights.sha256() == (
        "b5d25f6977fbb56435ab36cd72e8db769d8e47223a4a133d20e932d992500321")


def test_sha256_is_of_elements_not_of_strides_or_byte_order(random):
    weights = weight_set(random)
    others = {path: array.astype(">f4").T.copy().T
              for path, array in weights.tensors()}
    again = WeightSet.from_dict(others, num_heads=1, layout="in_out")
    assert again.sha256() == weights.sha256()
    others["key.weight"] = -others["key.weight"]
    assert WeightSet.from_dict(
        others, num_heads=1, layout="in_out").sha256() != weights.sha256()


def test_nested_and_flat_dicts_are_the_same(random):
    square = random.standard_normal((2, 2))
    flat = {"query.weight": square, "key.weight": square, "key.bias": square[0],
            "value.weight": square}
    nested = {"query": square, "key": {"weight": square, "bias": square[0]},
              "value": {"weight": square}}
    assert same(*(WeightSet.from_dict(arrays, num_heads=1, layout="in_out")
                  for arrays in (flat, nested)))


@pytest.mark.parametrize(("change", "message"), [
    ({"querry.weight": np.ones((2, 2))}, "'querry.weight' is no tensor"),
    ({"key": {"wait": np.ones((2, 2))}}, "'key.wait' is no tensor"),
    ({"value.weight": None}, "value.weight is missing"),
    ({"output.bias": np.ones(2)}, "output.weight is missing"),
    ({"key.weight": np.ones((2, 2), "f4")},
     "key.weight has dtype float32 but query.weight has float64"),
    ({"key.weight": np.ones((2, 2), int)}, "key.weight has dtype int64; expected"),
])
def test_a_dict_that_is_no_weight_set_is_refused(change, message):
    arrays = {f"{path}.weight": np.ones((2, 2))
              for path in ("query", "key", "value")}
    with pytest.raises((TypeError, ValueError), match=message):
        WeightSet.from_dict(arrays | change, num_heads=1, layout="in_out")


def test_a_layout_that_is_left_open_is_refused(random):
    arrays = {path: np.ones((2, 2)) for path in ("query", "key", "value")}
    with pytest.raises(ValueError, match="layout is None; expected one of"):
        WeightSet.from_dict(arrays, num_heads=1, layout=None)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32,
                                   np.float64], ids=lambda dtype: dtype.__name__)
def test_safetensors_make_the_round_trip(tmp_path, random, dtype):
    weights = weight_set(random, dtype=dtype, layout="out_in")
    path = tmp_path / "layer.safetensors"
    weights.to_safetensors(path)
    assert same(WeightSet.from_safetensors(path), weights)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"format": "pt", "num_heads": "1",
                                   "num_kv_heads": "1", "layout": "out-in"}


def test_a_layer_is_picked_out_of_a_checkpoint_by_names(tmp_path, random):
    weights = weight_set(random)
    names = {path: f"encoder.layer.0.{path}" for path, _ in weights.tensors()}
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(
        {names[path]: array for path, array in weights.tensors()}
        | {"position_ids": np.arange(3)}, path)
    picked = WeightSet.from_safetensors(
        path, names=names, num_heads=1, layout="in_out")
    assert same(picked, weights)
    with pytest.raises(ValueError, match="does not say what layout is; give it"):
        WeightSet.from_safetensors(path, names=names, num_heads=1)
    with pytest.raises(ValueError, match="has no tensor 'nothing'; it has encoder"):
        WeightSet.from_safetensors(path, names=names | {"key.bias": "nothing"},
                                   num_heads=1, layout="in_out")


@pytest.mark.parametrize("damage", [
    lambda data: data[:-1], lambda data: data[:4], lambda data: b"",
    lambda data: b"\xff" * len(data)],
    ids=["cut short", "cut off", "empty", "overwritten"])
def test_a_damaged_file_is_named(tmp_path, random, damage):
    path = tmp_path / "layer.safetensors"
    weight_set(random).to_safetensors(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
            ValueError, match=r"/layer\.safetensors is no file of safetensors: "):
        WeightSet.from_safetensors(path)


def stream(weights, random):
    """The messages that GetWeights would answer with."""
    header = pb.GetWeightsResponse.Header(weights=weights.to_message(elements=False))
    header.summary.version.sha256 = weights.sha256()
    header.summary.dtype = header.weights.query.weight.dtype
    yield pb.GetWeightsResponse(header=header)
    for path, array in weights.tensors():
        data = array.tobytes()
        half = len(data) // 2
        for offset in (0, half):
            yield pb.GetWeightsResponse(chunk=pb.TensorChunk(
                tensor=path, offset=offset,
                data=data[offset:offset + half if offset == 0 else None]))
    yield pb.GetWeightsResponse(sha256=weights.sha256())


def assemble(messages):
    assembler = WeightSetAssembler()
    for message in messages:
        assembler.take(message)
    return assembler.finish()


def _flip(messages):
    chunk = messages[3].chunk
    chunk.data = bytes([chunk.data[0] ^ 1]) + chunk.data[1:]


def _other_checksum(messages):
    messages[-1].sha256 = hashlib.sha256(b"").hexdigest()


def _other_offset(messages):
    messages[2].chunk.offset += 4


def _unknown_tensor(messages):
    messages[2].chunk.tensor = "query.bias"


@pytest.mark.parametrize(("damage", "message"), [
    (_flip, "SHA-256 is"),
    (_other_checksum, "SHA-256 is"),
    (_other_offset, "query.weight: a chunk starts at byte"),
    (_unknown_tensor, "'query.bias' came, which the header does not name"),
    (lambda messages: messages.pop(2), "query.weight: 18 bytes have come"),
    (lambda messages: messages.pop(), "ended before its checksum"),
    (lambda messages: messages.insert(1, messages[0]), "a second header came"),
    (lambda messages: messages.append(messages[-1]), "after the checksum"),
    (lambda messages: messages.insert(1, pb.GetWeightsResponse()), "has no part"),
    (lambda messages: messages.insert(3, pb.GetWeightsResponse(
        chunk=pb.TensorChunk(tensor="query.weight", offset=36, data=b"1234"))),
     "query.weight: 40 bytes have come but its shape takes 36"),
])
def test_a_damaged_stream_is_not_taken(random, damage, message):
    weights = weight_set(random)
    messages = list(stream(weights, random))
    assert same(assemble(messages).weights, weights)
    damage(messages)
    with pytest.raises(DataLossError, match=message):
        assemble(messages)


def test_a_bar_is_shown_on_a_terminal_only(client, random, name, monkeypatch):

    class Terminal(io.StringIO):

        def isatty(self):
            return True

    weights = weight_set(random, width=700)
    for stream, progress, shown in ((Terminal(), True, True),
                                    (Terminal(), False, False),
                                    (io.StringIO(), True, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        client.set_weights(name, weights, progress=progress)
        uploaded = stream.getvalue()
        client.get_weights(name, progress=progress)
        downloaded = stream.getvalue()[len(uploaded):]
        for text in (uploaded, downloaded):
            assert (name in text) == ("100%" in text) == shown, text
    client.delete_weights(name)


def test_timeouts_cover_all_calls_of_an_operation():
    listing = operations.list_weights(timeout=100.0)
    first = next(listing)
    second = listing.send(pb.ListWeightsResponse(next_page_token="more"))
    assert 0 < second.timeout < first.timeout <= 100
