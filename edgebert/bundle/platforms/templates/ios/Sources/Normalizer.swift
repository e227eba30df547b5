/// A step of a normalizer. It may give the same text back, and does not change the one that it was given.
protocol NormalizerStep {
    func apply(_ text: Text) -> Text
}

/// The steps that `edgebert.json` lists, in order.
final class Normalizer {
    private let steps: [NormalizerStep]

    init(_ list: [Json]) throws {
        var steps: [NormalizerStep] = []
        for item in list {
            steps.append(try Normalizer.read(item))
        }
        self.steps = steps
    }

    func apply(_ text: Text) -> Text {
        var result: Text = text
        for step in steps {
            result = step.apply(result)
        }
        return result
    }

    private static func read(_ step: Json) throws -> NormalizerStep {
        let type: String = try step.string("type")
        switch type {
        case "characters":
            return CharactersStep(table: try PointMap(try step.string("table")))
        case "decompose":
            return DecomposeStep(
                table: try PointMap(try step.string("table")),
                classes: try PointValues(try step.string("classes"))
            )
        case "recompose":
            return RecomposeStep(
                table: try PointMap(try step.string("table")),
                classes: try PointValues(try step.string("classes")),
                composed: try PointMap(try step.string("composed"))
            )
        case "precompiled":
            return try PrecompiledStep(step)
        case "spaces":
            return SpacesStep(to: Text.pointsOf(try step.string("to")))
        case "replace":
            return ReplaceStep(from: Text.pointsOf(try step.string("from")), to: Text.pointsOf(try step.string("to")))
        case "strip":
            return StripStep(
                left: try step.bool("left"),
                right: try step.bool("right"),
                spaces: try PointSet(try step.string("spaces"))
            )
        default:
            throw EdgeModelError("this package does not know the normalizer step '\(type)'")
        }
    }
}

/// Each character by itself, by a table.
private struct CharactersStep: NormalizerStep {
    let table: PointMap

    func apply(_ text: Text) -> Text {
        var at: Int = 0
        while at < text.count && table.find(text.points[at]) < 0 {
            at += 1
        }
        if at == text.count {
            return text
        }
        let result: Text = Text(capacity: text.count + 16)
        result.addAll(text, 0, at)
        while at < text.count {
            let point: Int = text.points[at]
            let run: Int = table.find(point)
            if run < 0 {
                result.add(point, text.starts[at], text.ends[at])
            } else {
                table.add(run, point, text.starts[at], text.ends[at], result)
            }
            at += 1
        }
        return result
    }
}

/// Characters taken apart, and marks put in Unicode's order.
private struct DecomposeStep: NormalizerStep {
    private static let firstSyllable: Int = 0xAC00
    private static let lastSyllable: Int = 0xD7A3
    let table: PointMap
    let classes: PointValues

    func apply(_ text: Text) -> Text {
        var at: Int = 0
        while at < text.count && stays(text.points[at]) {
            at += 1
        }
        if at == text.count {
            return text
        }
        let result: Text = Text(capacity: text.count + text.count / 4 + 16)
        result.addAll(text, 0, at)
        // Where the parts of each character begin: only they move on in the source once marks have changed places.
        var begins: [Bool] = [Bool](repeating: true, count: at)
        while at < text.count {
            let before: Int = result.count
            decompose(text.points[at], text.starts[at], text.ends[at], result)
            var i: Int = before
            while i < result.count {
                begins.append(i == before)
                i += 1
            }
            at += 1
        }
        reorder(result, &begins, text)
        return result
    }

    private func isSyllable(_ point: Int) -> Bool {
        return point >= DecomposeStep.firstSyllable && point <= DecomposeStep.lastSyllable
    }

    private func stays(_ point: Int) -> Bool {
        if point < 0x80 {
            return true
        }
        return table.find(point) < 0 && !isSyllable(point) && classes.value(point) == 0
    }

    private func decompose(_ point: Int, _ start: Int, _ end: Int, _ result: Text) {
        if isSyllable(point) {
            // Hangul by arithmetic, as Unicode's standard has it in section 3.12.
            let syllable: Int = point - DecomposeStep.firstSyllable
            result.add(0x1100 + syllable / 588, start, end)
            result.add(0x1161 + (syllable % 588) / 28, start, end)
            if syllable % 28 != 0 {
                result.add(0x11A7 + syllable % 28, start, end)
            }
            return
        }
        let run: Int = point < 0x80 ? -1 : table.find(point)
        if run < 0 {
            result.add(point, start, end)
        } else {
            table.add(run, point, start, end, result)
        }
    }

    private func reorder(_ result: Text, _ begins: inout [Bool], _ source: Text) {
        var moved: Bool = false
        var at: Int = 0
        while at < result.count {
            if classes.value(result.points[at]) == 0 {
                at += 1
                continue
            }
            var end: Int = at + 1
            while end < result.count && classes.value(result.points[end]) != 0 {
                end += 1
            }
            if end - at > 1 && sort(result, &begins, at, end) {
                moved = true
            }
            at = end
        }
        if !moved {
            return
        }
        // The library gives the k-th first part the place of the k-th source character, wherever it stands now.
        var character: Int = -1
        for i in 0..<result.count {
            if begins[i] {
                character += 1
            }
            result.setPlace(i, source.starts[character], source.ends[character])
        }
    }

    /// Sorts a run of marks by class, equal ones as they stand; says whether anything moved.
    private func sort(_ result: Text, _ begins: inout [Bool], _ from: Int, _ to: Int) -> Bool {
        var order: [Int] = []
        var sorted: Bool = true
        for i in 0..<(to - from) {
            order.append((classes.value(result.points[from + i]) << 32) | i)
            if i > 0 && order[i] < order[i - 1] {
                sorted = false
            }
        }
        if sorted {
            return false
        }
        order.sort()
        let points: [Int] = Array(result.points[from..<to])
        let firsts: [Bool] = Array(begins[from..<to])
        for i in 0..<order.count {
            let old: Int = order[i] & 0xFFFF_FFFF
            result.setPoint(from + i, points[old])
            begins[from + i] = firsts[old]
        }
        return true
    }
}

/// A text for another; what is put in has the place of the last character that it replaces.
private struct ReplaceStep: NormalizerStep {
    let from: [Int]
    let to: [Int]

    func apply(_ text: Text) -> Text {
        var at: Int = find(text, 0)
        if at < 0 {
            return text
        }
        let result: Text = Text(capacity: text.count + 16)
        var done: Int = 0
        while at >= 0 {
            result.addAll(text, done, at)
            let last: Int = at + from.count - 1
            for point in to {
                result.add(point, text.starts[last], text.ends[last])
            }
            done = at + from.count
            at = find(text, done)
        }
        result.addAll(text, done, text.count)
        return result
    }

    private func find(_ text: Text, _ begin: Int) -> Int {
        var at: Int = begin
        while at + from.count <= text.count {
            var i: Int = 0
            while i < from.count && text.points[at + i] == from[i] {
                i += 1
            }
            if i == from.count {
                return at
            }
            at += 1
        }
        return -1
    }
}

/// Spaces at the ends.
private struct StripStep: NormalizerStep {
    let left: Bool
    let right: Bool
    let spaces: PointSet

    func apply(_ text: Text) -> Text {
        var from: Int = 0
        var to: Int = text.count
        if left {
            while from < to && spaces.contains(text.points[from]) {
                from += 1
            }
        }
        if right {
            while to > from && spaces.contains(text.points[to - 1]) {
                to -= 1
            }
        }
        return text.part(from, to)
    }
}
