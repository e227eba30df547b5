"""Sentences in many scripts, and random strings of a seed that are dense in marks, jamo, spaces and controls."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

MULTILINGUAL = (
    # Latin with marks, composed and not
    "Der Zug nach Köln fährt um 8.30 Uhr ab, außer sonntags.", "L’élève a réussi à l’examen, n’est-ce pas ?",
    "¿Dónde está la estación más próxima, señor?", "Amanhã não haverá aula por causa da reunião.",
    "Zażółć gęślą jaźń na łące.", "Příliš žluťoučký kůň úpěl ďábelské ódy.", "Árvíztűrő tükörfúrógép.",
    "İstanbul’da hava ılık, IŞIK açık.", "Tôi muốn đặt vé máy bay đi Đà Nẵng vào thứ sáu.",
    "To\u0302i muo\u0302\u0301n đi Đa\u0300 Na\u0306\u0303ng", "Ngày mai tie\u0302\u0301ng Vie\u0323\u0302t", "Šiaurės vėjas ir saulė",
    "Færøyene ligger i Nord-Atlanteren.", "Það er kalt í dag, þórður.", "Straße STRASSE \u1e9e Ŀ ŉ ĳ ǆ ﬁ ﬄ",
    # Greek, Cyrillic, Armenian, Georgian
    "Ο ΟΔΥΣΣΕΑΣ ταξίδεψε στην Ιθάκη.", "Πότε φεύγει το τρένο για τη Θεσσαλονίκη;", "Завтра в Москве ожидается дождь и ёлки.",
    "Съешь же ещё этих мягких французских булок", "Їжак і ґава живуть у лісі.", "Ես ուզում եմ գնալ Երևան։", "მე მინდა თბილისში წასვლა. ᲗᲑᲘᲚᲘᲡᲘ",
    # right to left
    "שלום עולם, מה שלומך היום?", "בְּרֵאשִׁית בָּרָא אֱלֹהִים", "أريد حجز رحلة من القاهرة إلى دبي يوم الاثنين.", "مُحَمَّد كتـــاب ١٢٣٫٤",
    "من می‌خواهم به تهران بروم.", "یہ کتاب میری ہے۔", "abc אבג 123 دهه def",
    # Indic and South East Asian
    "नमस्ते, मुझे दिल्ली से मुंबई का टिकट चाहिए।", "क़ ख़ ग़ ड़ ढ़ फ़", "আমি কলকাতা যেতে চাই।", "எனக்கு சென்னைக்கு டிக்கெட் வேண்டும்.",
    "నాకు హైదరాబాద్ వెళ్లాలి.", "ನನಗೆ ಬೆಂಗಳೂರು ಬೇಕು", "എനിക്ക് കൊച്ചിയിൽ പോകണം.", "මට කොළඹ යන්න ඕන.", "ฉันต้องการไปเชียงใหม่พรุ่งนี้",
    "ຂ້ອຍຢາກໄປວຽງຈັນ", "ខ្ញុំចង់ទៅភ្នំពេញ", "ကျွန်တော် ရန်ကုန်သွားချင်တယ်", "བོད་སྐད་ཡིག",
    # East Asian
    "我想订一张从北京到上海的机票，星期五出发。", "請問捷運站在哪裡？", "明日の東京の天気を教えてください。", "ｶﾀｶﾅ と ひらがな、漢字「テスト」",
    "서울에서 부산까지 가는 기차표를 예약해 주세요.", "\u1112\u1161\u11ab\u1100\u116e\u11a8 한국", "𠀀𠮷𡃁 㐀㒨 豈更 龦龯", "㈱㍿㎏①Ⅷ½ﾊﾟ",
    # others
    "ሰላም ለዓለም", "ᏣᎳᎩ ꭰꭱ", "𐐀𐐨 𞤀𞤢 𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "😀👩‍👩‍👧‍👦🇩🇪👍🏽 ❤️ ☃", "a\u0301\u0316\u0334\u0345b x\u0323\u0307y", "price: $5.00–€7,50 (≈10%) №3 §4 ™®",
    "https://example.com/a?b=c&d=e#f user@example.com @you #tag", "don't I'll we've THEY'RE o'clock rock'n'roll 'tis",
    "tab\tnew\nline\r\nnbsp\u00a0zwsp\u200bzwj\u200dbom\ufeffsoft\u00adhyphen", "   leading and trailing   ", "…––—‘’“”«»‹›„‚",
)  # fmt: skip
# Groups of ranges, each drawn from as often as the others.
RANGES: tuple[Sequence[range], ...] = (
    (range(0x20, 0x7F),), (range(0x20, 0x7F),), (range(0x41, 0x7B),), (range(0x300, 0x370), range(0x483, 0x488)),
    (range(0x591, 0x5C8), range(0x610, 0x61B), range(0x64B, 0x660)), (range(0x8D3, 0x904), range(0x93C, 0x94E)),
    (range(0x1AB0, 0x1AD0), range(0x1DC0, 0x1E00)), (range(0x1100, 0x1200), range(0xAC00, 0xD7A4)), (range(0x4E00, 0xA000),),
    (range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)), (range(0x1E00, 0x2000),), (range(0xA0, 0x250),), (range(0x370, 0x530),),
    (range(0x2000, 0x2070), range(0x7F, 0xA0), range(0x1, 0x20), range(0x180B, 0x180F)), (range(0xFB00, 0xFFFE),),
    (range(0x10000, 0x12000), range(0x1D100, 0x1D200), range(0x1F300, 0x1FB00)), (range(0x250, 0xD800),),
    (range(0xE000, 0xE010), range(0xFFF0, 0x10000), range(0xE0000, 0xE01F0), range(0x10FFF0, 0x110000)), (range(0x20000, 0x32000),),
)  # fmt: skip


def dense_texts(n: int, *, seed: int = 0, tokens: Sequence[str] = ()) -> Iterator[str]:
    """`n` strings of 1 to 24 parts, each a character of a range or one of `tokens`, such as a tokenizer's added ones."""
    draw = random.Random(seed)
    for _ in range(n):
        kinds = draw.sample(RANGES, draw.randint(1, 4))  # so that neighbours are often of one kind
        parts = []
        for _ in range(draw.randint(1, 24)):
            if tokens and draw.random() < 0.15:
                token = draw.choice(tokens)
                parts.append(draw.choice((token, token.upper(), token.lower(), token[1:], f" {token} ")))
            else:
                parts.append(chr(draw.choice(draw.choice(draw.choice(kinds)))))
        yield "".join(parts)
