"""A user's bits are its own, by the kernels of every processor that this one can stand for."""

from __future__ import annotations

import json
import sys

import pytest

from recsys import files, manifest
from tests import processes
from tests.score.worlds import World, write_model

_MODELS = (
    {"embedding_size": 300, "readout": "attention", "repeat": True},
    {"embedding_size": 33, "cell": "lstm", "layers": 2, "normalize": True},
)


@pytest.fixture(scope="module")
def versions(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Models that are wider than what a processor takes at a time, or by no multiple of it."""
    folder = tmp_path_factory.mktemp("models")
    dataset = manifest.read(str(world.folder / "dataset"))
    for number, train in enumerate(_MODELS):
        write_model(folder / str(number), dataset, purchase_weight=1.0, **train)
    places = [str(folder / str(number)) for number in range(len(_MODELS))]
    return [files.local_copy(files.current(place, "")) for place in places]


# Of instructions that the processor lacks it has the next best. With oneDNN's operations for whole
# layers, or, as TensorFlow does by itself where there is no AVX-512, with its products alone.
@pytest.mark.parametrize(
    ("instructions", "layers", "threads"),
    [("SSE41", "0", "2"), ("AVX2", "0", "1"), ("AVX2", "1", "1"), ("AVX512_CORE", "1", "2")],
)
def test_neither_order_nor_company_changes_a_bit(
    versions: list[str], instructions: str, layers: str, threads: str
) -> None:
    settings = {
        "ONEDNN_MAX_CPU_ISA": instructions, "TF_ENABLE_ONEDNN_OPTS": layers,
        "TF_NUM_INTRAOP_THREADS": threads,
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.score.arrangements", *versions]
    found = processes.run(command, variables=settings)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {key: [] for key in versions}
