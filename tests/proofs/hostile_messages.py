"""Messages that would take much more memory than they have bytes, if they were
made into objects before they are judged; and what the refusals say."""

from google.rpc import error_details_pb2, status_pb2

SERVICE = "/attention.v1.AttentionService/"


def varint(value):
    digits = b""
    while value >= 128:
        digits += bytes([value % 128 + 128])
        value //= 128
    return digits + bytes([value])


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def labels(size):
    """A SetWeights of empty labels, two bytes each."""
    return field(1, b"x") + field(6, b"") * (size // 2)


def annotations(size):
    """A SetWeights of annotations, ten bytes each or so."""
    return field(1, b"x") + b"".join(
        field(7, field(1, b"%d" % i)) for i in range(size // 10))


def hostile(size):
    """Name -> (method, message of about `size` bytes, the field it is refused
    by; None where fields that nobody knows are passed over, "" where the message
    as a whole is too large)."""
    packed = bytes(size)
    return {
        "labels": ("SetWeights", labels(size), "labels"),
        "annotations": ("SetWeights", annotations(size), "annotations"),
        "query_offsets": ("ComputeAttention", field(11, packed),
                          "query_offsets"),
        "key_lengths": ("ComputeAttention", field(14, packed), "key_lengths"),
        "shape": ("ComputeAttention", field(2, field(2, packed)),
                  "query.shape"),
        "long_name": ("DeleteWeights", field(1, b"x" * size), "name"),
        "page_token": ("ListWeights", field(4, b"x" * size), "page_token"),
        "unknown": ("ListWeights", field(1000, b"x" * size), None),
        "unknown_info": ("GetServerInfo", field(1000, b"x" * size), ""),
    }


def violated(error):
    """The fields and the reasons that an error's details have."""
    names, reasons = [], []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            bad = error_details_pb2.BadRequest()
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(bad):
                names += [v.field for v in bad.field_violations]
            if detail.Unpack(info):
                reasons.append(info.reason)
    return names, reasons
