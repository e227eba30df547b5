/// From pieces of text to tokens.
protocol Subwords {
    func add(_ text: Text, _ from: Int, _ to: Int, _ word: Int, _ tokens: Tokens)
}

/// The longest token of the vocabulary that a word begins with, then the longest that continues it.
final class WordPiece: Subwords {
    private let most: Int
    private let unknown: Int
    private let trie: Trie
    private let inside: Int // the node behind the prefix of tokens that continue a word; -1 where there is no such token

    init(_ settings: Json, _ vocabulary: [JsonEntry]) throws {
        let trie: Trie = Trie(expected: 4 * vocabulary.count)
        for entry in vocabulary {
            guard let id: Double = entry.value.asDouble else {
                throw EdgeModelError("tokenizer.json: a token has no number")
            }
            trie.put(Text.pointsOf(entry.key), Int(id))
        }
        let unknown: Int = trie.find(Text.pointsOf(try settings.string("unk_token")))
        if unknown == Trie.none {
            throw EdgeModelError("tokenizer.json: the vocabulary lacks the unknown token")
        }
        var node: Int = Trie.root
        for point in Text.pointsOf(try settings.string("continuing_subword_prefix")) where node >= 0 {
            node = trie.next(node, point)
        }
        self.most = try settings.int("max_input_chars_per_word")
        self.unknown = unknown
        self.trie = trie
        self.inside = node
    }

    func add(_ text: Text, _ from: Int, _ to: Int, _ word: Int, _ tokens: Tokens) {
        let before: Int = tokens.count
        var start: Int = from
        while start < to && to - from <= most {
            var node: Int = start == from ? Trie.root : inside
            var end: Int = start
            var found: Int = Trie.none
            var at: Int = start
            while at < to && node >= 0 {
                node = trie.next(node, text.points[at])
                at += 1
                if node >= 0 && trie.value(node) != Trie.none {
                    found = trie.value(node)
                    end = at
                }
            }
            if found == Trie.none {
                break
            }
            tokens.add(found, text.starts[start], text.ends[end - 1], word)
            start = end
        }
        if start < to {
            // A word with a part that is not known is not known as a whole.
            tokens.cut(before)
            tokens.add(unknown, text.starts[from], text.ends[to - 1], word)
        }
    }
}
