"""What stands in files by mistake: values, lines, tables, changed records, damaged bytes."""

from __future__ import annotations

import copy
import csv
import io
import json
from typing import Any

from hypothesis import strategies as st

KEYS = (
    "prompt reference chosen rejected response is_safe question answer final_answer context "
    "prompt_id sample label values prior group scores settings trajectories head p_good policy "
    "tokens unsafe seconds rows log_likelihood self_assessment confidence format spec shards "
    "hidden_size dtype capture name sha256 labels made_by text model temperature top_k layer "
    "pooling polarity threshold curves points quantity alpha meta n cell vllm verdict"
)
WORDS = st.sampled_from(KEYS.split())
ODD_TEXTS = (
    *("\ud800", "p_good", "2020-01-02", "00501", "1", "nan", "1e999", "../x", "/dev/null", "\0"),
    *(
        "\u202e",
        "a\nb",
        "٣",
        "\u22121",
        "9" * 5000,
        "\n\nHuman: a\n\nAssistant: b",
        "null",
        "[" * 40,
    ),
)
TEXTS = st.text(max_size=20) | st.sampled_from(ODD_TEXTS)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | TEXTS
    | WORDS
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=10,
)


@st.composite
def changed(
    draw: st.DrawFn, good: Any, values: st.SearchStrategy[Any] = VALUES, most: int = 3
) -> Any:
    """A record in which up to some parts, at any depth, are replaced, left out or added."""
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, most))):
        holder = body
        while isinstance(holder, (dict, list)) and holder:
            place: Any = draw(
                st.sampled_from(
                    sorted(holder, key=str) if isinstance(holder, dict) else range(len(holder))
                )
            )
            inner = holder[place]
            if isinstance(inner, (dict, list)) and inner and draw(st.integers(0, 3)):
                holder = inner
                continue
            kind = draw(st.sampled_from(("replace", "replace", "remove", "add")))
            if kind == "remove":
                del holder[place]
            elif kind == "replace":
                holder[place] = draw(values)
            elif isinstance(holder, dict):
                holder[draw(WORDS | TEXTS)] = draw(values)
            else:
                holder.insert(place, draw(values))
            break
        else:
            body = draw(values)
    return body


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes of which some are others, or missing, or put in."""
    body = bytearray(good)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(body)))
        body[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=6))
    return bytes(body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 3)) == 0 else body)


@st.composite
def json_text(draw: st.DrawFn, good: object) -> bytes:
    """A record as JSON: changed, now and then damaged as text, now and then something else."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=60))
    body = draw(VALUES) if kind == 1 else draw(changed(good))
    text = json.dumps(body).encode()
    return draw(damaged(text)) if kind == 2 else text


@st.composite
def lines(draw: st.DrawFn, good: list[object]) -> bytes:
    """Lines of JSON: good ones, changed ones, others, noise."""
    rows = [*good, *draw(st.lists(VALUES, max_size=3))]
    text = b"\n".join(json.dumps(draw(changed(row, most=1))).encode() for row in rows)
    if draw(st.integers(0, 5)) == 0:
        text = draw(damaged(text))
    return text + draw(st.sampled_from([b"", b"\n"]))


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """CSV, more or less."""
    rows = draw(st.lists(st.lists(WORDS | TEXTS, max_size=4), max_size=4))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="replace")
