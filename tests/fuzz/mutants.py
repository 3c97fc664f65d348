"""Ways to spoil what files hold, by their structure.

JSON by its values, flatbuffers by their words, archives by their members. Each is a strategy of
Hypothesis, whose simplest example is what it was given, whole.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

SIZES = (0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 2**15, 2**16, 2**20, 2**30, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = (-1, *SIZES, 2**53 + 1, 2**63, 10**30, -(10**30), 0.5, 1e-320, 1e308)
WORDS = (
    "",
    " ",
    "\0",
    "\x1b[31m",
    "\n",
    "\u2028",
    "\u202e",
    "../../x",
    "/etc/passwd",
    "a" * 5000,
    "ä",
    "NaN",
)
KINDS = (
    "bert",
    "roberta",
    "vit",
    "gelu",
    "WordPiece",
    "BPE",
    "Unigram",
    "WordLevel",
    "Sequence",
    "Replace",
)
# What becomes a number that JSON does not have, or a depth that a parser has to follow.
RAW = (
    "NaN",
    "Infinity",
    "1e999",
    '"\\ud800"',
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from((*WORDS, *KINDS)),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
# How many places are spoilt; none is the simplest, with which every strategy begins.
COUNTS = st.sampled_from((0, *[1] * 8, *[2] * 5, *[3] * 4, *[4] * 2))
_MARK = "\ue000raw\ue000"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values within a value, itself first."""
    yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        # Long lists, as vocabularies are, have much of the same.
        items = list(enumerate(value))[:20]
    for key, inner in list(items)[:40]:
        yield from _paths(inner, (*path, key))


def _put(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return value


def _get(value: Any, path: Sequence[Any]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def spoilt_json(draw: st.DrawFn, good: Any) -> Any:
    """A value of which a few parts are others, are gone, or are there twice."""
    value = copy.deepcopy(good)
    for _ in range(draw(COUNTS)):
        path = draw(st.sampled_from(list(_paths(value))))
        how = draw(st.sampled_from(("other", "gone", "number", "copy", "more")))
        if how == "gone" and path:
            value = _put(value, path, ...)
        elif how == "number" and isinstance(_get(value, path), (int, float)):
            value = _put(value, path, draw(st.sampled_from(NUMBERS)))
        elif how == "copy":
            value = _put(
                value, path, copy.deepcopy(_get(value, draw(st.sampled_from(list(_paths(value))))))
            )
        elif how == "more" and isinstance(_get(value, path), dict):
            _get(value, path)[draw(st.sampled_from(WORDS) | st.text(max_size=8))] = draw(VALUES)
        else:
            value = _put(value, path, draw(VALUES))
    return value


@st.composite
def json_bytes(draw: st.DrawFn, good: Any) -> bytes:
    """The same as text, now and then with what JSON has no value for, or damaged."""
    how = draw(st.sampled_from(("value", "value", "value", "value", "raw", "bytes")))
    if how == "bytes":
        return draw(spoilt_bytes(json.dumps(good).encode()))
    value = draw(spoilt_json(good))
    raw = None
    if how == "raw":
        raw = draw(st.sampled_from(RAW))
        value = _put(value, draw(st.sampled_from(list(_paths(value)))), _MARK)
    text = json.dumps(value)
    return (text.replace(json.dumps(_MARK), raw) if raw else text).encode()


@st.composite
def spoilt_bytes(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes with others in some places, a part twice, or without an end."""
    spoilt = bytearray(good)
    places = st.integers(0, max(len(good) - 1, 0))
    # What is early in a file, or near its end, describes the rest.
    places = st.one_of(
        places, places.map(lambda n: n % 256), places.map(lambda n: max(len(good) - 1 - n % 256, 0))
    )
    for _ in range(draw(COUNTS)):
        start = draw(places)
        how = draw(st.sampled_from(("over", "over", "cut", "twice", "in")))
        patch = draw(st.binary(min_size=1, max_size=8))
        if how == "over":
            spoilt[start : start + len(patch)] = patch
        elif how == "cut":
            del spoilt[start : start + draw(st.integers(1, 64))]
        elif how == "twice":
            spoilt[start:start] = spoilt[start : start + draw(st.integers(1, 64))]
        else:
            spoilt[start:start] = patch
    end = draw(st.sampled_from((None, None, None, 0)))
    if end is not None:
        end = draw(st.integers(0, len(spoilt)))
    return bytes(spoilt[:end])


@st.composite
def spoilt_words(draw: st.DrawFn, good: bytes) -> bytes:
    """A flatbuffer with other offsets, lengths and numbers: words of 4 or 2 bytes at even places."""
    spoilt = bytearray(good)
    for _ in range(draw(COUNTS)):
        place = 4 * draw(st.integers(0, len(good) // 4 - 1))
        (word,) = struct.unpack_from("<i", spoilt, place)
        how = draw(st.sampled_from(("near", "set", "half", "bit")))
        if how == "near":
            word += draw(st.sampled_from((-8, -4, -1, 1, 4, 8, len(good))))
        elif how == "set":
            word = draw(st.sampled_from((*SIZES, -1, -4, len(good) - place)))
        elif how == "half":
            struct.pack_into(
                "<H", spoilt, place + draw(st.sampled_from((0, 2))), draw(st.integers(0, 2**16 - 1))
            )
            continue
        else:
            word ^= 1 << draw(st.integers(0, 31))
        struct.pack_into("<I", spoilt, place, word & 0xFFFFFFFF)
    return bytes(spoilt)


@st.composite
def spoilt_archive(draw: st.DrawFn, good: Mapping[str, bytes], model: bytes = b"") -> bytes:
    """A zip behind `model`, whose members have other names or sizes, are packed, or are there twice."""
    result = io.BytesIO(model)
    with warnings.catch_warnings(), zipfile.ZipFile(result, "a") as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        names = list(good)
        for _ in range(draw(st.integers(0, 2))):
            names.insert(draw(st.integers(0, len(names))), draw(st.sampled_from(names)))
        for name in names:
            other = draw(
                st.sampled_from(
                    (name, name, name, name, "../../evil", "/evil", name + "/", "", "a" * 300)
                )
            )
            content = good[name]
            if draw(st.integers(0, 9)) == 9:
                content = draw(
                    st.sampled_from((b"", b"\0" * (8 << 20), content * 40, content[:-1]))
                )
            packing = draw(
                st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            )
            info = zipfile.ZipInfo(other or "x")
            info.compress_type = packing
            archive.writestr(info, content)
    made = bytearray(result.getvalue())
    if not draw(st.booleans()):
        return bytes(made)
    # The directory of an archive is at its end: names, sizes and places of members.
    start = made.rfind(b"PK\x01\x02") if draw(st.booleans()) else made.rfind(b"PK\x05\x06")
    start = max(start, 0)
    for _ in range(draw(st.integers(1, 3))):
        place = start + 2 * draw(st.integers(2, max((min(len(made) - start, 46) - 4) // 2, 2)))
        struct.pack_into(
            "<H",
            made,
            min(place, len(made) - 2),
            draw(st.sampled_from((0, 1, 8, 12, 99, 2**15, 2**16 - 1))),
        )
    return bytes(made)


@st.composite
def spoilt_safetensors(draw: st.DrawFn, good: bytes) -> bytes:
    """Weights with another header, another length of it, or damage."""
    how = draw(st.sampled_from(("header", "header", "length", "bytes")))
    (length,) = struct.unpack_from("<Q", good)
    if how == "bytes":
        return draw(spoilt_bytes(good))
    if how == "length":
        return (
            struct.pack(
                "<Q", draw(st.sampled_from((*SIZES, 2**63, 2**64 - 1, length - 1, length + 1)))
            )
            + good[8:]
        )
    header = draw(json_bytes(json.loads(good[8 : 8 + length])))
    return struct.pack("<Q", len(header)) + header + good[8 + length :]


_BOMB = gzip.compress(b"text\n" + b"a" * (80 << 20), mtime=0)
PIECES = (
    *(
        b"text",
        b"label",
        b"\t",
        b",",
        b'"',
        b"\n",
        b"\r",
        b"{",
        b"}",
        b"[",
        b":",
        b" ",
        b"good film",
    ),
    *(
        b'"text":',
        b'{"text": "a"}',
        b"text\tlabel\n",
        b"\xef\xbb\xbf",
        b"\0",
        b"NaN",
        b"1e999",
        b"\xff",
    ),
    *("\u2028".encode(), b"\x1b[2J", b"\xed\xa0\x80", b'"\\ud800"', "\u202e".encode(), b"\\u0000"),
)
TEXT = st.lists(
    st.one_of(
        st.sampled_from(PIECES),
        st.binary(max_size=6),
        st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.builds(
            lambda piece, count: piece * count,
            st.sampled_from(PIECES),
            st.sampled_from((9, 300, 4000)),
        ),
    ),
    max_size=20,
).map(b"".join)


@st.composite
def spoilt_table(draw: st.DrawFn, good: bytes) -> bytes:
    """A file of texts: of pieces, damaged, or with a line of pieces in it."""
    how = draw(st.sampled_from(("bytes", "line", "line", "pieces")))
    if how == "line":
        lines = good.splitlines(keepends=True)
        lines.insert(draw(st.integers(0, len(lines))), draw(TEXT) + b"\n")
        return b"".join(lines)
    return draw(spoilt_bytes(good) if how == "bytes" else TEXT)


@st.composite
def packed(draw: st.DrawFn, content: bytes) -> bytes:
    """gzip's form of it, damaged, or of much more than it seems."""
    much = draw(st.sampled_from((False,) * 9 + (True,)))
    return draw(spoilt_bytes(_BOMB if much else gzip.compress(content, mtime=0)))
