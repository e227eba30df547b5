"""Tables of Unicode as short texts, which Kotlin, Swift and JavaScript read in a few lines.

A table is a list of whole numbers, each written in base 64 as source maps write them: five bits a character, the lowest
first, the sixth bit set where more follow (https://sourcemaps.info/spec.html, "VLQ"). A number that may be negative is
first made 2n, or -2n - 1 where n is below 0.

A set of code points is: for each run of neighbours the gap since the run before and the run's length less one.

A map from code points to texts is runs too, each `gap, length - 1, kind` and what the kind needs:
    0   removed
    1   delta (signed): c becomes c + delta
    2   the same for every second code point of the run, the first included; the others stay
    3   n, then n code points: each of the run becomes this same text
    4   c becomes a space, c, a space
    5   for each of the run: n, then n signed differences, each from the code point that the table wrote last at this place
        of a text: accented letters in a row then share a base or a mark
Code points in no run stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
REMOVED, SHIFTED, ALTERNATING, CONSTANT, SPACED, LISTED = range(6)
SPACE = 0x20
LONGEST = 32  # code points of a target; U+FDFA has 18 in NFKD
SHORTEST = 3  # code points of a run that is not of the kind LISTED

Target = tuple[int, ...]


def encode_numbers(numbers: Iterable[int]) -> str:
    """Whole numbers from 0 on as text.

    >>> encode_numbers([0, 31, 32, 1000])
    'AfgBof'
    """
    return "".join(map(_digits, numbers))


def _digits(number: int) -> str:
    result = ""
    while True:
        number, low = number >> 5, number & 31
        result += ALPHABET[low | (32 if number else 0)]
        if not number:
            return result


def decode_numbers(text: str) -> list[int]:
    """What `encode_numbers` was given.

    >>> decode_numbers("AfgBof")
    [0, 31, 32, 1000]
    """
    numbers, value, shift = [], 0, 0
    for character in text:
        digit = ALPHABET.index(character)
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            numbers.append(value)
            value = shift = 0
    return numbers


def signed(number: int) -> int:
    """A number that may be negative as one that is not."""
    return 2 * number if number >= 0 else -2 * number - 1


def unsigned(number: int) -> int:
    """What `signed` was given."""
    return number // 2 if number % 2 == 0 else -(number + 1) // 2


def encode_set(points: Iterable[int]) -> str:
    """A set of code points.

    >>> decode_numbers(encode_set([3, 4, 5, 9]))
    [3, 2, 3, 0]
    """
    numbers, after = [], 0
    for run in _runs(sorted(set(points))):
        numbers += [run[0] - after, len(run) - 1]
        after = run[-1] + 1
    return encode_numbers(numbers)


def _runs(points: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for point in points:
        if runs and point == runs[-1][-1] + 1:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def encode_values(values: Mapping[int, int]) -> str:
    """A whole number for some code points: runs of `gap, length - 1, value`."""
    numbers: list[int] = []
    after = start = 0
    points = sorted(values)
    for i, point in enumerate(points):
        last = i + 1 == len(points) or points[i + 1] != point + 1 or values[points[i + 1]] != values[point]
        if not i or points[i - 1] != point - 1 or values[points[i - 1]] != values[point]:
            start = point
        if last:
            numbers += [start - after, point - start, values[point]]
            after = point + 1
    return encode_numbers(numbers)


def encode_map(targets: Mapping[int, Target]) -> str:
    """A map from code points to texts, the latter as code points; see above."""
    numbers: list[int] = []
    after, points, before = 0, sorted(targets), [0] * LONGEST
    at = 0
    while at < len(points):
        kind, length, body = _run_at(points, at, targets)
        if kind == LISTED:  # until a run of another kind begins
            length = 1
            while (
                at + length < len(points)
                and points[at + length] == points[at] + length
                and _run_at(points, at + length, targets)[0] == LISTED
            ):
                length += 1
            for point in points[at : at + length]:
                body.append(len(targets[point]))
                for place, item in enumerate(targets[point]):
                    body.append(signed(item - before[place]))
                    before[place] = item
        span = points[at + length - 1] - points[at] + 1
        numbers += [points[at] - after, span - 1, kind, *body]
        after = points[at] + span
        at += length
    return encode_numbers(numbers)


def _run_at(points: Sequence[int], at: int, targets: Mapping[int, Target]) -> tuple[int, int, list[int]]:
    """Kind, number of mapped code points and body of the run that begins with `points[at]`."""
    start, target = points[at], targets[points[at]]

    def length(step: int, alike: object) -> int:
        n = 0
        while at + n < len(points) and points[at + n] == start + step * n and alike(points[at + n]):  # type: ignore[operator]
            n += 1
        return n

    if not target:
        return REMOVED, length(1, lambda point: not targets[point]), []
    if target == (SPACE, start, SPACE):
        return SPACED, length(1, lambda point: targets[point] == (SPACE, point, SPACE)), []
    same = length(1, lambda point: targets[point] == target)
    if same >= SHORTEST:
        return CONSTANT, same, [len(target), *target]
    if len(target) == 1:
        delta = target[0] - start
        shifted = lambda point: targets[point] == (point + delta,)  # noqa: E731
        for kind, step in ((SHIFTED, 1), (ALTERNATING, 2)):
            n = length(step, shifted)
            if n >= SHORTEST:
                return kind, n, [signed(delta)]
    return LISTED, 1, []


def decode_set(text: str) -> set[int]:
    """What `encode_set` was given."""
    numbers, points, after = decode_numbers(text), set(), 0
    for gap, more in zip(numbers[::2], numbers[1::2], strict=True):
        points |= set(range(after + gap, after + gap + more + 1))
        after += gap + more + 1
    return points


def decode_map(text: str) -> dict[int, Target]:
    """What `encode_map` was given."""
    numbers, targets = iter(decode_numbers(text)), dict[int, Target]()
    after, before = 0, [0] * LONGEST
    for gap in numbers:
        start, span, kind = after + gap, next(numbers) + 1, next(numbers)
        after = start + span
        if kind == LISTED:
            for point in range(start, after):
                items = []
                for place in range(next(numbers)):
                    before[place] += unsigned(next(numbers))
                    items.append(before[place])
                targets[point] = tuple(items)
        elif kind in (SHIFTED, ALTERNATING):
            delta = unsigned(next(numbers))
            targets |= {point: (point + delta,) for point in range(start, after, kind)}
        else:
            same = tuple(next(numbers) for _ in range(next(numbers))) if kind == CONSTANT else ()
            for point in range(start, after):
                targets[point] = (SPACE, point, SPACE) if kind == SPACED else same
    return targets
