"""SentencePiece's own normalizer, as Hugging Face's `Precompiled` runs it, described for ports.

The library cuts a text into grapheme clusters. Of one shorter than 6 bytes it looks up the shortest beginning that its table
has, and puts what stands there for the whole cluster; otherwise, and of longer ones, it looks up each character. Only so much
of Unicode's segmentation is needed as such short clusters show: which characters join the one before, which never are
joined to, and which join the one behind. That is asked of the normalizer itself.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgebert.bundle.ports.tables import encode_map, encode_set
from edgebert.bundle.ports.unicode import changes, code_points

if TYPE_CHECKING:
    pass

SHORT = 6  # bytes from which a cluster is read character by character
MARK = "\u0301"


def describe_precompiled(charsmap: str) -> dict[str, object]:
    """`table` maps characters; `clusters` beginnings of several; `joining`, `controls` and `prepended` are the sets above.

    Args:
        charsmap: base 64, as tokenizer.json has it.
    """
    from tokenizers.normalizers import Precompiled

    data = base64.b64decode(charsmap)
    normalizer = Precompiled(data)
    normal = normalizer.normalize_str
    single = changes(normalizer)
    clusters = {
        key: text
        for key, text in sorted(_keys(data))
        if len(key) > 1 and len(key.encode()) < SHORT and ord(key[0]) not in single
    }
    joining: set[int] = set()
    prepended: set[int] = set()
    pair = next((key for key in clusters if len(key) == 2 and len(key.encode()) == SHORT // 2), "")
    for point in code_points() if pair else ():
        character = chr(point)
        alone = normal(character)
        if normal(pair + character) != clusters[pair] + alone:
            joining.add(point)
        elif normal(character + pair) != alone + clusters[pair]:
            prepended.add(point)
    # A mark that the table maps swallows the mark behind it, unless both join something before them.
    swallows = next((chr(point) + MARK for point in sorted(joining & single.keys()) if point < 0x800), MARK)
    swallowed = normal(swallows)
    controls = {
        point
        for point in code_points()
        if (alone := normal(chr(point))) + swallowed == normal(chr(point) + swallows)
        and (point not in single or normal(chr(point) + MARK) != alone)
    }
    if swallows == MARK:
        controls &= single.keys()
    return {
        "type": "precompiled",
        "table": encode_map(single),
        "clusters": clusters,
        "joining": encode_set(joining),
        "controls": encode_set(controls),
        "prepended": encode_set(prepended),
    }


def _keys(data: bytes) -> Iterator[tuple[str, str]]:
    """Every text of the table with what stands for it: a double-array trie, then the texts that it points to.

    The layout of a unit is that of Darts-clone (https://github.com/s-yata/darts-clone).
    """
    (size,) = struct.unpack_from("<I", data)
    units = struct.unpack_from(f"<{size // 4}I", data, 4)
    texts = data[4 + size :]

    def offset(unit: int) -> int:
        return (unit >> 10) << ((unit & 0x200) >> 6)

    waiting = [(b"", offset(units[0]))]
    while waiting:
        key, base = waiting.pop()
        for byte in range(1, 256):
            place = base ^ byte
            if place >= len(units) or units[place] & 0x800000FF != byte:
                continue
            unit = units[place]
            node = place ^ offset(unit)
            if unit & 0x100:
                start = units[node] & 0x7FFFFFFF
                yield (key + bytes([byte])).decode(), texts[start : texts.index(b"\0", start)].decode()
            waiting.append((key + bytes([byte]), node))
