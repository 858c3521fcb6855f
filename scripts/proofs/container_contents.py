"""What is in an image: its files, whose they are, and what it has beyond its
base."""

import dataclasses
import re
import tarfile

DPKG_LIST = re.compile(r"var/lib/dpkg/info/([a-z0-9.+-]+)(?::\w+)?\.list")
# Folders that are links into /usr, though dpkg has files below them.
MERGED = re.compile(r"^(bin|sbin|lib\w*)(?=/)")

OUR_FILES = re.compile(r"usr/local/bin/.+|usr/share/doc/attention/.+")

# What compiles, links or builds, by its name or that of its package.
COMPILER = re.compile(
    r"usr/(local/)?bin/(\w+-linux-gnu-)?(cc|c\+\+|gcc|g\+\+|cpp|clang(\+\+)?|"
    r"ld(\.\w+)?|as|make|cmake|ninja|protoc|grpc_\w+_plugin)(-[\d.]+)?"
    r"|usr/lib/gcc/.*/(cc1|cc1plus|collect2)"
    r"|usr/include/.+\.h|usr/lib/.+\.a|var/lib/dpkg/info/.+-dev[.:].*")
PACKAGE_LISTS = re.compile(
    r"var/lib/apt/lists/.+|var/cache/apt/.+|var/cache/debconf/.+-old")
SOURCES = re.compile(r"(source|installed)/.+|.+\.(cc|proto|cmake)")


@dataclasses.dataclass
class Contents:
    """Files of an image: path without its first slash -> bytes."""

    sizes: dict
    owners: dict  # path -> package

    def matching(self, pattern):
        return [path for path in self.sizes if pattern.fullmatch(path)]

    def total(self):
        return sum(self.sizes.values())

    def beyond(self, base):
        """Bytes by package of what is not in `base`, or grew: the largest
        first."""
        parts = {}
        for path, size in self.sizes.items():
            more = size - base.sizes.get(path, 0)
            if more:
                part = self.part(path)
                parts[part] = parts.get(part, 0) + more
        return dict(sorted(parts.items(), key=lambda part: -part[1]))

    def part(self, path):
        if OUR_FILES.fullmatch(path):
            return path
        return self.owners.get(merged(path), "dpkg's records and other files")


def merged(path):
    return MERGED.sub(r"usr/\1", path)


def read(stream):
    """The contents of a file system that comes as tar."""
    sizes = {}
    owners = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            path = entry.name.removeprefix("./").strip("/")
            if not entry.isfile():
                continue
            sizes[path] = entry.size
            package = DPKG_LIST.fullmatch(path)
            if package:
                for line in tar.extractfile(entry).read().decode().splitlines():
                    owners[merged(line.strip("/"))] = package[1]
    return Contents(sizes, owners)
