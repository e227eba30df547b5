#!/usr/bin/env bash
# transformers 5.23.0, tokenizers 0.23.3 (no torch), Python 3.11.
#
# One would guess: tokenizer.json is the tokenizer, and `add_prefix_space` of tokenizer_config.json, where it is given,
# overrides it, in every family alike.
# What happens: with the same two files, a roberta checkpoint follows tokenizer_config.json alone (a `true` in tokenizer.json
# is dropped where the config says nothing), and a modernbert checkpoint follows tokenizer.json alone (a `true` in the config
# is dropped). Neither warns, and neither refuses words (is_split_into_words=True) that are then read glued together, as
# transformers 4 did. A tagger scores near 0 for it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
"$place/venv/bin/python" - "$place" <<'PYTHON' 2>/dev/null
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
alphabet = pre_tokenizers.ByteLevel.alphabet()
lines = ["flights from Boston to Denver"] * 9
made.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet))

CLASSES = {"roberta": "RobertaTokenizerFast", "modernbert": "PreTrainedTokenizerFast"}
found = {}
for family, name in CLASSES.items():
    for stored in (True, False):
        for said in (True, None):
            folder = Path(sys.argv[1]) / f"{family}-{stored}-{said}"
            folder.mkdir()
            made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=stored)
            made.save(str(folder / "tokenizer.json"))
            (folder / "config.json").write_text(json.dumps({"model_type": family}))
            settings = {"tokenizer_class": name} | ({} if said is None else {"add_prefix_space": said})
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            read = AutoTokenizer.from_pretrained(folder)
            tokens = read(["from", "Boston"], is_split_into_words=True, add_special_tokens=False).tokens()
            found[family, stored, said] = tokens == ["Ġfrom", "ĠBoston"]
            print(f"{family:10} tokenizer.json {stored!s:5} tokenizer_config.json {said!s:5} -> {tokens}")

follows = {key: key[2] is True if key[0] == "roberta" else key[1] for key in found}
assert found == follows, "the behaviour has changed"
PYTHON
