/// Of all ways to cut a piece into tokens the one of the highest sum of scores (Kudo 2018, arXiv 1804.10959).
final class Unigram: Subwords {
    private static let penalty: Double = 10
    private let unknown: Int
    private let trie: Trie
    private let scores: [Double]
    private let least: Double // of a character that no token is

    init(_ settings: Json, _ file: Json) throws {
        let vocabulary: [Json] = try file.list("vocab")
        var texts: [[Int]] = []
        var scores: [Double] = []
        for entry in vocabulary {
            let parts: [Json] = entry.asList
            guard parts.count == 2, let token: String = parts[0].asString, let score: Double = parts[1].asDouble else {
                throw EdgeModelError("tokenizer.json: a token has no score")
            }
            texts.append(Text.pointsOf(token))
            scores.append(score)
        }
        let trie: Trie = Trie(expected: 4 * vocabulary.count)
        // Of two tokens alike the later one counts, and a trie keeps what comes first.
        var id: Int = texts.count - 1
        while id >= 0 {
            trie.put(texts[id], id)
            id -= 1
        }
        self.unknown = try settings.int("unk_id")
        self.trie = trie
        self.scores = scores
        self.least = (scores.min() ?? 0) - Unigram.penalty
    }

    func add(_ text: Text, _ from: Int, _ to: Int, _ word: Int, _ tokens: Tokens) {
        let count: Int = to - from
        var best: [Double] = [Double](repeating: 0, count: count + 1)
        var begins: [Int] = [Int](repeating: -1, count: count + 1)
        var ids: [Int] = [Int](repeating: 0, count: count + 1)
        for start in 0..<count {
            var alone: Bool = false
            var node: Int = Trie.root
            var at: Int = start
            while at < count {
                node = trie.next(node, text.points[from + at])
                at += 1
                if node < 0 {
                    break
                }
                let id: Int = trie.value(node)
                if id == Trie.none {
                    continue
                }
                let score: Double = best[start] + scores[id]
                if begins[at] < 0 || score > best[at] {
                    best[at] = score
                    begins[at] = start
                    ids[at] = id
                }
                if at == start + 1 {
                    alone = true
                }
            }
            if !alone {
                let score: Double = best[start] + least
                if begins[start + 1] < 0 || score > best[start + 1] {
                    best[start + 1] = score
                    begins[start + 1] = start
                    ids[start + 1] = unknown
                }
            }
        }
        var cuts: [Int] = [] // the last one first
        var end: Int = count
        while end > 0 {
            cuts.append(end)
            end = begins[end]
        }
        end = 0
        while let cut: Int = cuts.popLast() {
            let start: Int = end
            end = cut
            var id: Int = ids[end]
            if id == unknown {
                // Neighbours that are not known are joined to one, which may be a token after all.
                while let next: Int = cuts.last, ids[next] == unknown {
                    end = next
                    cuts.removeLast()
                }
                id = spelled(text, from + start, from + end)
            }
            tokens.add(id, text.starts[from + start], text.ends[from + end - 1], word)
        }
    }

    private func spelled(_ text: Text, _ from: Int, _ to: Int) -> Int {
        let id: Int = trie.find(Array(text.points[from..<to]))
        return id == Trie.none ? unknown : id
    }
}
