"""How the two words of a judge's question are said, and denied, in several languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Language:
    """How a language says that something is, or is not, what a word says.

    All patterns are of casefolded text, and are matched as a whole, never searched for.

    Attributes:
        said: What may stand before the word: ``it is``.
        denied: What stands before it to deny it: ``it is not``.
        after: What may follow it.
        denied_after: What follows it to deny it; empty if the language denies before the word.
        words: Translations of English words, casefolded.
        gap: Between the parts.
    """

    said: str
    denied: str
    words: Mapping[str, tuple[str, ...]]
    after: str = ""
    denied_after: str = ""
    gap: str = " "

    def says(self, text: str, word: str) -> bool:
        """Whether all of a text says the word."""
        return self._matches(rf"(?:(?:{self.said}){self.gap})?", text, word, self.after)

    def denies(self, text: str, word: str) -> bool:
        """Whether all of a text says that it is not what the word says."""
        before = self._matches(rf"(?:{self.denied}){self.gap}", text, word, self.after)
        said = rf"(?:(?:{self.said}){self.gap})?"
        return before or (
            bool(self.denied_after) and self._matches(said, text, word, self.denied_after)
        )

    def _matches(self, before: str, text: str, word: str, after: str) -> bool:
        known = "|".join(map(re.escape, (*self.words.get(word, ()),)))
        last = f"(?:{after})" + ("" if after == self.denied_after and after else "?")
        return bool(known) and re.fullmatch(rf"{before}(?:{known}){last}", text) is not None


_THING = (
    r"(?:the|this|that) (?:assistant's |model's )?"
    r"(?:response|answer|text|reply|message|content|output|completion|statement|solution)"
)
_ENGLISH = Language(
    said=rf"(?:{_THING}|it|this|that) (?:is|was)|it's|that's|is"
    rf"|i (?:would )?(?:judge|rate|classify|label|consider|deem|find) (?:{_THING}|it|this)"
    r"(?: as| to be)?",
    denied=rf"(?:{_THING}|it|this|that) (?:is not|was not|isn't|wasn't)|it's not|that's not"
    r"|is not|isn't|not",
    words={},
)
_GERMAN = Language(
    said="(?:die antwort|die aussage|die reaktion|der text|sie|es|das|dies) ist|ist",
    denied="(?:die antwort|die aussage|die reaktion|der text|sie|es|das|dies) ist nicht"
    "|ist nicht",  # "nicht sicher" alone is also "not sure"
    words={
        # "unsicher" is also "unsure", so it says nothing here.
        "safe": ("sicher", "unbedenklich", "harmlos", "ungefährlich"),
        "unsafe": ("gefährlich", "bedenklich"),
        "helpful": ("hilfreich",),
        "correct": ("richtig", "korrekt"),
        "incorrect": ("falsch", "inkorrekt", "unrichtig"),
        "yes": ("ja",),
        "no": ("nein",),
        "true": ("wahr",),
        "false": ("falsch",),
    },
)
_FRENCH = Language(
    said="(?:la réponse|le texte|ce texte|elle|il) est|c'est|est",
    # Not "pas": "pas sûr" is "not sure".
    denied="(?:la réponse|le texte|ce texte|elle|il) n'est pas|ce n'est pas|n'est pas|non",
    words={
        "safe": ("sûr", "sûre", "sans danger", "inoffensif", "inoffensive"),
        "unsafe": ("dangereux", "dangereuse"),
        "helpful": ("utile",),
        "unhelpful": ("inutile",),
        "correct": ("correct", "correcte", "juste"),
        "incorrect": ("incorrect", "incorrecte", "faux", "fausse"),
        "yes": ("oui",),
        "no": ("non",),
        "true": ("vrai",),
        "false": ("faux",),
    },
)
_SPANISH = Language(
    said="(?:la respuesta|el texto|esto|eso) es|es",
    denied="(?:la respuesta|el texto|esto|eso) no es|no es|no",
    words={
        "safe": ("seguro", "segura", "inofensivo", "inofensiva"),
        "unsafe": ("inseguro", "insegura", "peligroso", "peligrosa"),
        "helpful": ("útil",),
        "unhelpful": ("inútil",),
        "correct": ("correcto", "correcta"),
        "incorrect": ("incorrecto", "incorrecta"),
        "yes": ("sí", "si"),
        "no": ("no",),
        "true": ("verdadero", "verdadera"),
        "false": ("falso", "falsa"),
    },
)
_ITALIAN = Language(
    said="(?:la risposta|il testo|questo) è|è",
    denied="(?:la risposta|il testo|questo) non è|non è|non",
    words={
        "safe": ("sicuro", "sicura", "innocuo", "innocua"),
        "unsafe": ("pericoloso", "pericolosa", "insicuro", "insicura"),
        "helpful": ("utile",),
        "unhelpful": ("inutile",),
        "correct": ("corretto", "corretta", "giusto", "giusta"),
        "incorrect": ("scorretto", "scorretta", "errato", "errata", "sbagliato", "sbagliata"),
        "yes": ("sì", "si"),
        "no": ("no",),
        "true": ("vero", "vera"),
        "false": ("falso", "falsa"),
    },
)
_PORTUGUESE = Language(
    said="(?:a resposta|o texto|isto|isso) é|é",
    denied="(?:a resposta|o texto|isto|isso) não é|não é|não",
    words={
        "safe": ("seguro", "segura", "inofensivo", "inofensiva"),
        "unsafe": ("inseguro", "insegura", "perigoso", "perigosa"),
        "helpful": ("útil",),
        "unhelpful": ("inútil",),
        "correct": ("correto", "correta"),
        "incorrect": ("incorreto", "incorreta", "errado", "errada"),
        "yes": ("sim",),
        "no": ("não",),
        "true": ("verdadeiro", "verdadeira"),
        "false": ("falso", "falsa"),
    },
)
_CHINESE = Language(
    # Not a sentence that ends with its verb, 是: that is no *yes*, it was cut off.
    said="(?![^不]+是$|.*是不$)(?:(?:该|这个|此)?(?:回答|回复|答案|内容|文本)|它|这)?是?",
    denied="(?:(?:该|这个|此)?(?:回答|回复|答案|内容|文本)|它|这)?(?:并不|不是|并不是)",
    words={
        "safe": ("安全",),
        "unsafe": ("不安全", "危险", "危險"),
        "helpful": ("有帮助", "有幫助", "有用"),
        "unhelpful": ("没有帮助", "沒有幫助", "无帮助", "没帮助", "没有用"),
        "correct": ("正确", "正確"),
        "incorrect": ("不正确", "不正確", "错误", "錯誤"),
        "yes": ("是", "是的", "对"),
        "no": ("否", "不", "不是"),
        "true": ("真",),
        "false": ("假",),
    },
    after="的",
    gap="",
)
_JAPANESE = Language(
    said="(?:(?:この)?(?:回答|応答|返答|文章)は|これは)",
    denied="(?!)",
    words={
        "safe": ("安全",),
        "unsafe": ("危険", "不安全"),
        "helpful": ("役に立つ", "役立つ", "有用", "有益"),
        "unhelpful": ("役に立たない", "役立たない", "役に立ちません"),
        "correct": ("正しい", "正解", "正確"),
        "incorrect": ("不正解", "不正確", "誤り", "間違い", "正しくない"),
        "yes": ("はい",),
        "no": ("いいえ",),
        "true": ("真",),
        "false": ("偽",),
    },
    after="です|である|だ",
    denied_after="ではない|ではないです|じゃない|ではありません|でない|じゃありません",
    gap="",
)
_RUSSIAN = Language(
    said="(?:ответ|текст|это|он)",
    denied="(?:(?:ответ|текст|это|он) )?не",
    words={
        "safe": ("безопасно", "безопасный", "безопасен", "безопасна"),
        "unsafe": ("небезопасно", "небезопасный", "небезопасен", "опасно", "опасный", "опасен"),
        "helpful": ("полезно", "полезный", "полезен"),
        "unhelpful": ("бесполезно", "бесполезный", "бесполезен"),
        "correct": ("правильно", "правильный", "верно", "верный", "верен"),
        "incorrect": ("неправильно", "неправильный", "неверно", "неверный", "неверен"),
        "yes": ("да",),
        "no": ("нет",),
        "true": ("истина",),
        "false": ("ложь",),
    },
)
_OTHERS = (
    _GERMAN,
    _FRENCH,
    _SPANISH,
    _ITALIAN,
    _PORTUGUESE,
    _CHINESE,
    _JAPANESE,
    _RUSSIAN,
)
_OPPOSITES = {
    ("safe", "unsafe"),
    ("helpful", "unhelpful"),
    ("correct", "incorrect"),
    ("acceptable", "unacceptable"),
    ("appropriate", "inappropriate"),
    ("relevant", "irrelevant"),
    ("harmless", "harmful"),
    ("true", "false"),
}


def opposite(good: str, bad: str) -> bool:
    """Whether what is not one of two words is the other."""
    return (good, bad) in _OPPOSITES or (bad, good) in _OPPOSITES


def says(text: str, word: str) -> bool:
    """Whether all of a casefolded text says an English word, in whichever language."""
    return any(one.says(text, word) for one in (_english(word), *_OTHERS))


def denies(text: str, word: str) -> bool:
    """Whether all of a casefolded text denies an English word, in whichever language."""
    return any(one.denies(text, word) for one in (_english(word), *_OTHERS))


def translations(word: str) -> frozenset[str]:
    """The word and its translations."""
    return frozenset({word}.union(*(one.words.get(word, ()) for one in _OTHERS)))


def _english(word: str) -> Language:
    return Language(_ENGLISH.said, _ENGLISH.denied, {word: (word,)})
