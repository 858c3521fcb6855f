"""PyTorch, current or Debian's."""

import re

import torch
import torch.nn.functional as F


def attend(query, key, value, causal):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(query, key, value,
                                              is_causal=causal)
    # 1.13's has another name and answers with the weights too.
    return torch._C._nn._scaled_dot_product_attention(
        query, key, value, None, 0.0, False, causal)[0]


class Peer:

    def __init__(self, threads):
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def about(self):
        built = re.findall(r"CPU capability usage: \w+|BLAS_INFO=\w+",
                           torch.__config__.show())
        return ", ".join([f"PyTorch {torch.__version__}", *built])

    def variants(self, case):
        return ["module", "functional"] if case.layer else ["sdpa"]

    def prepare(self, case, variant):
        if not case.layer:
            tensors = [torch.from_numpy(x)
                       for x in (case.query, case.key, case.value)]
            return self._keep(lambda: attend(*tensors, case.causal))
        x = torch.from_numpy(case.input)
        if variant == "module":
            layer = self._module(case)
            return self._keep(lambda: layer(x, x, x, need_weights=False)[0])
        return self._keep(self._functional(case, x))

    @staticmethod
    def _keep(function):
        kept = {}

        def run():
            kept["output"] = function()

        return run, lambda: kept["output"].numpy()

    @staticmethod
    def _module(case):
        layer = torch.nn.MultiheadAttention(case.width, case.heads,
                                            batch_first=True).eval()
        weights = [torch.from_numpy(w.T.copy()) for w in case.weights]
        biases = [torch.from_numpy(b) for b in case.biases]
        layer.in_proj_weight.copy_(torch.cat(weights[:3]))
        layer.in_proj_bias.copy_(torch.cat(biases[:3]))
        layer.out_proj.weight.copy_(weights[3])
        layer.out_proj.bias.copy_(biases[3])
        return layer

    @staticmethod
    def _functional(case, x):
        weights = [torch.from_numpy(w.T.copy()) for w in case.weights]
        biases = [torch.from_numpy(b) for b in case.biases]
        packed, packed_bias = torch.cat(weights[:3]), torch.cat(biases[:3])

        def run():
            projected = F.linear(x, packed, packed_bias).view(
                1, case.n, 3, case.heads, case.head_dim)
            query, key, value = projected.permute(2, 0, 3, 1, 4)
            heads = attend(query, key, value, False)
            return F.linear(heads.transpose(1, 2).reshape(1, case.n, -1),
                            weights[3], biases[3])

        return run
