/// Takes a piece of a text, points `from` to `to`.
typealias Pieces = (_ text: Text, _ from: Int, _ to: Int) -> Void

/// A step of a pre-tokenizer: cuts a piece into smaller ones.
protocol Splitter {
    func split(_ text: Text, _ from: Int, _ to: Int, _ pieces: Pieces)
}

/// The steps that `edgebert.json` lists, each reading the pieces of the one before.
final class PreTokenizer {
    private let splitters: [Splitter]

    init(_ list: [Json]) throws {
        var splitters: [Splitter] = []
        for item in list {
            splitters.append(try PreTokenizer.read(item))
        }
        self.splitters = splitters
    }

    func split(_ text: Text, _ pieces: Pieces) {
        if text.count > 0 {
            split(0, text, 0, text.count, pieces)
        }
    }

    private func split(_ step: Int, _ text: Text, _ from: Int, _ to: Int, _ pieces: Pieces) {
        if step == splitters.count {
            pieces(text, from, to)
            return
        }
        splitters[step].split(text, from, to) { (part: Text, a: Int, b: Int) in
            self.split(step + 1, part, a, b, pieces)
        }
    }

    private static func read(_ step: Json) throws -> Splitter {
        let type: String = try step.string("type")
        switch type {
        case "bert":
            return BertSplitter(
                spaces: try PointSet(try step.string("spaces")),
                punctuation: try PointSet(try step.string("punctuation"))
            )
        case "whitespace":
            return SpaceSplitter(spaces: try PointSet(try step.string("spaces")))
        case "byte_level":
            return ByteLevel(
                letters: try PointSet(try step.string("letters")),
                numbers: try PointSet(try step.string("numbers")),
                spaces: try PointSet(try step.string("spaces")),
                prefix: try step.bool("add_prefix_space"),
                patterns: try step.bool("use_regex")
            )
        case "metaspace":
            guard let mark: Int = Text.pointsOf(try step.string("replacement")).first else {
                throw EdgeModelError("the field 'replacement' is empty")
            }
            return Metaspace(mark: mark, prepend: try step.string("prepend"), cuts: try step.bool("split"))
        default:
            throw EdgeModelError("this package does not know the pre-tokenizer step '\(type)'")
        }
    }
}

/// At spaces, which are dropped; a punctuation character is a piece of its own.
private struct BertSplitter: Splitter {
    let spaces: PointSet
    let punctuation: PointSet

    func split(_ text: Text, _ from: Int, _ to: Int, _ pieces: Pieces) {
        var start: Int = from
        for at in from..<to {
            let point: Int = text.points[at]
            let alone: Bool = punctuation.contains(point)
            if !alone && !spaces.contains(point) {
                continue
            }
            if at > start {
                pieces(text, start, at)
            }
            if alone {
                pieces(text, at, at + 1)
            }
            start = at + 1
        }
        if to > start {
            pieces(text, start, to)
        }
    }
}

/// At spaces, which are dropped.
private struct SpaceSplitter: Splitter {
    let spaces: PointSet

    func split(_ text: Text, _ from: Int, _ to: Int, _ pieces: Pieces) {
        var start: Int = from
        for at in from..<to {
            if !spaces.contains(text.points[at]) {
                continue
            }
            if at > start {
                pieces(text, start, at)
            }
            start = at + 1
        }
        if to > start {
            pieces(text, start, to)
        }
    }
}

/// A mark for each space, at which a piece begins, and one before the text where `prepend` says so.
private struct Metaspace: Splitter {
    let mark: Int
    let prepend: String
    let cuts: Bool

    func split(_ text: Text, _ from: Int, _ to: Int, _ pieces: Pieces) {
        let marked: Text = Text(capacity: to - from + 1)
        let first: Int = text.points[from] == space ? mark : text.points[from]
        let wanted: Bool = prepend == "always" || (prepend == "first" && text.starts[from] == 0)
        if first != mark && wanted {
            marked.add(mark, text.starts[from], text.ends[from])
        }
        for i in from..<to {
            marked.add(text.points[i] == space ? mark : text.points[i], text.starts[i], text.ends[i])
        }
        var start: Int = 0
        for at in 1..<max(1, marked.count) {
            if !cuts || marked.points[at] != mark {
                continue
            }
            pieces(marked, start, at)
            start = at
        }
        pieces(marked, start, marked.count)
    }
}

/// GPT-2's pieces, and their UTF-8 bytes as visible characters:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
private struct ByteLevel: Splitter {
    private enum Kind {
        case letters
        case numbers
        case spaces
        case others
    }

    let letters: PointSet
    let numbers: PointSet
    let spaces: PointSet
    let prefix: Bool
    let patterns: Bool

    /// Of each byte its character: itself where it can be seen in Latin-1, else the next from U+0100 on.
    private static let visible: [Int] = makeVisible()

    private static func makeVisible() -> [Int] {
        var results: [Int] = []
        var next: Int = 0x100
        for byte in 0..<256 {
            let seen: Bool = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE
            results.append(seen ? byte : next)
            if !seen {
                next += 1
            }
        }
        return results
    }

    func split(_ text: Text, _ from: Int, _ to: Int, _ pieces: Pieces) {
        var source: Text = text
        var at: Int = from
        var end: Int = to
        if prefix && text.points[from] != space {
            source = Text(capacity: to - from + 1)
            source.add(space, text.starts[from], text.ends[from])
            source.addAll(text, from, to)
            at = 0
            end = source.count
        }
        let bytes: Text = Text(capacity: (end - at) * 5 / 4 + 8)
        while at < end {
            let next: Int = patterns ? pieceEnd(source.points, at, end) : end
            let begin: Int = bytes.count
            for i in at..<next {
                addBytes(source.points[i], source.starts[i], source.ends[i], bytes)
            }
            pieces(bytes, begin, bytes.count)
            at = next
        }
    }

    private func pieceEnd(_ points: [Int], _ at: Int, _ end: Int) -> Int {
        let short: Int = contraction(points, at, end)
        if short > 0 {
            return at + short
        }
        var next: Int = at
        if points[at] == space && at + 1 < end && kind(points[at + 1]) != .spaces {
            next += 1
        }
        let first: Kind = kind(points[next])
        next += 1
        while next < end && kind(points[next]) == first {
            next += 1
        }
        // Of several spaces before a word the last one goes with the word.
        if first == .spaces && next < end && next - at > 1 {
            next -= 1
        }
        return next
    }

    private func contraction(_ points: [Int], _ at: Int, _ end: Int) -> Int {
        if points[at] != 0x27 || at + 1 >= end {
            return 0
        }
        let first: Int = points[at + 1]
        if first == 0x73 || first == 0x74 || first == 0x6D || first == 0x64 { // s, t, m, d
            return 2
        }
        if at + 2 >= end {
            return 0
        }
        let second: Int = points[at + 2]
        if second == 0x65 && (first == 0x72 || first == 0x76) { // re, ve
            return 3
        }
        return second == 0x6C && first == 0x6C ? 3 : 0 // ll
    }

    private func kind(_ point: Int) -> Kind {
        if letters.contains(point) {
            return .letters
        }
        if numbers.contains(point) {
            return .numbers
        }
        return spaces.contains(point) ? .spaces : .others
    }

    private func addBytes(_ point: Int, _ start: Int, _ end: Int, _ out: Text) {
        let visible: [Int] = ByteLevel.visible
        if point < 0x80 {
            out.add(visible[point], start, end)
            return
        }
        if point < 0x800 {
            out.add(visible[0xC0 | (point >> 6)], start, end)
        } else {
            if point < 0x10000 {
                out.add(visible[0xE0 | (point >> 12)], start, end)
            } else {
                out.add(visible[0xF0 | (point >> 18)], start, end)
                out.add(visible[0x80 | ((point >> 12) & 0x3F)], start, end)
            }
            out.add(visible[0x80 | ((point >> 6) & 0x3F)], start, end)
        }
        out.add(visible[0x80 | (point & 0x3F)], start, end)
    }
}
