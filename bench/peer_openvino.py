"""OpenVINO's scaled dot-product attention, in float32 like all others."""

import numpy as np
import openvino as ov
from openvino import opset13


class Peer:

    def __init__(self, threads):
        self._core = ov.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }

    def about(self):
        return f"OpenVINO {ov.get_version()}"

    def variants(self, case):
        return [] if case.layer else ["sdpa"]

    def prepare(self, case, variant):
        tensors = [case.query, case.key, case.value]
        parameters = [opset13.parameter(x.shape, np.float32) for x in tensors]
        attention = opset13.scaled_dot_product_attention(
            *parameters, causal=case.causal)
        model = ov.Model([attention], parameters)
        request = self._core.compile_model(
            model, "CPU", self._settings).create_infer_request()
        for index, tensor in enumerate(tensors):
            request.set_input_tensor(index, ov.Tensor(tensor, True))
        return request.infer, lambda: request.get_output_tensor(0).data
