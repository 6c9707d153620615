"""A distributed training job for e-commerce recommendation."""

import zipimport

__version__ = "0.1.0"

# Before each task Spark has Python look again at all that it imports from. In pyspark.zip that
# reads the whole directory once for every package of it, a third of the workers' time in
# benchmarks/prepare.py. Python 3.12 does so when it is asked for a module
# (https://github.com/python/cpython/issues/103200); nobody changes a zip that is in use.
zipimport.zipimporter.invalidate_caches = lambda self: None  # type: ignore[method-assign]
