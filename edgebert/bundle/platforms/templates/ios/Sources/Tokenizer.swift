/// Tokens with their places in the text, in UTF-16 code units, and the number of the word that each belongs to.
final class Tokens {
    private(set) var ids: [Int] = []
    private(set) var starts: [Int] = []
    private(set) var ends: [Int] = []
    private(set) var words: [Int] = []

    /// Of an added token the spaces that were taken with it: its text is not that of the vocabulary.
    var blanks: [Int: Blanks] = [:]

    var count: Int {
        return ids.count
    }

    func add(_ id: Int, _ start: Int, _ end: Int, _ word: Int) {
        ids.append(id)
        starts.append(start)
        ends.append(end)
        words.append(word)
    }

    /// Drops the tokens from a number on.
    func cut(_ count: Int) {
        let more: Int = ids.count - count
        ids.removeLast(more)
        starts.removeLast(more)
        ends.removeLast(more)
        words.removeLast(more)
    }

    func setPlace(_ at: Int, _ start: Int, _ end: Int) {
        starts[at] = start
        ends[at] = end
    }
}

/// How many spaces a token begins and ends with.
struct Blanks {
    let left: Int
    let right: Int
}

/// Hugging Face's tokenizer of this package: the same ids and the same places.
final class Tokenizer {
    private static let byteSpace: Int = 0x120 // how a space's byte is written

    let single: [FrameItem]
    let pair: [FrameItem]
    private let normalizer: Normalizer
    private let preTokenizer: PreTokenizer
    private let subwords: Subwords
    private let exact: AddedTokens // found in the text as it is given
    private let normalized: AddedTokens // found in the normalized text
    private let trims: [Bool]
    private let blanks: [Int: Blanks] // of tokens that have some, where places are trimmed

    init(_ description: Json, _ file: Json) throws {
        let settings: Json = description["model"]
        let model: Json = file["model"]
        let normalizer: Normalizer = try Normalizer(try description.list("normalizer"))
        let trims: [Bool] = try description.list("trim_offsets").map { $0.isTrue }
        var words: PointSet? = nil
        if let table: String = description["word_characters"].asString {
            words = try PointSet(table)
        }
        let exact: AddedTokens = AddedTokens(words: words)
        let normalized: AddedTokens = AddedTokens(words: words)
        let added: [Json] = try file.list("added_tokens")
        for special in [true, false] {
            for token in added where token["special"].isTrue == special {
                let content: Text = Text(Array(try token.string("content").utf16))
                if try token.bool("normalized") {
                    try normalized.add(token, normalizer.apply(content))
                } else {
                    try exact.add(token, content)
                }
            }
        }
        var blanks: [Int: Blanks] = [:]
        if !trims.isEmpty {
            for entry in try model.entries("vocab") {
                let points: [Int] = Text.pointsOf(entry.key)
                let own: Blanks = Tokenizer.countBlanks(points, 0, points.count, Tokenizer.isBlank)
                if own.left > 0 || own.right > 0 {
                    blanks[Int(entry.value.asDouble ?? 0)] = own
                }
            }
        }
        self.single = try FrameItem.read(description, "single")
        self.pair = try FrameItem.read(description, "pair")
        self.normalizer = normalizer
        self.preTokenizer = try PreTokenizer(try description.list("pre_tokenizer"))
        self.subwords = try Tokenizer.readModel(settings, model)
        self.exact = exact
        self.normalized = normalized
        self.trims = trims
        self.blanks = blanks
    }

    private static func readModel(_ settings: Json, _ model: Json) throws -> Subwords {
        let type: String = try settings.string("type")
        switch type {
        case "WordPiece":
            return try WordPiece(settings, try model.entries("vocab"))
        case "BPE":
            return try BytePairs(settings, model)
        case "Unigram":
            return try Unigram(settings, model)
        default:
            throw EdgeModelError("this package does not know the tokenizer model '\(type)'")
        }
    }

    /// All tokens of a text, without a frame, uncut.
    func encode(_ text: [UInt16]) -> Tokens {
        let tokens: Tokens = Tokens()
        add(text, 0, tokens)
        return tokens
    }

    /// The same of words, each read by itself.
    func encodeWords(_ words: [[UInt16]]) -> Tokens {
        let tokens: Tokens = Tokens()
        for (i, word) in words.enumerated() {
            add(word, i, tokens)
        }
        return tokens
    }

    private func add(_ units: [UInt16], _ word: Int, _ tokens: Tokens) {
        let text: Text = Text(units)
        if exact.isEmpty {
            addNormalized(text, word, tokens)
            return
        }
        exact.split(text) { (from: Int, to: Int, id: Int) in
            if id == AddedTokens.none {
                self.addNormalized(text.part(from, to), word, tokens)
            } else {
                self.addAdded(text, from, to, id, word, tokens)
            }
        }
    }

    private func addNormalized(_ part: Text, _ word: Int, _ tokens: Tokens) {
        let text: Text = normalizer.apply(part)
        if normalized.isEmpty {
            addPieces(text, word, tokens)
            return
        }
        normalized.split(text) { (from: Int, to: Int, id: Int) in
            if id == AddedTokens.none {
                self.addPieces(text.part(from, to), word, tokens)
            } else {
                self.addAdded(text, from, to, id, word, tokens)
            }
        }
    }

    private func addPieces(_ text: Text, _ word: Int, _ tokens: Tokens) {
        preTokenizer.split(text) { (piece: Text, from: Int, to: Int) in
            self.subwords.add(piece, from, to, word, tokens)
        }
    }

    private func addAdded(_ text: Text, _ from: Int, _ to: Int, _ id: Int, _ word: Int, _ tokens: Tokens) {
        if !trims.isEmpty {
            tokens.blanks[tokens.count] = Tokenizer.countBlanks(text.points, from, to, isWhiteSpace)
        }
        tokens.add(id, text.starts[from], text.ends[to - 1], word)
    }

    private static func countBlanks(_ points: [Int], _ from: Int, _ to: Int, _ isOne: (Int) -> Bool) -> Blanks {
        var left: Int = 0
        while from + left < to && isOne(points[from + left]) {
            left += 1
        }
        var right: Int = 0
        while to - right > from && isOne(points[to - right - 1]) {
            right += 1
        }
        return Blanks(left: left, right: right)
    }

    private static func isBlank(_ point: Int) -> Bool {
        return point == byteSpace || isWhiteSpace(point)
    }

    /// Takes spaces off the places of the tokens of a window, as byte-level post-processors do: but not the one space that
    /// `add_prefix_space` has put before a first word. As many characters of the text are taken off as the token has spaces, even
    /// where it stands for another character's bytes.
    func trim(_ tokens: Tokens, _ text: [UInt16]) {
        for prefix in trims {
            for i in 0..<tokens.count {
                guard let known: Blanks = tokens.blanks[i] ?? blanks[tokens.ids[i]] else {
                    continue
                }
                var left: Int = known.left
                if prefix && left == 1 && (i == 0 || tokens.starts[i] == 0) {
                    left = 0
                }
                var start: Int = tokens.starts[i]
                while left > 0 && start < tokens.ends[i] {
                    start += Text.width(Text.pointAt(text, start))
                    left -= 1
                }
                tokens.setPlace(i, start, Tokenizer.trimmedEnd(text, start, tokens.ends[i], known.right))
            }
        }
    }

    private static func trimmedEnd(_ text: [UInt16], _ start: Int, _ end: Int, _ spaces: Int) -> Int {
        var result: Int = end
        for _ in 0..<spaces {
            if result == 0 {
                return end // the library leaves an end alone that it cannot move so far
            }
            result -= Text.width(Text.pointBefore(text, result))
        }
        return max(result, start)
    }
}

/// A token of a frame, or the place of a text in it.
struct FrameItem {
    let isToken: Bool
    let number: Int // the token's id, or 0 and 1 for the first and second text
    let type: Int

    static func read(_ description: Json, _ key: String) throws -> [FrameItem] {
        var results: [FrameItem] = []
        for item in try description.list(key) {
            let parts: [Json] = item.asList
            guard parts.count == 3, let kind: String = parts[0].asString, let number: Double = parts[1].asDouble,
                let type: Double = parts[2].asDouble
            else {
                throw EdgeModelError("the field '\(key)' is missing or is of another type")
            }
            results.append(FrameItem(isToken: kind == "token", number: Int(number), type: Int(type)))
        }
        return results
    }
}
