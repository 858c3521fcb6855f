"""onnxruntime, by each of its ways to attention."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class Graph:
    """A graph as it grows."""

    def __init__(self):
        self.nodes, self.constants, self.inputs = [], [], {}
        self._names = 0

    def constant(self, array):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def input(self, name, array):
        self.inputs[name] = array
        return name

    def node(self, operator, *inputs, domain="", **attributes):
        self._names += 1
        name = f"value{self._names}"
        self.nodes.append(helper.make_node(
            operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def linear(self, x, weight, bias):
        product = self.node("MatMul", x, self.constant(weight))
        return self.node("Add", product, self.constant(bias))

    def model(self, output, shape):
        def described(name, size):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, size)

        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        graph = helper.make_graph(
            self.nodes, "attention",
            [described(name, x.shape) for name, x in self.inputs.items()],
            [described("output", shape)], self.constants)
        return helper.make_model(graph, ir_version=10, opset_imports=[
            helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)])


def side_by_side(x):
    """[batch, heads, n, dim] as [batch, n, heads * dim]."""
    batch, heads, n, dim = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(
        batch, n, heads * dim)


def causal_mask(n):
    return np.triu(np.full((1, 1, n, n), -np.inf, np.float32), 1)


class Peer:

    def __init__(self, threads):
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1

    def about(self):
        return (f"onnxruntime {onnxruntime.__version__}, "
                f"{onnxruntime.get_build_info()}")

    def variants(self, case):
        if case.layer:
            return ["MultiHeadAttention", "Attention", "composed"]
        # com.microsoft's Attention has projections in it; ONNX's has not.
        return ["MultiHeadAttention", "onnx.Attention", "composed"]

    def prepare(self, case, variant):
        graph = Graph()
        build = self._layer if case.layer else self._kernel
        output, shape, back = build(graph, case, variant)
        session = onnxruntime.InferenceSession(
            graph.model(output, shape).SerializeToString(), self._options,
            providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in graph.inputs.items():
            binding.bind_ortvalue_input(
                name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        result = onnxruntime.OrtValue.ortvalue_from_numpy(
            np.zeros(shape, np.float32))
        binding.bind_ortvalue_output("output", result)
        return (lambda: session.run_with_iobinding(binding),
                lambda: back(result.numpy()))

    @staticmethod
    def _kernel(graph, case, variant):
        tensors = [case.query, case.key, case.value]
        names = ["query", "key", "value"]
        shape = case.query.shape
        if variant == "MultiHeadAttention":
            flat = [side_by_side(x) for x in tensors]
            output = graph.node(
                variant, *map(graph.input, names, flat), domain=MICROSOFT,
                num_heads=case.heads, unidirectional=int(case.causal))
            return output, flat[0].shape, lambda x: x.reshape(
                case.batch, case.n, case.heads, -1).transpose(0, 2, 1, 3)
        inputs = list(map(graph.input, names, tensors))
        if variant == "onnx.Attention":
            output = graph.node("Attention", *inputs,
                                is_causal=int(case.causal))
            return output, shape, lambda x: x
        output = Peer._composed(graph, *inputs, case)
        return output, shape, lambda x: x

    @staticmethod
    def _composed(graph, query, key, value, case):
        transposed = graph.node("Transpose", key, perm=[0, 1, 3, 2])
        scores = graph.node("Mul", graph.node("MatMul", query, transposed),
                            graph.constant(np.float32(case.head_dim**-0.5)))
        if case.causal:
            scores = graph.node("Add", scores,
                                graph.constant(causal_mask(case.n)))
        weights = graph.node("Softmax", scores, axis=-1)
        return graph.node("MatMul", weights, value)

    @staticmethod
    def _layer(graph, case, variant):
        x = graph.input("input", case.input)
        weights, biases = case.weights, case.biases
        if variant == "Attention":
            heads = graph.node(
                variant, x, graph.constant(np.concatenate(weights[:3], axis=1)),
                graph.constant(np.concatenate(biases[:3])), domain=MICROSOFT,
                num_heads=case.heads)
        elif variant == "MultiHeadAttention":
            products = [graph.node("MatMul", x, graph.constant(w))
                        for w in weights[:3]]
            heads = graph.node(
                variant, *products, graph.constant(np.concatenate(biases[:3])),
                domain=MICROSOFT, num_heads=case.heads)
        else:
            heads = Peer._composed_heads(graph, x, case)
        output = graph.linear(heads, weights[3], biases[3])
        return output, case.input.shape, lambda y: y

    @staticmethod
    def _composed_heads(graph, x, case):
        apart = graph.constant(
            np.array([1, case.n, case.heads, case.head_dim], np.int64))
        heads = [
            graph.node("Transpose",
                       graph.node("Reshape", graph.linear(x, weight, bias),
                                  apart), perm=[0, 2, 1, 3])
            for weight, bias in zip(case.weights[:3], case.biases[:3])]
        output = graph.node("Transpose", Peer._composed(graph, *heads, case),
                            perm=[0, 2, 1, 3])
        together = graph.constant(
            np.array([1, case.n, case.width], np.int64))
        return graph.node("Reshape", output, together)


assert onnx.defs.onnx_opset_version() >= 23
