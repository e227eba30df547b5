#!/usr/bin/env bash
# tokenizers 0.23.3, Python 3.11.
#
# One would guess: training a tokenizer draws nothing at random, so the same text gives the same vocabulary. BpeTrainer does
# so, and WordPieceTrainer is BpeTrainer with a prefix for pieces inside words.
# What happens: WordPieceTrainer learns other tokens in each process, and not only other ids. Pieces of one character inside
# words ("##a") get their ids as a hash map gives the words out, whose seed is new in each process, and among pairs that occur
# equally often those of lower ids are joined first. Of real text with many rare words the tail of the vocabulary differs, so
# that a checkpoint made twice from one seed reads text in two ways. There is no seed to set. Given as special tokens, in an
# order of one's own, characters and their inner forms have fixed ids, and each process learns the same.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
cat > "$place/learn.py" <<'PYTHON'
import json
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXT = ["alpha beta gamma delta", "beta gamma epsilon zeta", "gamma delta eta theta", "kappa lambda mu nu xi",
        "omicron pi rho sigma tau"]
letters = sorted({letter for line in TEXT for letter in line if letter != " "})
kind = sys.argv[1]
special = ["[UNK]"] + (letters + ["##" + letter for letter in letters] if kind == "letters given" else [])
model, trainer = (models.BPE, trainers.BpeTrainer) if kind == "BPE" else (models.WordPiece, trainers.WordPieceTrainer)
tokenizer = Tokenizer(model(unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.train_from_iterator(TEXT, trainer(vocab_size=90, special_tokens=special, show_progress=False))
print(json.dumps(sorted(tokenizer.get_vocab())))
PYTHON
for kind in "WordPiece" "BPE" "letters given"; do
  n=$(for _ in 1 2 3 4 5 6 7 8; do "$place/venv/bin/python" "$place/learn.py" "$kind"; done | sort -u | wc -l)
  echo "$kind: eight processes learn $([ "$n" -gt 1 ] && echo 'several sets of tokens' || echo 'one set of tokens')"
done | tee "$place/seen"
diff - "$place/seen" <<'SEEN'
WordPiece: eight processes learn several sets of tokens
BPE: eight processes learn one set of tokens
letters given: eight processes learn one set of tokens
SEEN
