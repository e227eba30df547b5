"""multilingual-align: the parallel text, the windows, the loss, and what it does for a small model of three languages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from edgebert.errors import DataError, EdgebertError, RequestError
from edgebert.methods import METHODS
from edgebert.methods._parallel import Parallel, read_parallel
from edgebert.methods.multilingual_align import METHOD, aligned_windows, alignment_loss, last_tokens
from edgebert.modeling.checkpoint import copy_student
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.loop import collate
from edgebert.training.run import evaluate
from edgebert.types import Row, Student, TrainSettings
from tests.parallel_sentences import INTENTS, Sentence, sentences

# ---------------------------------------------------------------- parallel text


def written(folder: Path, **files: str) -> Callable[[str], str]:
    """Files of these texts, and what gives a spec their folder."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return lambda spec: spec.replace("@", f"{folder}/")


def test_both_forms_give_the_same_sentences(tmp_path: Path) -> None:
    at = written(
        tmp_path, tabbed="Guten Tag\tGood day\n\nDanke \t Thanks\n", de="Guten Tag\n\nDanke\n", en="Good day\n\nThanks"
    )
    for spec in ("@tabbed", "@de:@en"):
        assert read_parallel(at(spec)) == Parallel(("Guten Tag", "Danke"), ("Good day", "Thanks"), 0)
    assert len(read_parallel(at("@tabbed, @de:@en")).sources) == 4


def test_a_line_without_its_translation_is_left_out_and_counted(tmp_path: Path) -> None:
    at = written(tmp_path, de="Guten Tag\nDanke\n", en="Good day\n\n")
    assert read_parallel(at("@de:@en")) == Parallel(("Guten Tag",), ("Good day",), 1)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    at = written(tmp_path, tabbed="a\tb\n")
    assert read_parallel(at("@tabbed")).sources == ("a",)
    written(tmp_path, tabbed="a\tb\nc\td\n")
    assert read_parallel(at("@tabbed")).sources == ("a", "c")


@pytest.mark.parametrize(
    ("spec", "where", "what"),
    [
        ("@de:@en", "de:3", r"3 lines, and .*en has 2: from this line on there is no translation"),
        ("@en:@de", "de:3", r"3 lines, and .*en has 2"),
        ("@tabs", "tabs:2", "3 columns, where a sentence and its translation are needed"),
        ("@de", "de:1", "1 columns"),
        ("@de:@en:@de", "de", "3 files are joined by colons"),
        ("@none", "none", "no such file"),
        ("@empty", "empty", "there is no sentence with its translation"),
        ("@latin", "latin:1", "byte 0xfc at offset 0 is not utf-8"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_line(spec: str, where: str, what: str, tmp_path: Path) -> None:
    at = written(tmp_path, de="eins\nzwei\ndrei\n", en="one\ntwo\n", tabs="a\tb\na\tb\tc\n", empty="\n\n")
    (tmp_path / "latin").write_bytes(b"\xfcber\tover\n")
    with pytest.raises(DataError, match=what) as caught:
        read_parallel(at(spec))
    assert str(caught.value.where).endswith(where) and caught.value.hint and "--encoding" not in caught.value.hint


def test_it_is_told_before_any_training(teacher: Student) -> None:
    config = teacher.model.config
    with pytest.raises(RequestError, match="no parallel sentences were given") as caught:
        METHOD.check(config, config, **METHOD.read_params({}))
    assert caught.value.where == "multilingual-align.parallel"
    with pytest.raises(EdgebertError, match="no such file"):
        METHOD.check(config, config, **METHOD.read_params({"parallel": "nowhere.tsv"}))


# ---------------------------------------------------------------- windows and loss


def test_words_end_at_their_last_token_and_have_one_number_in_both(teacher: Student) -> None:
    """iss is spelt is ##s: its last token, at place 2, is the other side of `is`."""
    pairs = Parallel(("iss aville", "iss bton"), ("is aville", "is bton"), 0)
    windows, n_words = aligned_windows(pairs, teacher.tokenizer, 16)
    (source, target), _ = windows
    assert [teacher.tokenizer.id_to_token(i) for i in source.input_ids] == ["[CLS]", "is", "##s", "aville", "[SEP]"]
    assert source.labels == (2, -100, 0, 1, 3)
    assert target.labels == (2, 0, 1, 3)
    assert n_words == 4


def test_a_word_beyond_the_window_is_not_aligned(teacher: Student) -> None:
    windows, n_words = aligned_windows(Parallel(("iss aville",), ("is aville",), 0), teacher.tokenizer, 4)
    assert windows[0][0].labels == (1, -100, 0, 2) and windows[0][1].labels == (1, 0, -100, 2)
    assert n_words == 1


def test_tokens_of_other_kinds_end_words_too() -> None:
    from tokenizers import models, pre_tokenizers

    unigram = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("▁ja", -1.0), ("▁gu", -1.0), ("t", -1.0), ("!", -1.0)], unk_id=0)
    )
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    encoding = unigram.encode("ja gut!")
    assert encoding.tokens == ["▁ja", "▁gu", "t", "!"]
    assert last_tokens(encoding, [(0, 2), (3, 6), (6, 7)]) == {0: 0, 1: 2, 2: 3}


def test_loss_by_hand() -> None:
    """|(1, 2) - (0, 0)|² = 5 and |(3, 0) - (1, 1)|² = 5 for two words: 5. t moved by (1, 0) at one of two tokens: 1/2."""
    source, target = (
        torch.tensor([[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]]),
        torch.tensor([[1.0, 1.0], [0.0, 0.0], [7.0, 7.0]]),
    )
    numbers = torch.tensor([[4, 6, -100], [6, 4, -100]])
    before = target - torch.tensor([[1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    mask = torch.tensor([[True, True, False]])
    states = torch.stack([source, target])
    assert alignment_loss(states, before[None], numbers, mask, 0.0).item() == pytest.approx(5.0)
    assert alignment_loss(states, before[None], numbers, mask, 3.0).item() == pytest.approx(6.5)


# ---------------------------------------------------------------- what it does


def small_model(texts: Sequence[str]) -> Student:
    """An untrained BERT whose vocabulary has every word of the texts: two layers of width 48."""
    from tokenizers import models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification

    from edgebert.modeling.checkpoint import set_labels

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for text in texts for word in text.split()})]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=32, initializer_range=0.1, attn_implementation="eager",
    )  # fmt: skip
    set_labels(config, INTENTS)
    model = BertForSequenceClassification(config).eval()
    model.config.architectures = [type(model).__name__]
    return Student(model, tokenizer)


def context_of(student: Student, rows: Sequence[Row], work: Path) -> MethodContext:
    settings = TrainSettings(epochs=8, batch_size=16, learning_rate=2e-3, max_length=32)
    return MethodContext(student.model, find_task("classify"), INTENTS, rows, rows, settings, work)


def means(student: Student, texts: Sequence[str]) -> torch.Tensor:
    """(n, width): the mean of the last layer's vectors over each text's words."""
    results = []
    for text in texts:
        ids = torch.tensor([student.tokenizer.encode(text).ids])
        with torch.inference_mode():
            results.append(student.model.bert(input_ids=ids).last_hidden_state[0, 1:-1].mean(0))
    return torch.stack(results)


def retrieved(student: Student, held_out: Sequence[Sentence]) -> float:
    """Of the German sentences, how many have their own translation as the nearest English one, 0 to 1."""
    german, english = (means(student, [getattr(item, side) for item in held_out]) for side in ("de", "en"))
    return (torch.cdist(german, english).argmin(1) == torch.arange(len(held_out))).float().mean().item()


def word_distance(student: Student, held_out: Sequence[Sentence]) -> float:
    """The mean of |f(i, s) - f(j, t)|² over aligned words."""
    pairs = Parallel(tuple(item.de for item in held_out), tuple(item.en for item in held_out), 0)
    batch = collate(aligned_windows(pairs, student.tokenizer, 32)[0])
    with torch.inference_mode():
        states = student.model.bert(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
    mask = batch["attention_mask"][1::2].bool()
    return alignment_loss(states, states[1::2], batch["labels"], mask, 0.0).item()


def accuracy(student: Student, held_out: Sequence[Sentence], side: str) -> float:
    rows = [Row(text=getattr(item, side), labels=(item.intent,)) for item in held_out]
    return evaluate(student, find_task("classify"), INTENTS, rows, "test", 32).value


def test_words_meet_their_translations_and_what_is_learnt_in_english_serves_in_german(tmp_path: Path) -> None:
    """Intents are learnt from 96 English sentences alone, then the languages are aligned on these; judged by 40 others."""
    every = sentences()
    train, held_out = every[:96], every[96:]
    plain = small_model([text for item in every for text in (item.de, item.en)])
    rows = [Row(text=item.en, labels=(item.intent,)) for item in train]
    finetune = METHODS.get("finetune")
    plain = finetune.apply(
        plain, context_of(plain, rows, tmp_path / "finetune"), **finetune.read_params({"epochs": 10})
    )
    (tmp_path / "de-en.tsv").write_text("".join(f"{item.de}\t{item.en}\n" for item in train), encoding="utf-8")
    params = METHOD.read_params({"parallel": str(tmp_path / "de-en.tsv"), "epochs": 20, "rate": 2e-3})
    aligned = copy_student(plain.model, plain.tokenizer)
    aligned = METHOD.apply(aligned, context_of(plain, rows, tmp_path / "align"), **params)

    assert word_distance(aligned, held_out) < word_distance(plain, held_out) / 8
    assert retrieved(plain, held_out) < 0.1 < 0.3 < retrieved(aligned, held_out)
    assert accuracy(plain, held_out, "de") < 0.3 < 0.95 < accuracy(aligned, held_out, "de")
    assert accuracy(aligned, held_out, "en") >= accuracy(plain, held_out, "en") > 0.95, "English stays where it was"
    assert torch.equal(aligned.model.classifier.weight, plain.model.classifier.weight)
    assert "in 96 pairs of sentences" in aligned.notes[-1]


def test_keep_0_lets_the_target_language_go(tmp_path: Path) -> None:
    every = sentences()[:32]
    plain = small_model([text for item in every for text in (item.de, item.en)])
    (tmp_path / "de-en.tsv").write_text("".join(f"{item.de}\t{item.en}\n" for item in every), encoding="utf-8")
    moved = []
    for keep in (0.0, 10.0):
        student = copy_student(plain.model, plain.tokenizer)
        params = {"parallel": str(tmp_path / "de-en.tsv"), "epochs": 3, "rate": 2e-3, "keep": keep}
        METHOD.apply(student, context_of(plain, [], tmp_path / str(keep)), **METHOD.read_params(params))
        texts = [item.en for item in every]
        moved.append((means(student, texts) - means(plain, texts)).square().sum(1).mean().item())
    assert moved[1] < moved[0] / 2
