/// Byte-pair encoding: of all neighbours that a merge names, the pair of the earliest merge is joined first.
final class BytePairs: Subwords {
    private static let none: Int = -1
    private static let empty: Int = -1

    private let single: [Int: Int] // tokens of one character
    private let unknown: Int
    private let joinUnknown: Bool
    private let keys: [Int]
    private let merges: [Int] // rank of the merge, and the token that it makes

    init(_ settings: Json, _ file: Json) throws {
        let vocabulary: [JsonEntry] = try file.entries("vocab")
        let trie: Trie = Trie(expected: 4 * vocabulary.count)
        var single: [Int: Int] = [:]
        for entry in vocabulary {
            guard let id: Double = entry.value.asDouble else {
                throw EdgeModelError("tokenizer.json: a token has no number")
            }
            let points: [Int] = Text.pointsOf(entry.key)
            trie.put(points, Int(id))
            if points.count == 1 {
                single[points[0]] = Int(id)
            }
        }
        var unknown: Int = BytePairs.none
        if let token: String = settings["unk_token"].asString {
            unknown = trie.find(Text.pointsOf(token))
        }
        let list: [Json] = try file.list("merges")
        var size: Int = 16
        while size < 3 * list.count {
            size *= 2
        }
        var keys: [Int] = [Int](repeating: BytePairs.empty, count: size)
        var merges: [Int] = [Int](repeating: 0, count: size)
        for (rank, merge) in list.enumerated() {
            let sides: [[Int]] = BytePairs.sidesOf(merge)
            if sides.count != 2 {
                throw EdgeModelError("tokenizer.json: merge \(rank) is not of two tokens")
            }
            let left: Int = trie.find(sides[0])
            let right: Int = trie.find(sides[1])
            let made: Int = trie.find(sides[0] + sides[1])
            if left == Trie.none || right == Trie.none || made == Trie.none {
                throw EdgeModelError("tokenizer.json: merge \(rank) has a token that the vocabulary lacks")
            }
            let key: Int = (left << 32) | right
            var at: Int = hashOf(key) & (size - 1)
            while keys[at] != BytePairs.empty && keys[at] != key {
                at = (at + 1) & (size - 1)
            }
            keys[at] = key
            merges[at] = (rank << 32) | made
        }
        self.single = single
        self.unknown = unknown
        self.joinUnknown = file["fuse_unk"].isTrue
        self.keys = keys
        self.merges = merges
    }

    private static func sidesOf(_ merge: Json) -> [[Int]] {
        if let text: String = merge.asString {
            return Text.pointsOf(text).split(separator: space, omittingEmptySubsequences: false).map { Array($0) }
        }
        return merge.asList.map { Text.pointsOf($0.asString ?? "") }
    }

    func add(_ text: Text, _ from: Int, _ to: Int, _ word: Int, _ tokens: Tokens) {
        var row: MergeRow = MergeRow()
        for at in from..<to {
            if let id: Int = single[text.points[at]] {
                row.add(id, at, at + 1)
            } else if unknown != BytePairs.none {
                row.addUnknown(unknown, at, joinUnknown)
            }
        }
        row.merge(self)
        for at in 0..<row.ids.count where row.ids[at] != BytePairs.none {
            tokens.add(row.ids[at], text.starts[row.from[at]], text.ends[row.to[at] - 1], word)
        }
    }

    /// Rank and token of the merge of two tokens; -1 where there is none.
    func find(_ left: Int, _ right: Int) -> Int {
        let key: Int = (left << 32) | right
        let mask: Int = keys.count - 1
        var at: Int = hashOf(key) & mask
        while true {
            if keys[at] == key {
                return merges[at]
            }
            if keys[at] == BytePairs.empty {
                return -1
            }
            at = (at + 1) & mask
        }
    }
}

/// The tokens of a piece as a linked list, and a heap of the merges that are possible: the earliest, then the leftmost.
private struct MergeRow {
    private static let none: Int = -1
    private static let low: Int = 0xFFFF_FFFF

    var ids: [Int] = []
    var from: [Int] = []
    var to: [Int] = []
    private var next: [Int] = []
    private var previous: [Int] = []
    private var heap: [Int] = []

    init() {}

    mutating func add(_ id: Int, _ start: Int, _ end: Int) {
        ids.append(id)
        from.append(start)
        to.append(end)
    }

    mutating func addUnknown(_ unknown: Int, _ at: Int, _ joined: Bool) {
        if joined && ids.last == unknown {
            to[to.count - 1] = at + 1
        } else {
            add(unknown, at, at + 1)
        }
    }

    mutating func merge(_ pairs: BytePairs) {
        let count: Int = ids.count
        for i in 0..<count {
            next.append(i + 1 < count ? i + 1 : MergeRow.none)
            previous.append(i - 1)
        }
        for i in 0..<count where i + 1 < count {
            offer(i, pairs)
        }
        while !heap.isEmpty {
            let best: Int = take()
            let at: Int = best & MergeRow.low
            if ids[at] == MergeRow.none || next[at] == MergeRow.none {
                continue
            }
            let right: Int = next[at]
            let found: Int = pairs.find(ids[at], ids[right])
            if found < 0 || found >> 32 != best >> 32 {
                continue // its tokens have gone into others since
            }
            ids[at] = found & MergeRow.low
            to[at] = to[right]
            ids[right] = MergeRow.none
            next[at] = next[right]
            if next[at] != MergeRow.none {
                previous[next[at]] = at
            }
            if previous[at] != MergeRow.none {
                offer(previous[at], pairs)
            }
            if next[at] != MergeRow.none {
                offer(at, pairs)
            }
        }
    }

    private mutating func offer(_ at: Int, _ pairs: BytePairs) {
        let found: Int = pairs.find(ids[at], ids[next[at]])
        if found < 0 {
            return
        }
        let entry: Int = ((found >> 32) << 32) | at
        heap.append(entry)
        var child: Int = heap.count - 1
        while child > 0 && heap[(child - 1) / 2] > entry {
            heap[child] = heap[(child - 1) / 2]
            child = (child - 1) / 2
        }
        heap[child] = entry
    }

    private mutating func take() -> Int {
        let result: Int = heap[0]
        let last: Int = heap.removeLast()
        if heap.isEmpty {
            return result
        }
        var hole: Int = 0
        while true {
            var child: Int = 2 * hole + 1
            if child >= heap.count {
                break
            }
            if child + 1 < heap.count && heap[child + 1] < heap[child] {
                child += 1
            }
            if heap[child] >= last {
                break
            }
            heap[hole] = heap[child]
            hole = child
        }
        heap[hole] = last
        return result
    }
}
