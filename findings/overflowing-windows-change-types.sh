#!/usr/bin/env bash
# tokenizers 0.23.3: windows after the first have other token types than the template says.
#
# One would guess that a long context cut into windows has the same types in each. XLM-R, CamemBERT and BART frame a pair as
# `<s> A </s></s> B </s>` with type 0 throughout. The first window has it so; in every overflowing one the second text has
# type 1, the number that the pair had before the frame. Question answering with `stride` feeds these windows to models: one
# with a single row of types (XLM-R has type_vocab_size 1) has none for it and refuses where types are passed on, another
# reads the windows as it never was trained to. Single texts, and templates that say type 1 themselves, are not touched.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PY'
from tokenizers import Tokenizer, models, pre_tokenizers, processors

words = ["<s>", "</s>", "?", "where", "to", "boston", "denver", "from", "dallas"]
tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "?"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer.post_processor = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
)
tokenizer.enable_truncation(8, stride=1, strategy="only_second")
first = tokenizer.encode("where", "from boston to denver from dallas")
print("tokens of the first window ", first.tokens, "types", first.type_ids)
for window in first.overflowing:
    print("tokens of a later window   ", window.tokens, "types", window.type_ids)
assert set(first.type_ids) == {0}
assert first.overflowing and all(1 in window.type_ids for window in first.overflowing), "this has changed"
PY
