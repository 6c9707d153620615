from pathlib import Path

import pytest

from recsys.manifest import Manifest
from tests.datasets import write_dataset


@pytest.fixture(scope="session")
def dataset_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train") / "dataset"


@pytest.fixture(scope="session")
def dataset(dataset_place: Path) -> Manifest:
    """Baskets of up to three items; four row groups a split."""
    return write_dataset(dataset_place)
