"""Includes follow the arrows of the architecture.

core <- memory <- weights <- rpc <- server <- main, proto <- {rpc, client} and
command_line <- {server, client}: a file may include its own layer and what its
layer is allowed below, nothing else.
"""

import graphlib
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

STANDARD = r"[a-z_0-9]+"  # <vector>
SYSTEM = r"[a-z_0-9]+\.h|sys/[a-z_0-9]+\.h|(netinet|linux)/[a-z_0-9]+\.h|arpa/inet\.h"
PROTOBUF = r"attention/v1/attention\.pb\.h|google/.*"
GRPC = r"grpc/.*|grpcpp/.*|attention/v1/attention\.grpc\.pb\.h"
CLIENT = r"attention/(client|status|stream|tensor|tls)\.h"  # as an outside project sees it

# The only file that sees the matrix library, and the only ones with vectors: the
# code, its test, for aligned memory, and the benchmark's measure of a core.
BLAS_FILES = r"server/core/blas/blas\.cc"
BLAS_HEADERS = r"cblas.*\.h|.*openblas.*|lapack.*\.h"
VECTOR_FILES = (r"server/core/kernel/strip_(kernel\.cc|(product|softmax)-inl\.h)"
                r"|tests/core/strip_kernel_test\.cc|bench/fma_peak\.cc")
VECTOR_HEADERS = r"hwy/.*"

# The only file that sees the database, and the test that makes it fail.
SQLITE_FILES = (r"server/weights/sqlite_database\.cc"
                r"|tests/weights/sqlite_crash_test\.cc")
SQLITE_HEADERS = r"sqlite3.*\.h"
# The only file that sees the archive library.
ZIP_FILES = r"client/cpp/files/npz\.cc"
ZIP_HEADERS = r"zip\.h"

ERRORS = r"proto/(all_finite|error_text|field_error)\.h"
CORE = r"server/core/[^/]*"  # what its rooms share

# Folder (the longest that fits a file counts) -> what its files may include
# beside the standard library, the system and absl.
ALLOWED = {
    # Errors that name fields are absl alone, so the mathematics may make them.
    "server/core": rf"server/core/.*|{ERRORS}",
    # Its rooms: {pool, kernel, blas} <- attention <- layer.
    "server/core/pool": rf"{CORE}|server/core/pool/.*",
    "server/core/kernel": rf"{CORE}|server/core/kernel/.*",
    "server/core/blas": rf"{CORE}|server/core/blas/.*",
    "server/core/attention":
        rf"{CORE}|server/core/(attention|kernel|pool)/.*|{ERRORS}",
    "server/memory": rf"server/(core|memory)/.*|{ERRORS}",
    "server/weights":
        r"server/(core|memory|weights)/.*|openssl/.*"
        r"|proto/(all_finite|elements|error_text|field_error|half)\.h",
    "server/rpc":
        rf"server/(core|memory|weights|rpc)/.*|proto/.*|{PROTOBUF}|{GRPC}|spdlog/.*",
    # Its rooms: door <- tensors <- weights <- compute.
    "server/rpc/door":
        rf"server/((core|memory|weights)/.*|rpc/door/.*)|proto/.*|{PROTOBUF}|{GRPC}"
        r"|spdlog/.*",
    "server/rpc/tensors":
        rf"server/((core|memory|weights)/.*|rpc/(door|tensors)/.*)|proto/.*|{PROTOBUF}"
        rf"|{GRPC}",
    "server/rpc/weights":
        r"server/((core|memory|weights)/.*|rpc/((door|tensors|weights)/.*|backend\.h))"
        rf"|proto/.*|{PROTOBUF}|{GRPC}",
    "server":
        rf"server/.*|command_line/.*|tls/.*|proto/.*|{PROTOBUF}|{GRPC}"
        r"|spdlog/.*|CLI/.*|nlohmann/.*",
    # --help, man pages and completion, of any program.
    "command_line": r"command_line/.*|CLI/.*|nlohmann/.*",
    "proto": rf"proto/.*|{PROTOBUF}|{GRPC}",
    # Certificate files, for both ends; what gRPC makes of them is theirs.
    "tls": r"tls/.*|openssl/.*",
    "client":
        rf"client/.*|command_line/.*|tls/.*|{CLIENT}|proto/.*"
        rf"|{PROTOBUF}"
        rf"|{GRPC}|CLI/.*|nlohmann/.*|openssl/.*",
    # Files know neither the contract nor the client.
    "client/cpp/files":
        r"client/cpp/files/.*|proto/(elements|error_text)\.h|nlohmann/.*",
    # Pictures know matrices and labels, and nothing of requests or gRPC.
    "client/cpp/picture": r"client/cpp/picture/.*|ft2build\.h|png\.h",
    # Measures the core from inside and the service from outside.
    "bench":
        rf"bench/.*|benchmark/.*|server/core/.*|{CLIENT}|{PROTOBUF}"
        rf"|{GRPC}",
}

# What a test's oracle may see: nothing it is compared with.
REFERENCE_FILE = (r"tests/reference/(reference_attention|reference_dropout"
                  r"|reference_softmax|bounded|compare)\.(h|cc)")
REFERENCE_ALLOWED = (r"tests/reference/(reference_attention|reference_softmax|bounded"
                     r"|compare)\.h")

# The locks of the server are those that clang checks; what they are made of is
# seen by one file. std::unique_lock and the like want a mutex of theirs.
LOCK_FILES = r"server/core/mutex\.h"
UNCHECKED_LOCK = re.compile(
    r"#include <(?:mutex|shared_mutex|condition_variable)>"
    r"|std::(?:\w*mutex|lock_guard|\w+_lock|condition_variable\w*)\b"
    r"|absl::(?:Mutex|CondVar)\w*|pthread_(?:mutex|rwlock|cond)_\w+")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def allowed_for(path):
    """The pattern of includes that the file at `path` may have, or None."""
    if re.fullmatch(REFERENCE_FILE, path):
        return REFERENCE_ALLOWED
    folders = [f for f in ALLOWED if path.startswith(f + "/")]
    return ALLOWED[max(folders, key=len)] if folders else None


def violations(path, text):
    """Includes of `text`, a file at `path`, that break the rules."""
    allowed = allowed_for(path)
    found = []
    for _, name in INCLUDE.findall(text):
        for headers, files in ((BLAS_HEADERS, BLAS_FILES),
                               (VECTOR_HEADERS, VECTOR_FILES),
                               (SQLITE_HEADERS, SQLITE_FILES),
                               (ZIP_HEADERS, ZIP_FILES)):
            if re.fullmatch(headers, name):
                if not re.fullmatch(files, path):
                    found.append(f"{path} includes {name}; only {files} may")
                break
        else:
            if allowed is not None and not re.fullmatch(
                    rf"{STANDARD}|{SYSTEM}|absl/.*|{allowed}", name):
                found.append(f"{path} includes {name}")
    return found


def unchecked_locks(path, text):
    """Locks in `text`, a file at `path` of the server, that clang cannot check."""
    if re.fullmatch(LOCK_FILES, path) or not path.startswith("server/"):
        return []
    return [f"{path} has {name}; a lock of the server is a core::Mutex"
            for name in sorted(set(UNCHECKED_LOCK.findall(text)))]


def project_files():
    for folder in ("bench", "client", "command_line", "proto", "server",
                   "tests", "tls"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cc") and "node_modules" not in path.parts:
                yield path


def circle(needs):
    """Units that need each other, in order; none if there is no such circle."""
    try:
        list(graphlib.TopologicalSorter(
            {name: others - {name} for name, others in needs.items()}
        ).static_order())
    except graphlib.CycleError as error:
        return sorted(set(error.args[1]))
    return []


class ArchitectureTest(unittest.TestCase):

    def test_no_include_breaks_the_arrows(self):
        files = list(project_files())
        self.assertTrue(files)
        found = []
        for path in files:
            found += violations(
                path.relative_to(ROOT).as_posix(), path.read_text())
        self.assertEqual(found, [])

    def test_clang_checks_every_lock_of_the_server(self):
        found = []
        for path in project_files():
            found += unchecked_locks(
                path.relative_to(ROOT).as_posix(), path.read_text())
        self.assertEqual(found, [])
        for planted in ("std::mutex mutex_;", "std::shared_mutex m;",
                        "#include <mutex>\n", "std::scoped_lock lock(a, b);",
                        "std::condition_variable_any changed_;",
                        "absl::MutexLock lock(&mutex_);",
                        "pthread_mutex_lock(&mutex);"):
            with self.subTest(planted=planted):
                self.assertNotEqual(
                    unchecked_locks("server/rpc/health.cc", planted), [])
                self.assertEqual(
                    unchecked_locks("client/cpp/stream.cc", planted), [])

    def test_no_unit_needs_one_that_needs_it(self):
        """A unit is a source with its header."""
        needs = {}
        for path in project_files():
            name = path.relative_to(ROOT).with_suffix("").as_posix()
            needs.setdefault(name, set()).update(
                str(pathlib.PurePosixPath(found).with_suffix(""))
                for _, found in INCLUDE.findall(path.read_text()))
        self.assertEqual(circle(needs), [])
        self.assertEqual(circle({"a": {"a", "b"}, "b": {"c"}, "c": {"b"}}),
                         ["b", "c"])

    def test_planted_includes_are_caught(self):
        planted = {
            "server/core/attention/attention.cc": [
                '"server/weights/catalog.h"', "<grpcpp/grpcpp.h>",
                "<spdlog/spdlog.h>", '"attention/v1/attention.pb.h"',
                '"proto/codec.h"', "<cblas.h>", '"hwy/highway.h"'
            ],
            "server/weights/sqlite_store.cc": ["<sqlite3.h>"],
            "server/weights/catalog.cc": [
                '"server/rpc/door/serve.h"', "<grpcpp/grpcpp.h>",
                '"attention/v1/attention.pb.h"'
            ],
            "server/core/kernel/strip.h": ['"server/core/attention/arguments.h"'],
            "server/core/attention/tiles.cc": ['"server/core/layer/layer.h"',
                                               '"server/core/blas/blas.h"'],
            "server/rpc/door/call.h": ['"server/rpc/compute/handler.h"'],
            "server/rpc/door/serve.cc": ['"server/config.h"', '"client/cpp/client.h"'],
            "server/main.cc": ['"client/cpp/client.h"', "<openblas/cblas.h>"],
            "proto/codec.cc": ['"server/core/tensor.h"', '"client/cpp/client.h"'],
            "server/rpc/door/call.cc": ['"tls/certificate_files.h"'],
            "tls/certificate_files.cc": ["<grpcpp/grpcpp.h>",
                                         '"server/config.h"'],
            "client/cpp/client.cc": ['"server/core/tensor.h"', "<zip.h>"],
            "client/cpp/files/npz.cc": [
                '"attention/v1/attention.pb.h"', '"attention/tensor.h"',
                '"client/cpp/cli/cli_status.h"', "<grpcpp/grpcpp.h>"
            ],
            "client/cpp/picture/draw.cc": [
                '"attention/v1/attention.pb.h"', '"client/cpp/cli/heat_map.h"'
            ],
            "command_line/command.cc": ['"client/cpp/cli/flags.h"',
                                        '"proto/codec.h"'],
            "server/core/blas/blas.cc": ['"command_line/command.h"'],
            "bench/core_bench.cc": ["<cblas.h>", '"server/rpc/door/serve.h"',
                                    '"client/cpp/grpc_status.h"'],
            "server/core/layer/layer.cc": ['"bench/layer_case.h"'],
            "tests/reference/reference_attention.cc": ['"server/core/attention/attention.h"'],
            "tests/core/attention_test.cc": ["<cblas.h>", '"hwy/highway.h"'],
        }
        for path, includes in planted.items():
            for include in includes:
                with self.subTest(path=path, include=include):
                    self.assertNotEqual(
                        violations(path, f"#include {include}\n"), [])

    def test_what_is_needed_is_allowed(self):
        for path, include in (
            ("server/core/blas/blas.cc", "<cblas.h>"),
            ("server/core/kernel/strip_kernel.cc", '"hwy/highway.h"'),
            ("tests/core/strip_kernel_test.cc", '"hwy/aligned_allocator.h"'),
            ("bench/fma_peak.cc", '"hwy/highway.h"'),
            ("server/weights/sqlite_database.cc", "<sqlite3.h>"),
            ("server/core/attention/attention.cc", "<vector>"),
            ("server/core/attention/attention.cc", '"absl/status/status.h"'),
            ("server/rpc/door/serve.cc", '"server/weights/catalog.h"'),
            ("client/cpp/client.cc", '"proto/codec.h"'),
            ("client/cpp/files/npz.cc", "<zip.h>"),
            ("client/cpp/picture/font.cc", "<ft2build.h>"),
            ("client/cpp/cli/heat_map.cc", '"client/cpp/picture/color.h"'),
            ("tests/reference/reference_attention.cc", "<cmath>"),
            ("tests/core/attention_test.cc", '"server/core/attention/attention.h"'),
            ("bench/core_bench.cc", "<benchmark/benchmark.h>"),
            ("bench/core_bench.cc", '"server/core/attention/attention.h"'),
        ):
            with self.subTest(path=path, include=include):
                self.assertEqual(violations(path, f"#include {include}\n"), [])


if __name__ == "__main__":
    unittest.main()
