#!/usr/bin/env bash
# safetensors 0.8.0 (0.7.0 beside it), numpy 2.3.5, CPython 3.11, Linux.
#
# One would guess: save_file() opens the path and writes, so that a new file gets the mode that the umask leaves (0644
# under 022), and an existing file keeps its mode.
# What happens since 0.8.0: it writes a temporary file beside the path and renames it. Every new file has mode 0600, whatever
# the umask, also where it replaces a file of mode 0644; a symbolic link is replaced by a file, and what it led to stays as it
# was. All that transformers saves with save_pretrained() is affected: a checkpoint saved by one user (in a Dockerfile, by
# a training job) cannot be read by another one, while config.json and tokenizer.json beside it can.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.7.0 0.8.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet "safetensors==$version" "numpy==2.3.5"
    "$folder/$version/bin/python" - "$folder" "$version" <<'PYTHON'
import os
import stat
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

folder, version = Path(sys.argv[1]), sys.argv[2]
os.umask(0o022)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


new, old, link, target = (folder / f"{version}-{name}" for name in ("new", "old", "link", "target"))
old.write_bytes(b"")
old.chmod(0o644)
target.write_bytes(b"was here")
link.symlink_to(target)
for path in (new, old, link):
    save_file({"a": np.zeros(4, np.float32)}, path)
seen = {"new": mode(new), "replaced": mode(old), "link stays a link": link.is_symlink()}
print(version, seen)
expected = {
    "0.7.0": {"new": "0o644", "replaced": "0o644", "link stays a link": True},
    "0.8.0": {"new": "0o600", "replaced": "0o600", "link stays a link": False},
}
assert seen == expected[version], f"changed: {expected[version]} was seen before"
PYTHON
done
