#!/usr/bin/env bash
# A control character at the beginning of a text moves every offset of an XLM-R-like tokenizer.
#
# SentencePiece's normalizer removes control characters (U+0001 to U+0008, U+000E to U+001F, U+007F and others). Hugging Face's
# `Precompiled`, which runs the same table, gives what it removes to the character before it; at the beginning of a text
# there is none, so nothing is taken off, and each character afterwards is placed one too far to the left, to the end of the
# text. Ids are right, words that are cut out of the text by offsets are not: "hello" is shown as " hell". Inside a text
# the same character does no harm. Seen on tokenizers 0.23.3 with the table of sentencepiece 0.2.1; a text that was pasted
# from a terminal or read from a PDF begins so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3 sentencepiece==0.2.1 protobuf==6.33.0
cd "$work"
venv/bin/python - <<'PY'
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

words = [a + b + c for a in "bdfgklm" for b in "aeiou" for c in "nprst"]
open("text", "w").write("\n".join(" ".join(words[i : i + 8]) for i in range(len(words))))
sentencepiece.SentencePieceTrainer.train(input="text", model_prefix="small", vocab_size=120, minloglevel=2)
proto = sentencepiece_model_pb2.ModelProto.FromString(open("small.model", "rb").read())

tokenizer = Tokenizer(models.WordLevel({"?": 0, "hello": 1, "world": 2}, "?"))
tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()

def shown(text):
    encoding = tokenizer.encode(text)
    return encoding.ids, [text[start:end] for start, end in encoding.offsets]

inside, first, two = shown("hello\x01 world"), shown("\x7fhello world"), shown("\x01\x02hello world")
print("inside the text     ", inside)
print("at its beginning    ", first)
print("two at its beginning", two)
assert inside == ([1, 2], ["hello", "world"]), inside
assert first == ([1, 2], ["\x7fhell", " worl"]), first
assert two == ([1, 2], ["\x01\x02hel", "o wor"]), two
print("as found")
PY
