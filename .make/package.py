"""Packs what Spark's executors import into an archive for `spark-submit --archives`.

It is a virtual environment that runs wherever it is unpacked, on nodes that have the same Python
at the same path. Its packages are copied file by file from the environment that runs this, so
that the executors get what the lock names and the tests ran with.

usage: package.py WHEEL_OF_RECSYS ARCHIVE [PYTHON_OF_THE_NODES]
"""

import gzip
import io
import os
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The cluster has its own Spark, only training reads with Petastorm, and nothing imports libclang.
LEFT_OUT = {"pyspark", "petastorm", "libclang"}
# For compilers and for the packages' own developers.
LEFT_OUT_FOLDERS = ("pandas/tests/", "pyarrow/include/", "tensorflow/include/")
SITE_PACKAGES = "lib/python3.11/site-packages"


def needed(requirements: list[str], extras: tuple[str, ...], found: dict[str, str]) -> None:
    """Adds the installed distributions that these requirements lead to: key to name."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        name = canonicalize_name(requirement.name)
        key = f"{name}[{','.join(sorted(requirement.extras))}]"
        if name in LEFT_OUT or key in found:
            continue
        found[key] = name
        requires = metadata.distribution(name).requires or []
        needed(requires, tuple(requirement.extras), found)


def is_installed(name: str) -> bool:
    """Whether this environment has the distribution."""
    return bool(list(metadata.distributions(name=name)))


def files_of(name: str) -> Iterator[str]:
    """The distribution's files below site-packages; scripts in bin/ name another interpreter."""
    for path in map(str, metadata.distribution(name).files or []):
        if not path.startswith(("../", *LEFT_OUT_FOLDERS)):
            yield path


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's in particular."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def pack(wheel: str, tar: tarfile.TarFile, python: Path) -> None:
    """Writes an interpreter's link, recsys, and the packages that it needs."""
    add(
        tar,
        "pyvenv.cfg",
        f"home = {python.parent}\ninclude-system-site-packages = false\n".encode(),
    )
    for name, target in (("python", str(python)), ("python3", "python")):
        link = tarfile.TarInfo(f"bin/{name}")
        link.type, link.linkname = tarfile.SYMTYPE, target
        tar.addfile(link)
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            add(tar, f"{SITE_PACKAGES}/{name}", packed.read(name))
    (recsys,) = metadata.distributions(path=[wheel])
    found: dict[str, str] = {}
    extras = ("cpu", "neighbours") if is_installed("faiss-cpu") else ("cpu",)
    needed(recsys.requires or [], extras, found)
    site = Path(sysconfig.get_path("purelib"))
    for path in sorted({path for name in found.values() for path in files_of(name)}):
        if (site / path).exists():  # pip lists compiled files that may be gone
            tar.add(site / path, f"{SITE_PACKAGES}/{path}", recursive=False, filter=plain)


def main(wheel: str, archive: str, python: str = "") -> None:
    """Writes the archive, whole or not at all."""
    interpreter = Path(python) if python else Path(sys._base_executable).resolve()
    Path(archive).parent.mkdir(parents=True, exist_ok=True)
    draft = f"{archive}.writing"
    # Level 6 takes three times as long, for an eighth less.
    with (
        gzip.GzipFile(draft, "wb", compresslevel=1, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        pack(wheel, tar, interpreter)
    os.replace(draft, archive)


if __name__ == "__main__":
    main(*sys.argv[1:])
