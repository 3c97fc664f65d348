"""Draws a checkpoint of a seed: architecture, task, tokeniser, and the flags of all of its files.

    python tests/differential/drawn.py SEED FOLDER     writes the checkpoint of one seed

The same seed gives the same files on every machine. What is drawn is what transformers and
sentence-transformers read, so that none of it may change an answer in silence.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "models")]

import cases
import drawn_texts
import drawn_tokenizers
import ml_dtypes
import numpy as np
from drawn_tokenizers import ALBERT_ROLES, BERT_ROLES, MPNET_ROLES, ROBERTA_ROLES, UNUSED
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer

Json = dict[str, Any]

POSITIONS = 140  # more than the 128 tokens at which tfedge cuts where nothing says where
LENGTHS = (16, 24, 48, None)
# How the tokens of a task are labelled.
_SCHEMES = (
    ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
    ("B-X", "I-X", "O"),
    ("O", "PER", "LOC"),
    ("LABEL_0", "LABEL_1", "LABEL_2"),
    ("O", "B-PER", "I-PER", "E-PER", "S-PER"),
    ("I-MISC", "B-MISC", "O", "b-odd"),
)
_NAMES = (
    ("negative", "positive"),
    ("1", "2", "3", "4", "5"),
    ("very good", "so so", " bad "),
    ("café", "日本", "🐌"),
    ("LABEL_0", "LABEL_1", "LABEL_2"),
    ("0", "1"),
    ("True", "False"),
)
_ACTIVATIONS = (
    *("gelu", "gelu", "gelu", "gelu_new", "gelu_python", "gelu_fast", "gelu_pytorch_tanh"),
    *("relu", "silu", "swish", "quick_gelu"),
)
_TASKS = {
    "classes": "text-classification",
    "several": "text-classification",
    "numbers": "text-classification",
    "score": "text-classification",
    "tokens": "token-classification",
    "spans": "question-answering",
    "embedding": "sentence-embedding",
}
_SHARES = {"classes": 4, "several": 2, "numbers": 2, "score": 2, "tokens": 4, "spans": 3}
_SHARES |= {"embedding": 6}
_KINDS = {
    "bert": ("wordpiece", "wordpiece", "wordpiece", "unigram", "byte level"),
    "distilbert": ("wordpiece",),
    "mobilebert": ("wordpiece",),
    "mpnet": ("wordpiece",),
    "roberta": ("byte level", "byte level", "unigram"),
}
# Those that came later have seeds by a stream of their own: all others draw what they drew before.
_LATER = {
    "albert": ("albert",),
    "camembert": ("unigram",),
    "electra": ("wordpiece",),
    "xlm-roberta": ("unigram",),
}
# One type of tokens, and positions from behind the padding's on.
_ROBERTAS = ("roberta", "camembert", "xlm-roberta")
# Classes of tokenisers by what they are made for; None leaves it to transformers.
_CLASSES = {
    ("bert", "wordpiece"): ("BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", None),
    ("distilbert", "wordpiece"): ("DistilBertTokenizer", "DistilBertTokenizerFast", None),
    ("mobilebert", "wordpiece"): ("MobileBertTokenizer", "MobileBertTokenizerFast", None),
    ("mpnet", "wordpiece"): ("MPNetTokenizer", "MPNetTokenizerFast", None),
    ("roberta", "byte level"): ("RobertaTokenizer", "RobertaTokenizerFast", None),
    ("bert", "byte level"): ("PreTrainedTokenizerFast", "RobertaTokenizerFast"),
    ("bert", "unigram"): ("PreTrainedTokenizerFast", "XLMRobertaTokenizerFast"),
    ("roberta", "unigram"): ("PreTrainedTokenizerFast", "XLMRobertaTokenizer"),
    ("albert", "albert"): ("AlbertTokenizer", "AlbertTokenizerFast", None),
    ("camembert", "unigram"): ("PreTrainedTokenizerFast", "XLMRobertaTokenizerFast"),
    ("camembert", "byte level"): ("RobertaTokenizer", "RobertaTokenizerFast"),
    ("electra", "wordpiece"): ("ElectraTokenizer", "ElectraTokenizerFast", None),
    ("xlm-roberta", "unigram"): ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast", None),
    ("xlm-roberta", "byte level"): ("RobertaTokenizer", "RobertaTokenizerFast"),
}
_ADDED = ("<gene>", "covid19", "[ENT]", "@user", "New York", "Straße", "film")


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One combination.

    Attributes:
        head: one of `_TASKS`, what the checkpoint is for.
        length: tokens at which texts are cut; None leaves it to the files.
        files: content of JSON files by name.
        flags: what is out of the ordinary, in words, for people.
        items: what is asked, texts or pairs (question, context).
    """

    seed: int
    head: str
    length: int | None
    tokenizer: Tokenizer
    files: dict[str, Json | list[Json]]
    flags: dict[str, Any]
    items: list[Any]

    @property
    def task(self) -> str:
        """As `cases` calls it."""
        return _TASKS[self.head]

    def __str__(self) -> str:
        flags = ", ".join(f"{name}: {json.dumps(v)}" for name, v in self.flags.items())
        return f"seed {self.seed}: {flags}"

    def write(self, folder: Path) -> None:
        """Writes the checkpoint, the items as `items.json`, and what to do with it as `job.json`."""
        folder.mkdir(parents=True)
        encoder = folder / self.flags.get("encoder in", "")
        encoder.mkdir(exist_ok=True)
        self._write_weights(encoder)
        whole = self.flags["files"] != "vocabulary alone"
        vocabulary = self.flags["files"] != "tokenizer.json alone"
        drawn_tokenizers.save(self.tokenizer, encoder, whole, vocabulary)
        for name, content in self.files.items():
            place = folder if name.startswith(("modules", "config_sent", "1_", "2_")) else encoder
            path = place / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        job = {"task": self.task, "head": self.head, "length": self.length, "items": self.items}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")

    def _write_weights(self, folder: Path) -> None:
        config = self.files["config.json"]
        assert isinstance(config, dict)
        count = self.flags["labels"]
        shapes = cases.tensor_shapes(config, self.task, count)
        if self.flags.get("without pooler"):
            shapes = {name: shape for name, shape in shapes.items() if "pooler" not in name}
        kind = self.flags.get("weights")
        dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}.get(kind, np.float32)
        tensors = {
            name: cases.random_tensor(name, shape, self.seed).astype(dtype)
            for name, shape in shapes.items()
        }
        if kind == "old names":
            tensors = {
                name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                    "LayerNorm.bias", "LayerNorm.beta"
                ): value
                for name, value in tensors.items()
            }
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def draw(seed: int) -> Drawn:
    """The combination of a seed."""
    return _Draw(seed).result()


class _Draw:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.flags: Json = {}
        self.files: dict[str, Any] = {}

    def maybe(self, share: float) -> bool:
        return self.random.random() < share

    def flag(self, name: str, share: float, *values: Any) -> Any:
        """One of `values` with a chance of `share`, noted in the flags, else None."""
        chosen = self.random.choice(values)
        if self.maybe(share):
            self.flags[name] = chosen
            return chosen
        return None

    def setting(self, settings: Json, name: str, share: float, *values: Any) -> None:
        """Perhaps one of `values` in the content of a file."""
        chosen = self.random.choice(values)
        if self.maybe(share):
            self.flags[name] = settings[name] = chosen

    def result(self) -> Drawn:
        chosen = self.random
        self.architecture = chosen.choice(sorted(_KINDS))
        later = random.Random(f"architecture of {self.seed}")
        if later.random() < len(_LATER) / (len(_LATER) + len(_KINDS)):
            self.architecture = later.choice(sorted(_LATER))
        self.flags["architecture"] = self.architecture
        self.flags["tokeniser"] = self.kind = chosen.choice((_KINDS | _LATER)[self.architecture])
        (self.head,) = chosen.choices(list(_SHARES), [*_SHARES.values()])
        if self.head == "spans" and self.kind == "unigram":
            # Where a template has no types, `tokenizers` gives those of the second text to all windows
            # of a context but the first, whatever the model has learnt.
            self.flags["tokeniser"] = self.kind = {"bert": "wordpiece"}.get(
                self.architecture, "byte level"
            )
        self.flags["head"] = self.head
        tokenizer = self._tokenizer()
        # A window must have room for a question.
        lengths = {"embedding": (None,), "spans": (48, 64)}.get(self.head, LENGTHS)
        length = chosen.choice(lengths)
        self.flags["length"] = length
        self._config(tokenizer)
        if self.head == "embedding":
            self._modules()
        # Of the second text's type transformers fails where there is but one.
        config = self.files["config.json"]
        reads_pairs = self.architecture in _ROBERTAS or config.get("type_vocab_size") != 1
        items = drawn_texts.draw(chosen, self.head, self._special_texts(), reads_pairs)
        return Drawn(self.seed, self.head, length, tokenizer, self.files, self.flags, items)

    # The tokeniser.

    def _tokenizer(self) -> Tokenizer:
        made = {
            "wordpiece": self._wordpiece,
            "byte level": self._byte_level,
            "albert": self._albert,
        }.get(self.kind, self._unigram)()
        can_do_without = self.kind not in ("unigram", "albert")
        self.flags["files"] = self.random.choice(
            ("tokenizer.json alone", "all", *["vocabulary alone"] * can_do_without)
        )
        classes = _CLASSES[self.architecture, self.kind]
        if self.flags["files"] == "vocabulary alone":
            classes = tuple(name for name in classes if name != "PreTrainedTokenizerFast")
        name = self.random.choice(classes)
        settings = self.files["tokenizer_config.json"] = {}
        self.flags["class"] = name
        if name is not None:
            settings["tokenizer_class"] = name
        self._settings(settings)
        self._roles(settings)
        self.added = self._added_tokens(made, settings)
        self._padding_and_truncation(made)
        if not settings and self.maybe(0.5):
            del self.files["tokenizer_config.json"]
        return made

    def _wordpiece(self) -> Tokenizer:
        self.roles = dict(MPNET_ROLES if self.architecture == "mpnet" else BERT_ROLES)
        self.cased = self.flag("cased", 0.4, True) is not None
        options: Json = {}
        if self.maybe(0.3):
            options["strip_accents"] = self.random.choice((True, False))
        if self.maybe(0.2):
            options["handle_chinese_chars"] = False
        if options:
            self.flags["normaliser"] = options
        return drawn_tokenizers.wordpiece(self.roles, self.cased, **options)

    def _byte_level(self) -> Tokenizer:
        self.roles = dict(ROBERTA_ROLES)
        space = self.flag("prefix space in tokenizer.json", 0.3, True) is not None
        trim = self.flag("untrimmed offsets", 0.2, True) is None
        return drawn_tokenizers.byte_level(space, trim)

    def _unigram(self) -> Tokenizer:
        self.roles = dict(ROBERTA_ROLES)
        scheme = self.flag("prepend_scheme", 0.3, "first", "never") or "always"
        return drawn_tokenizers.unigram(scheme)

    def _albert(self) -> Tokenizer:
        self.roles = dict(ALBERT_ROLES)
        self.lower = self.flag("cased", 0.3, True) is None
        self.accents = self.flag("accents", 0.3, True) is not None
        return drawn_tokenizers.albert(self.lower, self.accents)

    def _settings(self, settings: Json) -> None:
        add = self.setting
        if self.kind == "wordpiece":
            # As a cased vocabulary has it; and where it says otherwise.
            if self.cased and self.maybe(0.8):
                settings["do_lower_case"] = False
            add(settings, "do_lower_case", 0.3, True, False)
            add(settings, "strip_accents", 0.25, True, False, None)
            add(settings, "tokenize_chinese_chars", 0.25, True, False)
            add(settings, "do_basic_tokenize", 0.1, True)
            add(settings, "never_split", 0.1, None)
        if self.kind == "byte level":
            add(settings, "add_prefix_space", 0.4, True, False)
            add(settings, "trim_offsets", 0.2, True, False)
            add(settings, "errors", 0.2, "replace")
        if self.kind == "albert":
            # The class makes the normaliser anew by what these say, whatever tokenizer.json has.
            if not self.lower or self.maybe(0.5):
                settings["do_lower_case"] = self.lower
            if self.accents or self.maybe(0.5):
                settings["keep_accents"] = self.accents
        add(settings, "truncation_side", 0.25, "left", "right")
        # Of contexts before questions, as padding on the left has them, transformers' pipeline finds
        # answers that end before they begin.
        add(settings, "padding_side", 0.2, *["left"] * (self.head != "spans"), "right")
        add(settings, "model_max_length", 0.6, 12, 32, 128, 512, 10**30)
        add(settings, "clean_up_tokenization_spaces", 0.2, True, False)
        add(settings, "model_input_names", 0.15, ["input_ids", "attention_mask"])
        add(settings, "max_length", 0.1, 20, 128)
        add(settings, "stride", 0.1, 0)
        add(settings, "truncation_strategy", 0.1, "longest_first")
        add(settings, "pad_to_multiple_of", 0.1, None, 8)
        add(settings, "split_special_tokens", 0.03, False)

    def _roles(self, settings: Json) -> None:
        """The special tokens, in one of the two files, in both or in none, as strings or in full."""
        renamed = self.flag("renamed", 0.08, *(role for role in self.roles if role != "pad_token"))
        if renamed is not None and self.kind == "wordpiece":
            self.roles[renamed] = UNUSED[2]
        full = self.flag("tokens in full", 0.3, True)
        where = self.random.choice(("settings", "map", "both", "none"))
        self.flags["special tokens"] = where
        # sentence-transformers asks a tokeniser for its padding.
        if where == "none" and (renamed is not None or self.head == "embedding"):
            where = "both"
        named: Json = {role: self._in_full(t) if full else t for role, t in self.roles.items()}
        if where in ("settings", "both"):
            settings.update(named)
        if where in ("map", "both"):
            plain = {role: _without_type(token) for role, token in named.items()}
            self.files["special_tokens_map.json"] = plain

    def _in_full(self, token: str) -> Json:
        plain = {"lstrip": token == "<mask>", "normalized": False, "rstrip": False}
        return {"__type": "AddedToken", "content": token, **plain, "single_word": False}

    def _added_tokens(self, made: Tokenizer, settings: Json) -> list[str]:
        tokens = self.random.sample(_ADDED, self.random.choice((0, 0, 1, 2, 3)))
        if not tokens:
            return []
        places = ["added_tokens.json", "added_tokens_decoder"]
        if self.flags["files"] != "vocabulary alone":
            places += ["tokenizer.json", "both"]
        place = self.random.choice(places)
        self.flags["added tokens"] = place
        options: dict[str, Json] = {}
        for token in tokens:
            names = ("lstrip", "rstrip", "single_word", "normalized", "special")
            options[token] = {name: self.maybe(0.25) for name in names}
            self.flags[token] = [name for name in names if options[token][name]]
        ids = self._numbered(made, tokens)
        if place in ("tokenizer.json", "both"):
            for token in tokens:
                made.add_tokens([AddedToken(token, **options[token])])
        if place in ("added_tokens_decoder", "both"):
            settings["added_tokens_decoder"] = self._decoder(made, options, ids)
        if place == "added_tokens.json":
            self.files["added_tokens.json"] = ids
        return tokens

    def _numbered(self, made: Tokenizer, tokens: list[str]) -> dict[str, int]:
        new = [token for token in tokens if made.token_to_id(token) is None]
        count = made.get_vocab_size()
        return {
            token: count + new.index(token) if token in new else made.token_to_id(token)
            for token in tokens
        }

    def _decoder(
        self, made: Tokenizer, options: Mapping[str, Json], ids: Mapping[str, int]
    ) -> Json:
        content = {}
        for token in dict.fromkeys(self.roles.values()):
            entry = {**_without_type(self._in_full(token)), "special": True}
            content[str(made.token_to_id(token))] = entry
        for token, chosen in options.items():
            content[str(ids[token])] = {"content": token, **chosen}
        return content

    def _padding_and_truncation(self, made: Tokenizer) -> None:
        if self.flag("truncation in tokenizer.json", 0.2, True):
            made.enable_truncation(20, direction=self.random.choice(("left", "right")))
        if self.flag("padding in tokenizer.json", 0.2, True):
            direction = self.random.choice(("left", "right"))
            pad = self.roles["pad_token"]
            made.enable_padding(
                direction=direction, pad_id=made.token_to_id(pad), pad_token=pad, length=24
            )

    def _special_texts(self) -> list[str]:
        return [*dict.fromkeys(self.roles.values()), *self.added]

    # The model.

    def _config(self, tokenizer: Tokenizer) -> None:
        names = [name for name in cases.CONFIGS if name.startswith(self.architecture)]
        names = [name for name in names if name != "tinybert"]
        config: Json = dict(cases.CONFIGS[self.random.choice(names)])
        layers = "n_layers" if "n_layers" in config else "num_hidden_layers"
        config[layers] = self.random.choice((1, 1, 2))
        added = len(self.added) + self.random.choice((0, 0, 5))
        config["vocab_size"] = tokenizer.get_vocab_size() + added
        config["max_position_embeddings"] = POSITIONS
        self._odds(config)
        labels = self._labels(config)
        self.flags["labels"] = len(labels)
        config["architectures"] = [
            cases.CLASS_PREFIXES[self.architecture] + cases.CLASS_SUFFIXES[_TASKS[self.head]]
        ]
        self.flag("weights", 0.2, "float16", "bfloat16", "old names")
        if self.architecture == "distilbert" and self.flags.get("weights") == "old names":
            del self.flags["weights"]
        self.files["config.json"] = config

    def _odds(self, config: Json) -> None:
        """Numbers and functions of the encoder, and what a head takes from the configuration."""
        act = "activation" if self.architecture == "distilbert" else "hidden_act"
        if self.architecture != "mobilebert":
            self.setting(config, act, 0.5, *_ACTIVATIONS)
        self.setting(config, "layer_norm_eps", 0.15, 1e-5, 1e-3)
        if self.architecture == "distilbert":
            config.pop("layer_norm_eps", None)
            self.setting(config, "sinusoidal_pos_embds", 0.2, True, False)
            self.setting(config, "seq_classif_dropout", 0.2, 0.2)
        else:
            self.setting(config, "classifier_dropout", 0.2, None, 0.3)
        if self.architecture == "albert":
            passes = config["num_hidden_layers"]
            config["num_hidden_groups"] = self.random.choice(range(1, passes + 1))
            # Of a group of more layers than passes go through it transformers 4 fails.
            most = passes // config["num_hidden_groups"]
            config["inner_group_num"] = min(config["inner_group_num"], most)
        if self.architecture in ("bert", *_ROBERTAS):
            # Of the second text's type transformers fails where there is but one.
            types = (1, 2) if self.head != "spans" else (2,)
            self.setting(config, "type_vocab_size", 0.3, *types)
            self.setting(config, "position_embedding_type", 0.2, "absolute")
            self.setting(config, "use_cache", 0.2, True)
        if self.architecture == "bert":
            self.setting(config, "pad_token_id", 0.2, 0, 1)
            self.setting(config, "chunk_size_feed_forward", 0.1, 0)
        self.setting(config, "torch_dtype", 0.2, "float32")
        self.setting(config, "output_hidden_states", 0.05, True)
        self.setting(config, "output_attentions", 0.05, True)

    def _labels(self, config: Json) -> list[str]:
        choose = self.random.choice
        if self.head in ("spans", "embedding"):
            return ["LABEL_0", "LABEL_1"]
        names = {
            "tokens": lambda: list(choose(_SCHEMES)),
            "score": lambda: [choose(("LABEL_0", "similar", "score"))],
            "numbers": lambda: choose((["LABEL_0"], ["stars"], ["x", "y", "z"])),
        }.get(self.head, lambda: list(choose(_NAMES)))()
        if self.head == "several":
            config["problem_type"] = "multi_label_classification"
        elif self.head == "numbers":
            config["problem_type"] = "regression"
        elif self.head == "classes":
            self.setting(config, "problem_type", 0.3, "single_label_classification", None)
        id2label = {str(index): name for index, name in enumerate(names)}
        if self.flag("unsorted id2label", 0.2, True):
            id2label = dict(reversed(id2label.items()))
        label2id = {name: int(index) for index, name in id2label.items()}
        kept = self.flag("labels in config.json", 0.3, "id2label", "a number", "label2id wrong")
        if kept == "a number":
            config["num_labels"] = len(names)
            return [f"LABEL_{index}" for index in range(len(names))]
        config["id2label"] = id2label
        if kept == "label2id wrong":
            label2id = {name: len(names) - 1 - index for name, index in label2id.items()}
        if kept != "id2label":
            config["label2id"] = label2id
        return names

    # sentence-transformers.

    def _modules(self) -> None:
        if self.flag("plain encoder", 0.15, True):
            return
        place = self.flag("encoder in", 0.2, "0_Transformer") or ""
        kinds = [("Transformer", place), ("Pooling", "1_Pooling")]
        if self.flag("Normalize", 0.6, True):
            kinds.append(("Normalize", "2_Normalize"))
        old = self.random.choice(("sentence_transformers.models.", "sentence_transformers.models."))
        self.files["modules.json"] = [
            {"idx": index, "name": str(index), "path": path, "type": f"{old}{kind}"}
            for index, (kind, path) in enumerate(kinds)
        ]
        mode = self.random.choice(("mean", "cls"))
        self.flags["pooling"] = mode
        width = self.files["config.json"].get("hidden_size", 32)
        pooling: Json = {"word_embedding_dimension": width}
        if self.flag("named pooling", 0.2, True):
            pooling = {"embedding_dimension": width, "pooling_mode": mode}
        else:
            pooling["pooling_mode_cls_token"] = mode == "cls"
            pooling["pooling_mode_mean_tokens"] = mode == "mean"
            for other in ("max_tokens", "mean_sqrt_len_tokens"):
                pooling[f"pooling_mode_{other}"] = False
        self.setting(pooling, "include_prompt", 0.2, True)
        self.files["1_Pooling/config.json"] = pooling
        if not self.flag("no sentence_bert_config.json", 0.15, True):
            settings: Json = {}
            self.setting(settings, "max_seq_length", 0.7, 8, 20, 64, 512, None)
            self.setting(settings, "do_lower_case", 0.5, True, False)
            name = self.random.choice(("bert", "bert", "roberta", "distilbert"))
            self.files[f"sentence_{name}_config.json"] = settings
        if self.maybe(0.5):
            content: Json = {"__version__": {"sentence_transformers": "2.2.2"}}
            self.setting(content, "prompts", 0.3, {}, {"query": "query: "})
            self.setting(content, "default_prompt_name", 0.2, None)
            self.setting(content, "similarity_fn_name", 0.3, "cosine", "dot")
            self.files["config_sentence_transformers.json"] = content
        if self.architecture in ("bert", "mobilebert"):
            self.flag("without pooler", 0.2, True)


def _without_type(token: Any) -> Any:
    return {k: v for k, v in token.items() if k != "__type"} if isinstance(token, dict) else token


if __name__ == "__main__":
    found = draw(int(sys.argv[1]))
    print(found)
    found.write(Path(sys.argv[2]))
