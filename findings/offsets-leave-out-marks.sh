#!/usr/bin/env bash
# tokenizers 0.23.3
#
# One would guess that the last piece of a word ends where the word ends. BERT's normaliser (strip_accents, on by default
# with lowercase=True) drops combining marks, and the offsets of the piece before one then end before the mark. In text
# that is not composed (macOS file names, PDFs), and in every script whose vowel signs are such marks (Hindi, Thai, Arabic
# vowels, ...), an answer that ends in a mark ends behind all pieces. SQuAD's usual recipe takes an answer as inside a
# window only where the last piece's offset reaches its end: here it does not, so the question is trained as one without
# an answer, and a prediction cut out by offsets lacks its last vowel. Compose the text (NFC), or let ends grow over
# following characters of category M.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "tokenizers==0.23.3"
"$folder/venv/bin/python" - <<'PY'
import unicodedata

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

letters = "abcdefghijklmnopqrstuvwxyz\u0928\u092e\u0938\u0924"
vocab = {piece: i for i, piece in enumerate(["[UNK]", *letters, *("##" + c for c in letters)])}
tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

for name, word, wanted in (
    ("composed", unicodedata.normalize("NFC", "cafe\u0301"), True),
    ("decomposed", "cafe\u0301", False),
    ("Hindi", "\u0928\u092e\u0938\u094d\u0924\u0947", False),
):
    text = f"say {word} now"
    end = 4 + len(word)
    inside = [(a, b) for a, b in tokenizer.encode(text).offsets if 4 <= a < end]
    reaches = inside[-1][1] >= end
    print(f"{name}: the answer ends at {end}, its last piece at {inside[-1][1]}: found by the usual recipe: {reaches}")
    assert reaches == wanted, "the offsets have changed"
PY
