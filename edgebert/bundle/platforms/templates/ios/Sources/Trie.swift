/// Texts with a number each, found letter by letter: a table of (node, code point) to node.
final class Trie {
    static let root: Int = 0
    static let none: Int = -1

    private static let empty: Int = -1
    private var keys: [Int]
    private var targets: [Int]
    private var used: Int = 0
    private var values: [Int] = [Trie.none]

    init(expected: Int) {
        var size: Int = 16
        while size < 2 * expected {
            size *= 2
        }
        keys = [Int](repeating: Trie.empty, count: size)
        targets = [Int](repeating: 0, count: size)
    }

    /// Keeps the number that a text already has.
    func put(_ text: [Int], _ value: Int) {
        var node: Int = Trie.root
        for point in text {
            var following: Int = next(node, point)
            if following < 0 {
                following = values.count
                values.append(Trie.none)
                insert(key(node, point), following)
            }
            node = following
        }
        if values[node] == Trie.none {
            values[node] = value
        }
    }

    /// The node one letter on; -1 where there is none.
    func next(_ node: Int, _ point: Int) -> Int {
        let wanted: Int = key(node, point)
        let mask: Int = keys.count - 1
        var at: Int = slot(wanted, mask)
        while true {
            if keys[at] == wanted {
                return targets[at]
            }
            if keys[at] == Trie.empty {
                return -1
            }
            at = (at + 1) & mask
        }
    }

    /// The number of the text that ends at a node; `none` where none does.
    func value(_ node: Int) -> Int {
        return values[node]
    }

    /// The number of a whole text; `none` where it has none.
    func find(_ text: [Int]) -> Int {
        var node: Int = Trie.root
        for point in text {
            node = next(node, point)
            if node < 0 {
                return Trie.none
            }
        }
        return values[node]
    }

    private func key(_ node: Int, _ point: Int) -> Int {
        return (node << 21) | point
    }

    private func slot(_ key: Int, _ mask: Int) -> Int {
        return hashOf(key) & mask
    }

    private func insert(_ key: Int, _ target: Int) {
        if 2 * (used + 1) > keys.count {
            grow()
        }
        let mask: Int = keys.count - 1
        var at: Int = slot(key, mask)
        while keys[at] != Trie.empty {
            at = (at + 1) & mask
        }
        keys[at] = key
        targets[at] = target
        used += 1
    }

    private func grow() {
        let oldKeys: [Int] = keys
        let oldTargets: [Int] = targets
        keys = [Int](repeating: Trie.empty, count: 2 * oldKeys.count)
        targets = [Int](repeating: 0, count: 2 * oldKeys.count)
        used = 0
        for i in 0..<oldKeys.count where oldKeys[i] != Trie.empty {
            insert(oldKeys[i], oldTargets[i])
        }
    }
}

/// The upper half of a product with the golden ratio, from 0 on.
func hashOf(_ key: Int) -> Int {
    let product: UInt64 = UInt64(bitPattern: Int64(key)) &* 0x9E37_79B9_7F4A_7C15
    return Int(product >> 32)
}
