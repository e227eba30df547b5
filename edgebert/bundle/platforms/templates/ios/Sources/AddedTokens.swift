/// Takes the parts of a text in order: `id` is that of an added token, or -1 for what stands between them.
typealias Parts = (_ from: Int, _ to: Int, _ id: Int) -> Void

/// Tokens that are found in the text before any other rule: leftmost, of those the longest.
final class AddedTokens {
    static let none: Int = -1

    private struct Entry {
        let id: Int
        let alone: Bool
        let left: Bool
        let right: Bool
    }

    private let words: PointSet?
    private let trie: Trie = Trie(expected: 64)
    private var entries: [Entry] = []
    private var first: Set<Int> = []

    init(words: PointSet?) {
        self.words = words
    }

    var isEmpty: Bool {
        return entries.isEmpty
    }

    /// Of two tokens with one text the first is kept.
    func add(_ token: Json, _ content: Text) throws {
        if content.count == 0 {
            return
        }
        trie.put(content.points, entries.count)
        let entry: Entry = Entry(
            id: try token.int("id"),
            alone: try token.bool("single_word"),
            left: try token.bool("lstrip"),
            right: try token.bool("rstrip")
        )
        entries.append(entry)
        first.insert(content.points[0])
    }

    func split(_ text: Text, _ parts: Parts) {
        var done: Int = 0
        var at: Int = 0
        while at < text.count {
            if !first.contains(text.points[at]) {
                at += 1
                continue
            }
            var node: Int = Trie.root
            var length: Int = 0
            var found: Int = Trie.none
            var i: Int = at
            while i < text.count {
                node = trie.next(node, text.points[i])
                i += 1
                if node < 0 {
                    break
                }
                if trie.value(node) != Trie.none {
                    found = trie.value(node)
                    length = i - at
                }
            }
            if found == Trie.none {
                at += 1
                continue
            }
            let entry: Entry = entries[found]
            var start: Int = at
            var end: Int = at + length
            at = end
            if entry.alone && (isWord(text, start - 1) || isWord(text, end)) {
                continue
            }
            if entry.left {
                while start > done && isWhiteSpace(text.points[start - 1]) {
                    start -= 1
                }
            }
            if entry.right {
                while end < text.count && isWhiteSpace(text.points[end]) {
                    end += 1
                }
            }
            if done < start {
                parts(done, start, AddedTokens.none)
            }
            parts(start, end, entry.id)
            done = end
        }
        if done < text.count {
            parts(done, text.count, AddedTokens.none)
        }
    }

    private func isWord(_ text: Text, _ at: Int) -> Bool {
        guard let words: PointSet = words, at >= 0, at < text.count else {
            return false
        }
        return words.contains(text.points[at])
    }
}
