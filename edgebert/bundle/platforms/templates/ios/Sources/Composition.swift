/// Characters whose places follow from how many of the source's each takes: 0 is its own, below 0 as many more, above 0 none, it
/// shares the place of the one before.
private final class Changes {
    var points: [Int] = []
    var changes: [Int] = []

    func add(_ point: Int, _ change: Int) {
        points.append(point)
        changes.append(change)
    }

    func placed(_ source: Text) -> Text {
        let result: Text = Text(capacity: points.count + 16)
        var next: Int = 0
        for i in 0..<points.count {
            let at: Int = changes[i] > 0 ? next - 1 : next
            result.add(points[i], at < 0 ? 0 : source.starts[at], at < 0 ? 0 : source.ends[at])
            if changes[i] <= 0 {
                next += 1 - changes[i]
            }
        }
        return result
    }
}

/// NFC, or NFKC by another table: characters are taken apart, marks are sorted, and what can be is joined again.
final class RecomposeStep: NormalizerStep {
    private let table: PointMap
    private let classes: PointValues
    private let pairs: [Int: Int]

    init(table: PointMap, classes: PointValues, composed: PointMap) {
        var pairs: [Int: Int] = [:]
        for point in 0xA0..<0x20000 {
            let run: Int = composed.find(point)
            if run < 0 {
                continue
            }
            let parts: Text = Text(capacity: 2)
            composed.add(run, point, 0, 0, parts)
            if parts.count == 2 {
                pairs[RecomposeStep.key(parts.points[0], parts.points[1])] = point
            }
        }
        self.table = table
        self.classes = classes
        self.pairs = pairs
    }

    func apply(_ text: Text) -> Text {
        let parts: Changes = apart(text)
        sort(parts)
        let result: Changes = Changes()
        var head: Int = -1 // of the characters written, the one that marks may join
        var last: Int = 0 // class of the mark that stands between, 0 where none does
        for i in 0..<parts.points.count {
            let point: Int = parts.points[i]
            let rank: Int = classes.value(point)
            let free: Bool = head >= 0 && (head == result.points.count - 1 || (last != 0 && last < rank))
            let whole: Int = free ? joined(result.points[head], point) : -1
            if whole >= 0 {
                result.points[head] = whole
                result.changes[head] += parts.changes[i] - 1
                continue
            }
            if rank == 0 {
                head = result.points.count
            }
            last = rank
            result.add(point, parts.changes[i])
        }
        return result.placed(text)
    }

    /// Syllables stay whole: taken apart they would only be joined again.
    private func apart(_ text: Text) -> Changes {
        let result: Changes = Changes()
        for i in 0..<text.count {
            let run: Int = table.find(text.points[i])
            if run < 0 {
                result.add(text.points[i], 0)
                continue
            }
            let parts: Text = Text(capacity: 4)
            table.add(run, text.points[i], 0, 0, parts)
            for (k, point) in parts.points.enumerated() {
                result.add(point, k == 0 ? 0 : 1)
            }
        }
        return result
    }

    private func sort(_ parts: Changes) {
        var at: Int = 0
        while at < parts.points.count {
            var end: Int = at
            while end < parts.points.count && classes.value(parts.points[end]) != 0 {
                end += 1
            }
            if end > at + 1 {
                var order: [Int] = []
                for i in at..<end {
                    order.append((classes.value(parts.points[i]) << 32) | i)
                }
                order.sort()
                let points: [Int] = order.map { parts.points[$0 & 0xFFFF_FFFF] }
                let changes: [Int] = order.map { parts.changes[$0 & 0xFFFF_FFFF] }
                for k in 0..<points.count {
                    parts.points[at + k] = points[k]
                    parts.changes[at + k] = changes[k]
                }
            }
            at = max(at + 1, end)
        }
    }

    /// Hangul by arithmetic, as Unicode's standard has it in section 3.12.
    private func joined(_ a: Int, _ b: Int) -> Int {
        if a >= 0x1100 && a <= 0x1112 && b >= 0x1161 && b <= 0x1175 {
            return 0xAC00 + ((a - 0x1100) * 21 + b - 0x1161) * 28
        }
        let syllable: Int = a - 0xAC00
        if syllable >= 0 && syllable < 11172 && syllable % 28 == 0 && b >= 0x11A8 && b <= 0x11C2 {
            return a + b - 0x11A7
        }
        return pairs[RecomposeStep.key(a, b)] ?? -1
    }

    private static func key(_ a: Int, _ b: Int) -> Int {
        return (a << 21) | b
    }
}

/// SentencePiece's own normalizer: grapheme clusters of fewer than 6 bytes by their shortest known beginning, else each character.
final class PrecompiledStep: NormalizerStep {
    private static let short: Int = 6
    private let table: PointMap
    private let joining: PointSet
    private let controls: PointSet
    private let prepended: PointSet
    private let clusters: Trie // numbers of `texts`
    private let texts: [[Int]]

    init(_ step: Json) throws {
        let entries: [JsonEntry] = try step.entries("clusters")
        let clusters: Trie = Trie(expected: 4 * entries.count)
        var texts: [[Int]] = []
        for entry in entries {
            clusters.put(Text.pointsOf(entry.key), texts.count)
            texts.append(Text.pointsOf(entry.value.asString ?? ""))
        }
        self.table = try PointMap(try step.string("table"))
        self.joining = try PointSet(try step.string("joining"))
        self.controls = try PointSet(try step.string("controls"))
        self.prepended = try PointSet(try step.string("prepended"))
        self.clusters = clusters
        self.texts = texts
    }

    func apply(_ text: Text) -> Text {
        let result: Changes = Changes()
        var at: Int = 0
        while at < text.count {
            var end: Int = at + 1
            var size: Int = bytes(text.points[at])
            while end < text.count && joins(text.points[end - 1], text.points[end]) {
                size += bytes(text.points[end])
                end += 1
            }
            var whole: [Int]? = nil
            if end > at + 1 && size < PrecompiledStep.short {
                whole = beginning(text, at, end)
            }
            if let whole: [Int] = whole {
                write(whole, end - at, result)
            } else {
                for i in at..<end {
                    if let single: [Int] = look(text.points[i]) {
                        write(single, 1, result)
                    } else {
                        result.add(text.points[i], 0)
                    }
                }
            }
            at = end
        }
        return result.placed(text)
    }

    /// What stands for the shortest beginning of a cluster that is known.
    private func beginning(_ text: Text, _ from: Int, _ to: Int) -> [Int]? {
        if let first: [Int] = look(text.points[from]) {
            return first
        }
        var node: Int = clusters.next(Trie.root, text.points[from])
        for i in (from + 1)..<to where node >= 0 {
            node = clusters.next(node, text.points[i])
            if node >= 0 && clusters.value(node) != Trie.none {
                return texts[clusters.value(node)]
            }
        }
        return nil
    }

    /// What stands for a character; nil where it stays.
    private func look(_ point: Int) -> [Int]? {
        let run: Int = table.find(point)
        if run < 0 {
            return nil
        }
        let result: Text = Text(capacity: 4)
        table.add(run, point, 0, 0, result)
        return result.points
    }

    /// Adds a text that takes the places of `count` characters.
    private func write(_ points: [Int], _ count: Int, _ result: Changes) {
        for point in points {
            result.add(point, 0)
        }
        let more: Int = points.count - count
        var i: Int = 1
        while i <= more {
            result.changes[result.changes.count - i] = 1
            i += 1
        }
        // What is removed counts to the character before it; at the very beginning the library forgets it.
        if more < 0 && !result.changes.isEmpty {
            result.changes[result.changes.count - 1] += more
        }
    }

    private func joins(_ a: Int, _ b: Int) -> Bool {
        if a == 13 && b == 10 {
            return true
        }
        if joining.contains(b) && !controls.contains(a) {
            return true
        }
        return prepended.contains(a) && !controls.contains(b)
    }

    private func bytes(_ point: Int) -> Int {
        if point < 0x80 {
            return 1
        }
        if point < 0x800 {
            return 2
        }
        return point < 0x10000 ? 3 : 4
    }
}

/// Two and more spaces in a row for another text, which has the place of the last.
struct SpacesStep: NormalizerStep {
    let to: [Int]

    func apply(_ text: Text) -> Text {
        let result: Text = Text(capacity: text.count + 16)
        var at: Int = 0
        while at < text.count {
            let first: Int = at
            while text.points[first] == space && at + 1 < text.count && text.points[at + 1] == space {
                at += 1
            }
            if at == first {
                result.add(text.points[at], text.starts[at], text.ends[at])
            } else {
                for point in to {
                    result.add(point, text.starts[at], text.ends[at])
                }
            }
            at += 1
        }
        return result
    }
}
