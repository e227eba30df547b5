"""Vocabularies trimmed to the languages that the user names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._languages import scripts, scripts_of, written_in
from edgebert.methods.trim_vocab import trim
from edgebert.modeling.checkpoint import copy_student, n_parameters, set_labels
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.run import evaluate
from edgebert.types import Row, Student, TrainSettings
from tests.parallel_sentences import INTENTS, Sentence, sentences


def test_languages_are_told_by_their_scripts() -> None:
    assert scripts_of("", "x") == ()
    assert scripts_of("de,en", "x") == scripts_of("pt-BR", "x") == scripts_of(" de , de_AT", "x") == ("Latin",)
    assert scripts_of("ru,de", "x") == ("Cyrillic", "Latin") == scripts_of("sr", "x")
    assert scripts_of("ja", "x") == ("Han", "Hiragana", "Katakana")
    assert all(len(code) in (2, 3) for code in scripts())


def test_every_script_is_one_of_unicode() -> None:
    for names in scripts().values():
        assert written_in(names)("1 + 1 = 2")


def test_an_unknown_language_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(RequestError, match="unknown language 'german'") as caught:
        METHODS.get("trim-vocab").check(None, None, size=0, floor=0, languages="de,german")  # type: ignore[arg-type]
    assert caught.value.where == "trim-vocab.languages" and " de, " in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "latin"),
    [("▁straße", True), ("##ück", True), ("e\u0301", True), ("2,5 €", True), ("😀", True), ("łąka", True), ("日本", False),
     ("Москва", False), ("aб", False), ("한", False), ("\ufffd", True)],
)  # fmt: skip
def test_a_text_is_written_in_a_script_where_no_letter_is_of_another(text: str, latin: bool) -> None:
    assert bool(written_in(("Latin",))(text)) is latin


def test_tokens_of_other_scripts_go_but_those_of_the_text() -> None:
    tokens = ["[UNK]", "haus", "##er", "дом", "##а", "д", "家", "house", "łąka", "1"]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    kept = ["[UNK]", "haus", "##er", "д", "house", "łąka", "1"]
    trimmed, old_ids = trim(tokenizer, Counter({"д": 1}), len(tokens), scripts=("Latin",))
    assert [trimmed.id_to_token(i) for i in range(len(old_ids))] == kept
    trimmed, _ = trim(tokenizer, Counter({"house": 1}), 4, scripts=("Latin",))
    assert set(trimmed.get_vocab()) == {"[UNK]", "house", "1", "haus"}, (
        "single characters, then the text's, then in order"
    )


def test_byte_level_tokens_are_read_as_text() -> None:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["grün", "дом"] * 20, trainer)
    german, russian = tokenizer.encode("grün"), tokenizer.encode("дом")
    assert len(german.ids) == len(russian.ids) == 1
    trimmed, _ = trim(tokenizer, Counter(), tokenizer.get_vocab_size(), scripts=("Latin",))
    assert trimmed.encode("grün").tokens == german.tokens
    assert len(trimmed.encode("дом").ids) > 1 and trimmed.decode(trimmed.encode("дом").ids) == "дом"
    assert set(alphabet) <= set(trimmed.get_vocab())


# ---------------------------------------------------------------- a model of many languages

SYLLABLES = (
    "бвгдж-аеиоу",
    "βγδζκ-αειου",
    "بتثجح-اويةى",
    "कखगघच-टठडढण",
    "가나다라마-바사아자차",
    "天地人山水-日月火木土",
)


def multilingual(every: Sequence[Sentence]) -> Student:
    """A trained XLM-RoBERTa of two layers, width 48, whose Unigram vocabulary has words of ten languages: most are made up
    of the letters of other scripts."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    words = {word for item in every for text in (item.de, item.en, item.fr) for word in text.split()}
    latin = [*(f"▁{word}" for word in sorted(words)), *sorted({*"▁'-", *"".join(words)}), "▁łąka", "▁çocuk"]
    pairs = [letters.split("-") for letters in SYLLABLES]
    foreign = [f"▁{''.join(item)}" for first, second in pairs for item in product(first, second, first, second)]
    foreign += sorted({letter for first, second in pairs for letter in first + second})
    tokens = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokens += [
        (token, -5.0 if len(token) > 1 else -15.0) for both in zip(latin, foreign, strict=False) for token in both
    ]
    tokens += [(token, -8.0 if len(token) > 1 else -15.0) for token in foreign[len(latin) :]]
    tokenizer = Tokenizer(models.Unigram(tokens, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(tokens), hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=34, pad_token_id=1, initializer_range=0.1, attn_implementation="eager",
    )  # fmt: skip
    set_labels(config, INTENTS)
    model = XLMRobertaForSequenceClassification(config).eval()
    model.config.architectures = [type(model).__name__]
    return Student(model, tokenizer)


def intents(every: Sequence[Sentence], *sides: str) -> list[Row]:
    return [Row(text=getattr(item, side), labels=(item.intent,)) for side in sides for item in every]


def test_a_model_of_ten_languages_trimmed_to_two_is_60_percent_smaller_and_answers_as_before(tmp_path: Path) -> None:
    every = sentences()
    train, test = intents(every[:96], "de", "en"), intents(every[96:], "de", "en")
    teacher, task = multilingual(every), find_task("classify")
    settings = TrainSettings(epochs=12, batch_size=16, learning_rate=2e-3, max_length=32)
    context = MethodContext(teacher.model, task, INTENTS, train, test, settings, tmp_path, scores_epochs=False)
    finetune, method = METHODS.get("finetune"), METHODS.get("trim-vocab")
    teacher = finetune.apply(teacher, context, **finetune.read_params({}))
    student = method.apply(
        copy_student(teacher.model, teacher.tokenizer), context, **method.read_params({"languages": "de,en"})
    )
    assert n_parameters(student.model) < 0.4 * n_parameters(teacher.model)
    for row in test:
        before, after = (item.tokenizer.encode(str(row.text)) for item in (teacher, student))
        assert before.tokens == after.tokens
        with torch.inference_mode():
            logits = [item.model(torch.tensor([e.ids])).logits for item, e in ((teacher, before), (student, after))]
        assert torch.allclose(*logits, atol=1e-5)
    scores = [evaluate(item, task, INTENTS, test, "test", 32).value for item in (teacher, student)]
    assert scores[0] == scores[1] > 0.9, scores
    assert student.tokenizer.encode("łąka").tokens == ["<s>", "▁łąka", "</s>"], (
        "a script does not tell Polish from German"
    )
    assert student.tokenizer.token_to_id("<unk>") in student.tokenizer.encode("ба").ids
    assert "unknown words 0.00 % to 0.00 %" in student.notes[-1] and student.notes[-1].endswith("are written in Latin")


def test_what_becomes_unknown_is_told(tmp_path: Path) -> None:
    """Half of the words to judge by are Russian, and the text to learn from has none."""
    every = sentences()
    teacher = multilingual(every)
    rows = [Row(text=f"{item.de.split()[0]} бабаб", labels=(item.intent,)) for item in every[:4]]
    settings = TrainSettings(epochs=1, max_length=32)
    context = MethodContext(
        teacher.model, find_task("classify"), INTENTS, intents(every[:8], "de"), rows, settings, tmp_path
    )
    method = METHODS.get("trim-vocab")
    student = method.apply(
        copy_student(teacher.model, teacher.tokenizer), context, **method.read_params({"languages": "de"})
    )
    assert "unknown words 0.00 % to 50.00 %" in student.notes[0]
