"""Puts compiled modules beside the sources in the zip files from which Spark's Python starts.

Python keeps no compiled code of what it imports from a zip, so that every job and each of its
workers would compile pyspark anew.

usage: compiled.py
"""

import compileall
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

import pyspark


def add_compiled(archive: Path) -> None:
    """The archive with compiled modules, in place of the one without."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        sources = Path(folder, "sources")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(sources)
        is_compiled = compileall.compile_dir(
            sources, quiet=1, legacy=True, stripdir=str(sources), prependdir=str(archive),
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip
        if not is_compiled:  # what failed is printed
            sys.exit(f"{archive}: expected sources that compile")
        whole = Path(folder, archive.name)
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(sources.rglob("*")):
                packed.write(file, file.relative_to(sources))
        os.replace(whole, archive)


if __name__ == "__main__":
    for archive in Path(pyspark.__file__).parent.glob("python/lib/*.zip"):
        add_compiled(archive)
