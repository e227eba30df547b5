/// Code points, each with the place (start, end) in the given text that it comes from, in UTF-16 code units.
final class Text {
    private(set) var points: [Int] = []
    private(set) var starts: [Int] = []
    private(set) var ends: [Int] = []

    var count: Int {
        return points.count
    }

    init(capacity: Int) {
        points.reserveCapacity(capacity)
        starts.reserveCapacity(capacity)
        ends.reserveCapacity(capacity)
    }

    /// Half of a surrogate pair is read as a question mark, as Python's codec replaces it.
    init(_ units: [UInt16]) {
        points.reserveCapacity(units.count)
        starts.reserveCapacity(units.count)
        ends.reserveCapacity(units.count)
        var at: Int = 0
        while at < units.count {
            let point: Int = Text.pointAt(units, at)
            let next: Int = at + Text.width(point)
            add(point >= 0xD800 && point < 0xE000 ? 0x3F : point, at, next)
            at = next
        }
    }

    func add(_ point: Int, _ start: Int, _ end: Int) {
        points.append(point)
        starts.append(start)
        ends.append(end)
    }

    func addAll(_ other: Text, _ from: Int, _ to: Int) {
        points.append(contentsOf: other.points[from..<to])
        starts.append(contentsOf: other.starts[from..<to])
        ends.append(contentsOf: other.ends[from..<to])
    }

    /// A part, as a text of its own with the same places.
    func part(_ from: Int, _ to: Int) -> Text {
        if from == 0 && to == count {
            return self
        }
        let result: Text = Text(capacity: to - from)
        result.addAll(self, from, to)
        return result
    }

    func setPoint(_ at: Int, _ point: Int) {
        points[at] = point
    }

    func setPlace(_ at: Int, _ start: Int, _ end: Int) {
        starts[at] = start
        ends[at] = end
    }

    /// The code point at a place, half of a pair as it is.
    static func pointAt(_ units: [UInt16], _ at: Int) -> Int {
        let unit: Int = Int(units[at])
        if unit >= 0xD800 && unit < 0xDC00 && at + 1 < units.count {
            let low: Int = Int(units[at + 1])
            if low >= 0xDC00 && low < 0xE000 {
                return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
        }
        return unit
    }

    /// The code point that ends before a place.
    static func pointBefore(_ units: [UInt16], _ at: Int) -> Int {
        let unit: Int = Int(units[at - 1])
        if unit >= 0xDC00 && unit < 0xE000 && at > 1 {
            let high: Int = Int(units[at - 2])
            if high >= 0xD800 && high < 0xDC00 {
                return 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00)
            }
        }
        return unit
    }

    static func width(_ point: Int) -> Int {
        return point > 0xFFFF ? 2 : 1
    }

    static func pointsOf(_ text: String) -> [Int] {
        return text.unicodeScalars.map { Int($0.value) }
    }
}
