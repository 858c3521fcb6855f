"""The kernels of OpenBLAS that this processor can run."""

import pathlib
import re

# Kernel -> what a processor must have for it. The library's other kernels are of
# processors without AVX2 and much like one of these.
NEEDS = {
    "Prescott": {"pni"},
    "Nehalem": {"sse4_2"},
    "Sandybridge": {"avx"},
    "Haswell": {"avx2", "fma"},
    "Zen": {"avx2", "fma"},
    "SkylakeX": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"},
    "Cooperlake": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd",
                   "avx512_bf16"},
}


def processor_has(needs):
    text = pathlib.Path("/proc/cpuinfo").read_text()
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)[1]
    return needs <= set(flags.split())


def that_run():
    """Their names, in the order of the instruction sets that they use."""
    return [kernel for kernel, needs in NEEDS.items() if processor_has(needs)]
