"""Clients that make random calls of every kind, as good clients, careless ones
and hostile ones do: requests with every option, dtype and form, weight sets in
messages and in uploads, streams and reads, calls that are given up or cut off."""

import collections
import random
import threading

import grpc
import numpy as np

from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from canonical_form import canonical_sha256
from hostile_messages import SERVICE, hostile

MIB = 1 << 20

FLOATS = {pb.DATA_TYPE_FLOAT32: np.float32, pb.DATA_TYPE_FLOAT64: np.float64,
          pb.DATA_TYPE_FLOAT16: np.float16, pb.DATA_TYPE_BFLOAT16: None}
STAGES = (pb.AttentionMatrixOptions.STAGE_SCORES,
          pb.AttentionMatrixOptions.STAGE_SOFTCAPPED,
          pb.AttentionMatrixOptions.STAGE_BIASED,
          pb.AttentionMatrixOptions.STAGE_ATTENTION_WEIGHTS)

# What a client may be answered. UNAVAILABLE is a connection that was ended
# because of what this client sent on it.
ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED,
           grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT,
           grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
           grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED,
           grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}


def encoded(dtype, numbers):
    if dtype == pb.DATA_TYPE_BFLOAT16:  # the upper half of a float
        bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
        return (bits >> 16).astype(np.uint16).tobytes()
    return numbers.astype(FLOATS[dtype]).tobytes()


class Requests:
    """Random requests that are right, but for what limits say of them."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.numbers = np.random.default_rng(seed)

    def happens(self, probability):
        return self.dice.random() < probability

    def tensor(self, dtype, shape, as_values=False):
        numbers = self.numbers.standard_normal(shape, np.float32)
        if as_values:
            return pb.Tensor(dtype=dtype, shape=shape, values=numbers.ravel())
        return pb.Tensor(dtype=dtype, shape=shape,
                         data=encoded(dtype, numbers))

    def mask(self, shape):
        return pb.Tensor(dtype=pb.DATA_TYPE_BOOL, shape=shape,
                         data=(self.numbers.random(shape) < 0.7).tobytes())

    def weight_set(self, width, dtype, bias=None):
        """Two heads, from `width` into as much again."""
        def projection():
            one = pb.Projection(weight=self.tensor(dtype, (width, width)))
            if bias or (bias is None and self.happens(0.5)):
                one.bias.CopyFrom(self.tensor(dtype, (width,)))
            return one
        weights = pb.WeightSet(
            num_heads=2, layout=self.dice.choice(
                (pb.LAYOUT_IN_OUT, pb.LAYOUT_OUT_IN)),
            query=projection(), key=projection(), value=projection())
        if self.happens(0.5):
            weights.output.CopyFrom(projection())
        return weights

    def computation(self, set_name, set_width):
        """A ComputeAttentionRequest; with a weight set, one that is stored as
        `set_name` (if it is) or one of its own."""
        dice = self.dice
        request = pb.ComputeAttentionRequest()
        dtype = dice.choice(list(FLOATS))
        as_values = self.happens(0.15)
        rows = dice.choice((1, 7, 16) if as_values else (1, 7, 64, 512, 4096))
        keys = dice.choice((1, 7, 16) if as_values else (1, 7, 64, 512))
        batch = dice.choice((0, 0, 1, 3)) if rows < 4096 else 0
        heads, kv_heads = 2, dice.choice((1, 2))
        weights = dice.choice(("stored", "inline", "", ""))
        if weights == "stored" and set_width is None:
            weights = ""
        width = {"stored": set_width, "inline": 16, "": 16}[weights]
        if weights == "stored":
            request.weight_set.name = set_name
        elif weights == "inline":
            request.weights.CopyFrom(
                self.weight_set(width, dice.choice(list(FLOATS))))
        else:
            request.num_heads, request.num_kv_heads = heads, heads
        front = (batch,) if batch else ()
        if not weights and self.happens(0.2):  # rank 4
            request.num_kv_heads = kv_heads
            front = (batch or 1,)
            batch = front[0]
            query, key = front + (heads, rows, 8), front + (kv_heads, keys, 8)
        else:
            query, key = front + (rows, width), front + (keys, width)
        request.query.CopyFrom(self.tensor(dtype, query, as_values))
        if rows == 4096 or len(query) == 4 or self.happens(0.6):
            request.key.CopyFrom(self.tensor(dtype, key, as_values))
            if self.happens(0.6):
                request.value.CopyFrom(self.tensor(dtype, key, as_values))
        else:
            keys = rows
        self.add_options(request, batch or 1, heads, rows, keys)
        return request

    def add_options(self, request, batch, heads, rows, keys):
        dice = self.dice
        def pairs():
            return dice.choice(((rows, keys), (1, keys), (keys,),
                                (batch, heads, rows, keys), (1, 1, 1, keys)))
        if self.happens(0.2):
            request.attend_mask.CopyFrom(self.mask(pairs()))
        if self.happens(0.2):
            request.bias.CopyFrom(
                self.tensor(dice.choice(list(FLOATS)), pairs()))
        if self.happens(0.3):
            request.causal = True
        if self.happens(0.2):
            request.window_left = dice.randrange(keys + 1)
        if request.causal or request.HasField("window_left"):
            if self.happens(0.3):
                request.query_offsets.extend(
                    dice.randrange(keys) for _ in range(batch))
            else:
                request.alignment = dice.choice(
                    (pb.ALIGNMENT_TOP_LEFT, pb.ALIGNMENT_BOTTOM_RIGHT))
        if self.happens(0.2):
            request.key_lengths.extend(
                dice.randrange(keys + 1) for _ in range(batch))
        if self.happens(0.2):
            request.softcap = 30
        if self.happens(0.1):
            request.dropout.CopyFrom(pb.Dropout(probability=0.1, seed=1))
        request.want_lse = self.happens(0.3)
        shown = dice.choice(("matrix", "top", "", "", ""))
        if shown == "matrix":
            request.attention_matrix.stage = dice.choice(STAGES)
        elif shown == "top":
            request.top_k = dice.choice((1, 5))

    def upload(self, name):
        """The messages of an upload; some are too few, or end with a SHA-256
        that is wrong."""
        width = self.dice.choice((64, 1024))
        dtype = self.dice.choice(list(FLOATS))
        weights = self.weight_set(width, dtype)
        empty, data = pb.WeightSet(), {}
        empty.CopyFrom(weights)
        for owner in ("query", "key", "value", "output"):
            for part in ("weight", "bias"):
                projection = getattr(weights, owner)
                if weights.HasField(owner) and projection.HasField(part):
                    data[f"{owner}.{part}"] = getattr(projection, part).data
                    getattr(getattr(empty, owner), part).data = b""
        yield pb.UploadWeightsRequest(header=pb.UploadWeightsRequest.Header(
            name=name, weights=empty))
        cut = self.happens(0.3)
        for tensor, elements in data.items():
            for offset in range(0, len(elements), MIB):
                yield pb.UploadWeightsRequest(chunk=pb.TensorChunk(
                    tensor=tensor, offset=offset,
                    data=elements[offset:offset + MIB]))
            if cut:
                return
        sha256 = ("0" * 64 if self.happens(0.2)
                  else canonical_sha256(empty, data))
        yield pb.UploadWeightsRequest(sha256=sha256)


class Client(threading.Thread):
    """Makes `calls` calls, or calls until stop(), and keeps the codes."""

    def __init__(self, channel, number, calls=None):
        super().__init__(daemon=True)
        self.requests = Requests(number)
        self.name_of_set = f"set-{number}"
        self.width_of_set = None  # what it set last
        self.calls = calls
        self.channel = channel
        self.stub = attention_pb2_grpc.AttentionServiceStub(channel)
        self.ended = threading.Event()
        self.codes = collections.Counter()  # (kind of call, code) -> times
        self.strange = []

    def stop(self):
        self.ended.set()

    def computation(self):
        return self.requests.computation(self.name_of_set, self.width_of_set)

    def timeout(self):
        return self.requests.dice.choice((60, 60, 60, 0.01))

    def compute(self):
        call = self.stub.ComputeAttention.future(
            self.computation(), timeout=self.timeout())
        if self.requests.happens(0.05):
            call.cancel()
        try:
            call.result()
        except grpc.FutureCancelledError:
            pass

    def set(self):
        width = self.requests.dice.choice((8, 64, 512))
        request = pb.SetWeightsRequest(
            name=self.name_of_set, labels=["latest"],
            weights=self.requests.weight_set(
                width, self.requests.dice.choice(list(FLOATS))))
        request.annotations["by"] = "nobody"
        if self.requests.happens(0.1):
            request.initializer.CopyFrom(pb.Initializer(
                distribution=pb.Initializer.DISTRIBUTION_LINEAR,
                layout=pb.LAYOUT_IN_OUT, num_heads=2, query_width=width,
                head_dim=width // 2))
        self.stub.SetWeights(request, timeout=60)
        self.width_of_set = width

    def upload(self):
        self.width_of_set = None  # another than before, or the same
        self.stub.UploadWeights(self.requests.upload(self.name_of_set),
                                timeout=60)

    def read(self):
        parts = self.stub.GetWeights(pb.GetWeightsRequest(
            weight_set=pb.WeightSetSelector(name=self.name_of_set)),
            timeout=60)
        for i, _ in enumerate(parts):
            if i == 2 and self.requests.happens(0.3):
                parts.cancel()
                return

    def list(self):
        self.stub.ListWeights(pb.ListWeightsRequest(
            latest_only=self.requests.happens(0.5)), timeout=60)

    def drop(self):
        self.width_of_set = None
        self.stub.DeleteWeights(pb.DeleteWeightsRequest(name=self.name_of_set),
                                timeout=60)

    def stream(self):
        answers = self.stub.StreamAttention(
            (pb.StreamAttentionRequest(id=i, request=self.computation())
             for i in range(10)), timeout=self.timeout())
        for i, _ in enumerate(answers):
            if i == 5 and self.requests.happens(0.3):
                answers.cancel()
                return

    def attack(self):
        dice = self.requests.dice
        method, body, _ = dice.choice(
            list(hostile(dice.choice((1000, MIB, 4 * MIB))).values()))
        self.channel.unary_unary(SERVICE + method)(body, timeout=60)

    CALLS = {"compute": 60, "set": 10, "upload": 5, "read": 5, "list": 2,
             "drop": 8, "stream": 5, "attack": 7}

    def run(self):
        while not self.ended.is_set() and self.calls != 0:
            if self.calls is not None:
                self.calls -= 1
            kind, = self.requests.dice.choices(
                list(self.CALLS), list(self.CALLS.values()))
            code = grpc.StatusCode.OK
            try:
                getattr(self, kind)()
            except grpc.RpcError as error:
                code = error.code()
                if code not in ALLOWED:
                    self.strange.append(f"{code}: {error.details()}")
                elif (code is grpc.StatusCode.INVALID_ARGUMENT
                      and kind not in ("attack", "upload")):
                    self.strange.append(f"{kind}: {error.details()}")
            self.codes[kind, code] += 1
        self.channel.close()
