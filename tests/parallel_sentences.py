"""Sentences of a small grammar in German, English and French, each with its intent: translations of each other by design."""

from __future__ import annotations

import random
from itertools import product
from typing import NamedTuple

# name -> (German, English, French) of each filler
SLOTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "day": (("heute", "today", "aujourd'hui"), ("morgen", "tomorrow", "demain"), ("sonntag", "sunday", "dimanche"),
            ("montag", "monday", "lundi")),
    "city": (("berlin", "berlin", "berlin"), ("köln", "cologne", "cologne"), ("wien", "vienna", "vienne"),
             ("genf", "geneva", "genève")),
    "hour": (("sechs", "six", "six"), ("sieben", "seven", "sept"), ("acht", "eight", "huit"), ("neun", "nine", "neuf")),
    "room": (("der küche", "the kitchen", "la cuisine"), ("dem bad", "the bathroom", "la salle de bains"),
             ("dem flur", "the hall", "le couloir"), ("dem keller", "the cellar", "la cave")),
    "food": (("brot", "bread", "pain"), ("käse", "cheese", "fromage"), ("äpfel", "apples", "pommes"),
             ("milch", "milk", "lait")),
}  # fmt: skip
PATTERNS: tuple[tuple[str, str, str, str], ...] = (  # intent, German, English, French
    ("weather", "wie wird das wetter {day} in {city}", "how is the weather {day} in {city}", "quel temps fait-il {day} à {city}"),
    ("weather", "regnet es {day} in {city}", "does it rain {day} in {city}", "pleut-il {day} à {city}"),
    ("train", "wann fährt {day} ein zug nach {city}", "when does a train leave {day} for {city}", "quand part un train {day} pour {city}"),
    ("train", "kaufe eine fahrkarte nach {city} für {day}", "buy a ticket to {city} for {day}", "achète un billet pour {city} pour {day}"),
    ("alarm", "wecke mich {day} um {hour} uhr", "wake me {day} at {hour} o'clock", "réveille-moi {day} à {hour} heures"),
    ("alarm", "stelle den wecker {day} auf {hour}", "set the alarm {day} to {hour}", "règle le réveil {day} sur {hour}"),
    ("light", "mach das licht in {room} um {hour} an", "turn on the light in {room} at {hour}", "allume la lumière dans {room} à {hour}"),
    ("light", "ist die lampe in {room} noch an", "is the lamp in {room} still on", "la lampe dans {room} est-elle encore allumée"),
    ("shopping", "setze {food} für {day} auf die liste", "put {food} for {day} on the list", "mets {food} pour {day} sur la liste"),
    ("shopping", "haben wir noch {food} im haus", "do we still have {food} in the house", "avons-nous encore {food} à la maison"),
)  # fmt: skip
INTENTS = tuple(sorted({pattern[0] for pattern in PATTERNS}))


class Sentence(NamedTuple):
    intent: str
    de: str
    en: str
    fr: str


def sentences(seed: int = 0) -> list[Sentence]:
    """All 136 of the grammar, shuffled."""
    results = []
    for intent, *texts in PATTERNS:
        names = [name for name in SLOTS if f"{{{name}}}" in texts[1]]
        for fillers in product(*(SLOTS[name] for name in names)):
            filled = [
                text.format(**{n: f[i] for n, f in zip(names, fillers, strict=True)}) for i, text in enumerate(texts)
            ]
            results.append(Sentence(intent, *filled))
    random.Random(seed).shuffle(results)
    return results
