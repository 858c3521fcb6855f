"""What the build of attention-client adds to setuptools.

Two files of the package come from elsewhere in the repository, so that there is
one of each: the stubs, made from proto/attention/v1/attention.proto, and the
chapter's examples, client/chapter.json. A source distribution carries both
originals, and the version, in its folder `repository`.
"""

import os
import pathlib
import re
import shutil
import tempfile

import google.protobuf
import grpc_tools
from grpc_tools import protoc
from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
UNPACKED = HERE / "repository"
REPOSITORY = UNPACKED if UNPACKED.is_dir() else HERE.parent.parent
CONTRACT = "attention/v1/attention.proto"
# Of the repository, what the build reads.
ORIGINALS = [
    "CMakeLists.txt", "client/chapter.json", f"proto/{CONTRACT}",
    "proto/google/rpc/status.proto"
]


def make_stubs(package):
    """Puts attention_pb2.py and its types, attention_pb2.pyi, into `package`.

    The messages of google.rpc are those of googleapis-common-protos, which other
    packages use too; two descriptions of one message do not go together.
    """
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as made:
        status = protoc.main([
            "protoc", f"-I{REPOSITORY / 'proto'}", f"-I{well_known}",
            f"--python_out={made}", f"--pyi_out={made}", CONTRACT])
        if status != 0:
            raise SystemExit(f"protoc could not compile {CONTRACT}")
        for suffix in (".py", ".pyi"):
            name = "attention_pb2" + suffix
            shutil.copyfile(
                pathlib.Path(made, "attention", "v1", name), package / name)


class BuildPackage(build_py):
    """Adds the files that are made or copied."""

    def run(self):
        super().run()
        root = HERE / "src" if self.editable_mode else self.build_lib
        package = pathlib.Path(root, "attention_client")
        make_stubs(package)
        shutil.copyfile(
            REPOSITORY / "client" / "chapter.json", package / "chapter.json")


class SourceDistribution(sdist):
    """Adds what they are made of."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        for original in ORIGINALS:
            target = pathlib.Path(base_dir, "repository", original)
            os.makedirs(target.parent, exist_ok=True)
            shutil.copyfile(REPOSITORY / original, target)


def project_version():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(r"project\(attention_service VERSION ([\d.]+)", text)[1]


setup(
    version=project_version(),
    install_requires=[
        "grpcio>=1.51",
        # Stubs run on the protobuf that made them and on later ones.
        f"protobuf>={google.protobuf.__version__}",
        "googleapis-common-protos>=1.56",
        "numpy>=1.24",
        "ml_dtypes>=0.3",
        "safetensors>=0.4",
        "tqdm>=4.60",
    ],
    cmdclass={"build_py": BuildPackage, "sdist": SourceDistribution},
)
