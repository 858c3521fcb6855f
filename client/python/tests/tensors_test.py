"""What goes in as a tensor, and what comes out."""

import ml_dtypes
import numpy as np
import pytest

from attention_client import attention_pb2 as pb
from attention_client import attention_request, tensors

TYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def sent(source, field="query", dtypes=tensors.FLOATS):
    message = pb.Tensor()
    tensors.fill(message, source, field, dtypes)
    return message


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
def test_every_type_makes_the_round_trip_to_the_bit(dtype, random):
    array = random.standard_normal((3, 4)).astype(dtype)
    array[0, 0] = -0.0
    back = tensors.to_array(sent(array))
    assert back.dtype == dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
def test_the_server_gives_back_what_it_was_sent(dtype, client, random):
    """A row that attends to itself alone is its value, to the bit."""
    array = random.standard_normal((5, 4)).astype(dtype)
    result = client.compute(array, window_left=0, window_right=0,
                            alignment="top_left")
    assert result.output.dtype == dtype
    assert result.output.tobytes() == array.tobytes()


def test_masks_are_one_byte_an_element():
    mask = np.array([[True, False, True]])
    message = sent(mask, "attend_mask", tensors.BOOL)
    assert message.data == b"\1\0\1"
    np.testing.assert_array_equal(tensors.to_array(message), mask)


@pytest.mark.parametrize("order", [
    lambda a: a.T.copy().T, lambda a: a.repeat(2, axis=1)[:, ::2],
    lambda a: a[::-1].copy()[::-1], np.asfortranarray,
    lambda a: a.astype(a.dtype.newbyteorder(">")),
    lambda a: a.astype(a.dtype.newbyteorder(">")).T.copy().T,
], ids=["transposed", "strided", "reversed", "fortran", "big-endian",
        "big-endian transposed"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_strides_and_byte_order_do_not_matter(order, dtype, random):
    array = random.standard_normal((3, 4)).astype(dtype)
    other = order(array)
    assert other.strides != array.strides or other.dtype.byteorder == ">"
    assert sent(other) == sent(array)


def test_strides_of_bfloat16_do_not_matter(random):
    array = random.standard_normal((3, 4)).astype(ml_dtypes.bfloat16)
    assert sent(array.T.copy().T) == sent(array)


def test_what_comes_out_is_read_only_and_shares_the_replys_bytes():
    message = sent(np.ones(3, np.float32))
    array = tensors.to_array(message)
    assert not array.flags.writeable and not array.flags.owndata
    written = pb.Tensor(dtype=pb.DATA_TYPE_FLOAT16, shape=[2], values=[1.5, -2])
    array = tensors.to_array(written)
    assert array.tolist() == [1.5, -2] and array.dtype == np.float16
    assert not array.flags.writeable


def test_what_becomes_an_array_may_be_sent():

    class Arraylike:

        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 2), np.float32)

    class Lender:
        """Of DLPack alone, as a tensor of a library without NumPy."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    ones = np.ones((2, 2), np.float32)
    for source in (Arraylike(), Lender(ones)):
        assert sent(source) == sent(ones)
    assert sent([[1.0, 1.0], [1.0, 1.0]]) == sent(ones.astype(np.float64))


@pytest.mark.parametrize("source", [
    np.ones(2, np.int64), [1, 2], np.ones(2, np.complex64), np.ones(2, np.longdouble),
    np.ones(2, bool), np.array(["a"]), np.ones(2, np.uint8),
])
def test_other_types_are_refused_by_name(source):
    with pytest.raises(TypeError, match=r"^key has dtype .*; expected float32,"):
        attention_request(np.ones((1, 2), np.float32), source)


def test_a_mask_of_numbers_is_refused():
    """0 and 1 are what a bias could be, too."""
    with pytest.raises(TypeError, match="^attend_mask has dtype int64; expected bool"):
        attention_request(np.ones((1, 2), np.float32), attend_mask=np.array([1, 0]))


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match="^query is a masked array"):
        attention_request(np.ma.masked_invalid([[1.0, np.nan]]))


@pytest.mark.parametrize(("options", "message"), [
    ({"casual": True}, "no option 'casual'; the options are weight_set"),
    ({"causal": 1}, "causal is 1; expected True or False"),
    ({"causal": "no"}, "causal is 'no'; expected True or False"),
    ({"num_heads": 2.0}, "num_heads is 2.0; expected an integer"),
    ({"top_k": 2**31}, "top_k is 2147483648; expected 32 bits"),
    ({"key_lengths": [1, 2.5]}, r"key_lengths\[1\] is 2.5; expected an integer"),
    ({"key_lengths": 3}, r"key_lengths is 3; expected several, such as \[3\]"),
    ({"query_offsets": 5}, r"query_offsets is 5; expected several, such as \[5\]"),
    ({"softmax_scale": 10**400}, "softmax_scale is an integer too large"),
    ({"bias": [[1.0], [1.0, 2.0]]}, "^bias does not become an array: "),
    ({"softcap": "high"}, "softcap is 'high'; expected a number"),
    ({"alignment": "left"},
     "alignment is 'left'; expected one of 'top_left', 'bottom_right'"),
    ({"alignment": "unspecified"}, "alignment is 'unspecified'"),
    ({"attention_matrix": "weights"}, "attention_matrix is 'weights'; expected"),
    ({"dropout": 0.5}, r"dropout is 0.5; expected Dropout\(probability, seed\)"),
    ({"weight_set": 3}, "weight_set is int; expected a name"),
])
def test_an_argument_that_cannot_be_sent_is_named(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        attention_request(np.ones((1, 2), np.float32), **options)


def test_numbers_of_numpy_are_numbers(random):
    x = np.ones((1, 2), np.float32)
    assert attention_request(
        x, num_heads=np.int64(2), causal=np.True_, softmax_scale=np.float32(0.5),
        key_lengths=np.array([1])) == attention_request(
            x, num_heads=2, causal=True, softmax_scale=0.5, key_lengths=[1])
