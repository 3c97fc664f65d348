"""Tokenisers of checkpoints: the board's own format, an old vocabulary, and what is neither."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import byte_level
import cases
import numpy as np
import pytest
import toy_folders
import toys
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tfedge import tasks
from tfedge.data.batches import pad
from tfedge.data.reader import TextReader, open_reader
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import encode, load_tokenizer, text_encoder, vocabulary
from tfedge.errors import CheckpointError, InputError
from tfedge.models.config import parse_config
from tfedge.runtime import TextError
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.runtime.truncation import ONLY_FIRST
from tfedge.tasks.text_classification import TASK
from tfedge.train.examples import tokenize

TEXTS = ("A Good film.", "ada was born", "where ?", "unbelievable")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_bytes(toys.tokenizer_json())
    return tmp_path


def _write_vocabulary(folder: Path, model_type: str = "bert") -> None:
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in toys.VOCABULARY))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))


def test_ids_are_those_of_the_file(folder: Path) -> None:
    (ids,) = encode(load_tokenizer(folder), ["Good film"], 16)
    assert [toys.VOCABULARY[index] for index in ids] == ["[CLS]", "good", "film", "[SEP]"]
    assert ids.dtype == np.int32


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "mobilebert"])
def test_vocabulary_alone_gives_the_same_ids(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, model_type: str
) -> None:
    old = tmp_path_factory.mktemp("old")
    _write_vocabulary(old, model_type)
    modern = encode(load_tokenizer(folder), TEXTS, 16)
    converted = encode(load_tokenizer(old), TEXTS, 16)
    assert [ids.tolist() for ids in converted] == [ids.tolist() for ids in modern]


def test_byte_level_files_give_the_same_ids(tmp_path: Path) -> None:
    made = byte_level.tokenizer()
    texts = [*TEXTS, " naïve \u2028?", "🐌"]
    converted = load_tokenizer(_roberta(tmp_path, "right"))
    ours, theirs = ([ids.tolist() for ids in encode(t, texts, 16)] for t in (converted, made))
    assert ours == theirs
    assert ours[0][0] == 0 and ours[0][-1] == 2
    pair = converted.encode("good film", "where")
    assert pair.tokens.count("</s>") == 3 and set(pair.type_ids) == {0}
    assert [number for number in pair.sequence_ids if number is not None][-1] == 1


def test_case_is_kept_where_the_configuration_says_so(tmp_path: Path) -> None:
    _write_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    (ids,) = encode(load_tokenizer(tmp_path), ["Good film"], 16)
    assert [toys.VOCABULARY[index] for index in ids] == ["[CLS]", "[UNK]", "film", "[SEP]"]


def test_truncation_keeps_the_special_tokens(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    (whole,) = encode(tokenizer, ["good " * 30], 512)
    (cut,) = encode(tokenizer, ["good " * 30], 8)
    assert (len(whole), len(cut)) == (32, 8)
    assert [toys.VOCABULARY[index] for index in cut[[0, 1, -1]]] == ["[CLS]", "good", "[SEP]"]
    # Neither setting stays behind: the tokeniser goes into the bundle.
    assert tokenizer.truncation is None
    assert tokenizer.padding is None


def test_settings_of_the_file_are_dropped(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    (long, short) = encode(load_tokenizer(folder), ["good " * 30, "good"], 99)
    assert (len(long), len(short)) == (32, 3)


def test_vocabulary_is_in_order_of_ids(folder: Path) -> None:
    assert vocabulary(load_tokenizer(folder)) == list(toys.VOCABULARY)


BAD = {
    "nothing": {},
    "an empty file": {"tokenizer.json": b""},
    "not JSON": {"tokenizer.json": b"{"},
    "not UTF-8": {"tokenizer.json": b"\xff\xfe"},
    "no model in it": {"tokenizer.json": b"{}"},
    "cut short": {"tokenizer.json": toys.tokenizer_json()[:-99]},
    "settings without words": {
        "config.json": b'{"model_type": "bert"}',
        "tokenizer_config.json": b'{"tokenizer_class": "BertTokenizer"}',
    },
    "words without settings": {"vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\n"},
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_tokeniser(tmp_path: Path, kind: str) -> None:
    for name, content in BAD[kind].items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} has no usable tokeniser (")
    assert message.endswith("with tokenizer_config.json")
    assert "\n" not in message


@pytest.mark.parametrize("unknown", ["", {}, {"a": 1}])
def test_an_unknown_token_that_is_none(tmp_path: Path, unknown: object) -> None:
    """transformers then asks for its number without an end."""
    toy_folders.write_folder(tmp_path / "c", small=True)
    (tmp_path / "c/special_tokens_map.json").write_text(json.dumps({"unk_token": unknown}))
    with pytest.raises(CheckpointError, match="no usable tokeniser"):
        load_tokenizer(tmp_path / "c")


def test_keys_that_tokenizers_does_not_know(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It prints their names, control characters too, among the results of a command."""
    toy_folders.write_folder(tmp_path / "c", small=True)
    padding = {"content": "[PAD]", "\x1b]0;x\x07": 1}
    (tmp_path / "c/special_tokens_map.json").write_text(json.dumps({"pad_token": padding}))
    load_tokenizer(tmp_path / "c")
    assert capfd.readouterr().out == ""


def test_tokeniser_of_a_larger_model(folder: Path) -> None:
    count = len(toys.VOCABULARY)
    assert load_tokenizer(folder, vocab_size=count).get_vocab_size() == count
    assert load_tokenizer(folder, vocab_size=count + 8).get_vocab_size() == count
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(folder, vocab_size=count - 1)
    assert f"a tokeniser of {count} tokens, but word embeddings for {count - 1}" in str(
        caught.value
    )


def test_ids_that_no_token_has_leave_gaps(folder: Path) -> None:
    """Line n of vocab.txt must stay token n."""
    content = json.loads(toys.tokenizer_json())
    content["model"]["vocab"]["good"] = len(toys.VOCABULARY) + 1
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokens = vocabulary(load_tokenizer(folder))
    assert tokens[toys.VOCABULARY.index("good")] == ""
    assert tokens[-2:] == ["", "good"]
    assert tokens[toys.VOCABULARY.index("film")] == "film"


NASTY = {
    "plain": "A fine film.",
    "accents": "Caf\u00e9 na\u00efve \u00fcber e\u0301tude \u0130stanbul stra\u00dfe",
    "emoji": "\U0001f600 good \U0001f469\u200d\U0001f469\u200d\U0001f467 film \U0001f1e9\U0001f1ea",
    "CJK": "\u8fd9\u90e8\u7535\u5f71\u5f88\u597d \u826f\u3044\u6620\u753b \uc88b\uc740 \uc601\ud654",
    "right to left": "\u0641\u064a\u0644\u0645 \u05e1\u05e8\u05d8 good",
    "blanks": " \t good\u00a0film \u2003 \n\r ",
    "controls": "good\x00film\x07\ufffd\u200b\ufeff",
    "tokens": "[CLS] good [SEP] film [PAD] [MASK] <s> </s> <pad>",
    "long word": "a" * 500,
    "long": "good film, " * 90,
    "very long": "a good film " * 4000,
    "very long word": "good " + "x" * 9000,
    "blanks before": " " * 9000 + "good",
}
EMPTY = {"empty": "", "blank": " \n ", "dropped": "\u200b"}


@pytest.fixture(scope="module", params=["tinybert", "toy", "byte level"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "tinybert":
        return load_tokenizer(Path(__file__).parents[2] / "saved_models" / "tinybert")
    if request.param == "toy":
        return Tokenizer.from_str(toys.tokenizer_json().decode())
    return byte_level.tokenizer()


def test_host_and_board_make_the_same_inputs(tokenizer: Tokenizer) -> None:
    """Ids, where they are cut, token types, dtypes and padding, of one text and of many at once."""
    content = tokenizer.to_str().encode()
    names = ("input_ids", "attention_mask", "token_type_ids")
    for length in (8, 64):
        reader = TextReader(tokenizer)
        samples = reader.samples([*NASTY.values(), *EMPTY.values()], length)
        host = reader.inputs(samples, length, names)
        board = TextEncoder(content, length)
        for row, (kind, text) in enumerate(NASTY.items()):
            arrays = board.encode(text).arrays(length)
            for name in names:
                assert arrays[name].dtype == host[name].dtype == np.int32
                assert arrays[name].tolist() == host[name][row : row + 1].tolist(), (kind, name)
        for sample in samples[len(NASTY) :]:
            assert 2 <= len(sample) <= length


def test_host_and_board_make_the_same_pairs(tokenizer: Tokenizer) -> None:
    content = tokenizer.to_str().encode()
    pairs = [(first, second) for first in ("who ?", "caf\u00e9") for second in NASTY.values()]
    samples = text_encoder(tokenizer, 24, pairs=True).encode_batch(pairs)
    board = TextEncoder(content, 24, pairs=True)
    for pair, sample in zip(pairs, samples, strict=True):
        assert (sample.dtype, sample.shape) == (np.int32, (len(sample), 2))
        arrays = board.encode(*pair).arrays(24)
        made = pad([sample], 24, tuple(arrays), board.pad_id)
        assert {name: row.tolist() for name, row in arrays.items()} == {
            name: row.tolist() for name, row in made.items()
        }
    with pytest.raises(TextError, match="leaves no room"):
        text_encoder(tokenizer, 24, pairs=True).encode_batch([("who " * 40, "good")])


def test_training_pads_as_a_board(tokenizer: Tokenizer) -> None:
    texts = Texts(["good", "a good film"], None, "x")
    examples = tokenize(TASK.rows(texts), TASK, tokenizer, None, 16)
    batch = examples.inputs(np.arange(2), ("input_ids", "attention_mask"), 16)
    board = TextEncoder(tokenizer.to_str().encode(), 16)
    length = batch["input_ids"].shape[1]
    for row, text in enumerate(texts.texts):
        arrays = board.encode(text).arrays(length)
        assert all(batch[name][row].tolist() == arrays[name][0].tolist() for name in batch)


def test_a_text_with_padding_is_refused_where_it_moves_other_tokens(tmp_path: Path) -> None:
    """RoBERTa of transformers numbers no padding, wherever it stands; BERT goes by the mask."""
    _roberta(tmp_path, "right")
    for kind, pad_id, refuses in (("roberta", 1, True), ("roberta", 2, True), ("bert", 0, False)):
        config = parse_config({**cases.CONFIGS[kind], "vocab_size": 320, "pad_token_id": pad_id})
        reader = open_reader(tmp_path, config, tasks.find("text-classification"))
        board = TextEncoder(reader.encoding()["tokenizer_json"], 32)
        if not refuses:
            assert "<pad>" in board.encode("good <pad> film").tokens
            continue
        assert board.pad_id == pad_id
        with pytest.raises(TextError, match=r"the token '<(pad|/s)>' in it, which is padding"):
            board.encode("good <pad> film")
        if pad_id == 1:
            assert board.encode("good film").ids[0] == 0
        else:  # that of another token, which ends all texts
            with pytest.raises(
                InputError, match="no text of x can be answered: there is the token"
            ):
                reader.check(["good film"], "x", 32)


def test_types_that_the_model_gets_none_of_are_zero(tmp_path: Path) -> None:
    """transformers feeds a model what `model_input_names` says; without types they all are 0."""
    names = ["input_ids", "attention_mask"]
    for settings, types in (({}, [0, 0, 0, 1, 1]), ({"model_input_names": names}, [0] * 5)):
        folder = _bert(tmp_path, **settings)
        found = load_tokenizer(folder).encode("film", "study")
        assert found.tokens == ["[CLS]", "film", "[SEP]", "study", "[SEP]"]
        assert found.type_ids == types
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    found = load_tokenizer(folder)
    assert found.encode("film").tokens == ["[CLS]", "film", "[SEP]"]
    assert found.encode("film", "study").tokens == ["[CLS]", "film", "[SEP]", "study", "[SEP]"]
    assert found.encode("film", "study").type_ids == [0] * 5
    tokenizer.post_processor = processors.Sequence([tokenizer.post_processor])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"token types \(Sequence\), which model_input_names"):
        load_tokenizer(folder)


@pytest.mark.parametrize("number", [10**9, 2**32 - 1])
def test_ids_beyond_the_table_are_refused_by_number(tmp_path: Path, number: int) -> None:
    """Not by a list of so many tokens, which would take gigabytes."""
    content = json.loads(toys.tokenizer_json())
    content["model"]["vocab"]["far"] = number
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=f"a tokeniser of {number + 1} tokens"):
        load_tokenizer(tmp_path, 100)


def test_a_tokeniser_without_padding_is_refused(tmp_path: Path) -> None:
    content = toys.tokenizer_json().replace(b"[PAD]", b"[BAD]")
    with pytest.raises(CheckpointError, match="no padding token"):
        encode(Tokenizer.from_str(content.decode()), ["good"], 8)


# Of BERT's vocabulary a few words in their places, and what a user puts into the unused ones.
_PLACES = {0: "[PAD]", 1: "Berlin", 2: "café", 3: "The", 4: "日本", 100: "[UNK]", 101: "[CLS]"}
_PLACES |= {102: "[SEP]", 103: "[MASK]", 1037: "a", 1996: "the", 1997: "of", 1999: "in"}
_PLACES |= {2143: "film", 2817: "study", 4068: "berlin", 7668: "cafe"}
_CAFE = "The café in Berlin"


def _bert(folder: Path, **settings: object) -> Path:
    """A folder as transformers writes BERT's, with `settings` in its tokenizer_config.json."""
    words = {_PLACES.get(index, f"[unused{index}]"): index for index in range(30522)}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 101), ("[SEP]", 102)]
    made.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends
    )
    made.add_special_tokens([_PLACES[index] for index in (0, 100, 101, 102, 103)])
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    settings = {"tokenizer_class": "BertTokenizer", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _roberta(folder: Path, side: str) -> Path:
    """A folder of byte-level BPE, as transformers writes RoBERTa's."""
    made = byte_level.tokenizer()
    made.model.save(str(folder))
    (folder / "config.json").write_text('{"model_type": "roberta"}')
    special = dict(zip(("bos", "pad", "eos", "unk", "mask"), byte_level.SPECIAL, strict=True))
    settings = {f"{name}_token": token for name, token in special.items()}
    settings |= {"cls_token": "<s>", "sep_token": "</s>", "tokenizer_class": "RobertaTokenizer"}
    settings |= {"truncation_side": side}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _ids(folder: Path, text: str, length: int = 64, is_embedding: bool = False) -> list[int]:
    (ids,) = encode(load_tokenizer(folder, 30524, is_embedding), [text], length)
    found: list[int] = ids.tolist()
    return found


def test_settings_change_what_tokenizer_json_says(tmp_path: Path) -> None:
    assert _ids(_bert(tmp_path), _CAFE) == [101, 1996, 7668, 1999, 4068, 102]
    assert _ids(_bert(tmp_path, do_lower_case=False), _CAFE) == [101, 3, 2, 1999, 1, 102]
    accents = _bert(tmp_path, strip_accents=False)
    assert _ids(accents, _CAFE) == [101, 1996, 2, 1999, 4068, 102]
    assert _ids(_bert(tmp_path), "日本") == [101, 100, 100, 102]
    assert _ids(_bert(tmp_path, tokenize_chinese_chars=False), "日本") == [101, 4, 102]


def test_the_unknown_token_is_special_where_transformers_knows_it(tmp_path: Path) -> None:
    """It tells words apart by it: `PreTrainedTokenizerFast` knows the one that its settings name."""
    named: dict[str, str] = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    for settings, expected in (({}, 100), (named, 100)):
        made = text_encoder(load_tokenizer(_bert(tmp_path, **settings)), 16)
        assert made.encode("東京 film").unknown_id == expected
    general = "PreTrainedTokenizerFast"
    nameless = load_tokenizer(_bert(tmp_path, tokenizer_class=general))
    named_by_settings = load_tokenizer(_bert(tmp_path, tokenizer_class=general, **named))
    encoded = [text_encoder(made, 16).encode("東 [UNK]") for made in (nameless, named_by_settings)]
    assert [one.unknown_id for one in encoded] == [None, 100]
    assert encoded[0].ids == encoded[1].ids == [101, 100, 100, 102]


def test_tokens_beside_tokenizer_json(tmp_path: Path) -> None:
    expected = [101, 1037, 30523, 2817, 1997, 30522, 2143, 102]
    text = "a covid19 study of <gene> film"
    old = _bert(tmp_path / "old")
    (old / "added_tokens.json").write_text('{"<gene>": 30522, "covid19": 30523}')
    assert _ids(old, text) == expected
    plain = {"special": False, "lstrip": False, "rstrip": False, "single_word": False}
    decoder = {
        "30522": {"content": "<gene>", "normalized": False, **plain},
        "30523": {"content": "covid19", "normalized": True, **plain},
    }
    new = _bert(tmp_path / "new", added_tokens_decoder=decoder)
    assert _ids(new, text) == expected
    with pytest.raises(CheckpointError, match=r"30524 tokens, but word embeddings for 30522"):
        load_tokenizer(new, 30522)


def test_the_end_of_a_text_is_kept_where_the_settings_say_so(tmp_path: Path) -> None:
    text = "the study of a film in the cafe"
    folder = _bert(tmp_path)
    assert _ids(folder, text, 5) == [101, 1996, 2817, 1997, 102]
    cut = _bert(tmp_path, truncation_side="left")
    assert _ids(cut, text, 5) == [101, 1999, 1996, 7668, 102]
    very_long = "film " * 1000 + text
    assert _ids(cut, very_long, 5) == [101, 1999, 1996, 7668, 102]
    # It goes with the tokeniser into the bundle.
    board = TextEncoder(load_tokenizer(cut).to_str().encode(), 5)
    assert board.encode(text).tokens == ["[CLS]", "in", "the", "cafe", "[SEP]"]
    assert (board.kept, board.encode(text).truncated) == ("end", True)
    assert board.encode(text).offsets[1] == (text.index("in the"), text.index("in the") + 2)


def test_the_side_of_tokenizer_json_is_what_transformers_makes_of_it(tmp_path: Path) -> None:
    folder = _bert(tmp_path)
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.enable_truncation(16, direction="left")
    made.save(str(folder / "tokenizer.json"))
    from transformers import AutoTokenizer

    whole = AutoTokenizer.from_pretrained(str(folder))
    expected = whole("the study of a film", truncation=True, max_length=4)["input_ids"]
    assert _ids(folder, "the study of a film", 4) == expected


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_small_letters_of_sentence_transformers(tmp_path: Path, name: str) -> None:
    folder = _bert(tmp_path, do_lower_case=False)
    (folder / name).write_text('{"max_seq_length": 64, "do_lower_case": true}')
    assert _ids(folder, _CAFE, is_embedding=True) == [101, 1996, 2, 1999, 4068, 102]
    assert _ids(folder, _CAFE) == [101, 3, 2, 1999, 1, 102]
    (folder / name).write_text('{"do_lower_case": "yes"}')
    with pytest.raises(CheckpointError, match="do_lower_case is 'yes'; it must be true or false"):
        load_tokenizer(folder, is_embedding=True)


def test_what_transformers_does_besides_is_refused(tmp_path: Path) -> None:
    folder = _bert(tmp_path, split_special_tokens=True)
    with pytest.raises(CheckpointError, match=r"cannot be carried to a board: of .*\[MASK\]"):
        load_tokenizer(folder)


# Short, long, and two of which the second has more tokens by two, of more characters than a limit of 8
# looks at first. The limits leave an odd and an even room, none for one
# text, and none for both.
_PARTS = ("good film", "a", "the naïve café 日本", "film " * 9, "a good film " * 50, "a film " * 76)
_LIMITS = (3, 4, 5, 7, 8, 13, 512)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["wordpiece", "byte level"])
def test_pairs_are_those_of_transformers(tmp_path: Path, kind: str, side: str) -> None:
    """Ids and token types, of pairs and of texts among them."""
    from transformers import AutoTokenizer

    folder = (
        _bert(tmp_path, truncation_side=side) if kind == "wordpiece" else _roberta(tmp_path, side)
    )
    whole = AutoTokenizer.from_pretrained(str(folder))
    tokenizer = load_tokenizer(folder)
    special = tokenizer.num_special_tokens_to_add(True)
    pairs = list(itertools.product(_PARTS, _PARTS))
    for length in (limit for limit in _LIMITS if limit >= special):
        samples = encode(tokenizer, [*pairs, *_PARTS], length)
        for pair, sample in zip(pairs, samples[: len(pairs)], strict=True):
            theirs = whole(*pair, truncation=True, max_length=length, return_token_type_ids=True)
            assert sample.dtype == np.int32
            assert sample[:, 0].tolist() == theirs["input_ids"], (pair, length)
            assert sample[:, 1].tolist() == theirs["token_type_ids"], (pair, length)
        for text, sample in zip(_PARTS, samples[len(pairs) :], strict=True):
            assert sample.tolist() == whole(text, truncation=True, max_length=length)["input_ids"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_premises_are_cut_as_transformers_cuts_them(tmp_path: Path, side: str) -> None:
    from transformers import AutoTokenizer

    folder = _bert(tmp_path, truncation_side=side)
    whole = AutoTokenizer.from_pretrained(str(folder))
    tokenizer = load_tokenizer(folder)
    boards = {length: text_encoder(tokenizer, length) for length in (6, 7, 13)}
    pairs = itertools.product(_PARTS, _PARTS[:3])
    for pair, (length, board) in itertools.product(pairs, boards.items()):
        try:
            theirs = whole(*pair, truncation="only_first", max_length=length)
        except Exception as error:  # of tokenizers, a bare one
            assert "too short" in str(error)
            with pytest.raises(TextError, match=f"no room for .*: {length} tokens are all"):
                board.encode(*pair, ONLY_FIRST)
            continue
        ours = board.encode(*pair, ONLY_FIRST)
        assert (ours.ids, ours.type_ids) == (theirs["input_ids"], theirs["token_type_ids"])
