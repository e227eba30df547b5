/// A set of code points. Swift's own properties of Unicode are not asked: they change with its version.
final class PointSet {
    private let starts: [Int]
    private let ends: [Int] // the last of each run
    private let basic: [UInt64] // a bit for each code point of the basic plane

    init(_ table: String) throws {
        let numbers: [Int] = try Numbers.decode(table)
        var starts: [Int] = []
        var ends: [Int] = []
        var basic: [UInt64] = [UInt64](repeating: 0, count: 0x10000 / 64)
        var after: Int = 0
        var at: Int = 0
        while at + 1 < numbers.count {
            let start: Int = after + numbers[at]
            let end: Int = start + numbers[at + 1]
            starts.append(start)
            ends.append(end)
            after = end + 1
            at += 2
            var point: Int = start
            while point <= end && point < 0x10000 {
                basic[point >> 6] |= UInt64(1) << UInt64(point & 63)
                point += 1
            }
        }
        self.starts = starts
        self.ends = ends
        self.basic = basic
    }

    func contains(_ point: Int) -> Bool {
        if point < 0x10000 {
            return (basic[point >> 6] >> UInt64(point & 63)) & 1 != 0
        }
        return findRun(starts, ends, point) >= 0
    }
}

/// A whole number for some code points, 0 for the others.
final class PointValues {
    private let starts: [Int]
    private let ends: [Int]
    private let values: [Int]

    /// The lowest code point that has a value.
    let first: Int

    init(_ table: String) throws {
        let numbers: [Int] = try Numbers.decode(table)
        var starts: [Int] = []
        var ends: [Int] = []
        var values: [Int] = []
        var after: Int = 0
        var at: Int = 0
        while at + 2 < numbers.count {
            let start: Int = after + numbers[at]
            let end: Int = start + numbers[at + 1]
            starts.append(start)
            ends.append(end)
            values.append(numbers[at + 2])
            after = end + 1
            at += 3
        }
        self.first = starts.first ?? Int.max
        self.starts = starts
        self.ends = ends
        self.values = values
    }

    func value(_ point: Int) -> Int {
        if point < first {
            return 0
        }
        let run: Int = findRun(starts, ends, point)
        return run < 0 ? 0 : values[run]
    }
}

/// What a normalizer makes of each code point by itself.
final class PointMap {
    private static let removed: Int = 0
    private static let shifted: Int = 1
    private static let alternating: Int = 2
    private static let constant: Int = 3
    private static let spaced: Int = 4
    private static let listed: Int = 5
    private static let longest: Int = 64

    private let starts: [Int]
    private let ends: [Int]
    private let kinds: [Int]
    private let values: [Int] // shifted, alternating: the difference; constant, listed: where its texts begin in `pool`
    private let pool: [Int] // of each text its length and its code points
    private let changes: [Bool] // whether each of the first 256 code points changes

    init(_ table: String) throws {
        let numbers: [Int] = try Numbers.decode(table)
        var starts: [Int] = []
        var ends: [Int] = []
        var kinds: [Int] = []
        var values: [Int] = []
        var pool: [Int] = []
        var before: [Int] = [Int](repeating: 0, count: PointMap.longest)
        var after: Int = 0
        var at: Int = 0
        while at < numbers.count {
            let start: Int = after + numbers[at]
            let end: Int = start + numbers[at + 1]
            let kind: Int = numbers[at + 2]
            at += 3
            after = end + 1
            var value: Int = 0
            if kind == PointMap.shifted || kind == PointMap.alternating {
                value = Numbers.signed(numbers[at])
                at += 1
            } else if kind == PointMap.constant {
                value = pool.count
                let length: Int = numbers[at]
                pool.append(contentsOf: numbers[at...(at + length)])
                at += length + 1
            } else if kind == PointMap.listed {
                // The texts of a run have lengths of their own: a row of places comes first.
                value = pool.count
                pool.append(contentsOf: [Int](repeating: 0, count: end - start + 1))
                for i in 0...(end - start) {
                    pool[value + i] = pool.count
                    let length: Int = numbers[at]
                    at += 1
                    pool.append(length)
                    for place in 0..<length {
                        before[place] += Numbers.signed(numbers[at])
                        at += 1
                        pool.append(before[place])
                    }
                }
            } else if kind != PointMap.removed && kind != PointMap.spaced {
                throw EdgeModelError("edgebert.json: a table has runs of the unknown kind \(kind)")
            }
            starts.append(start)
            ends.append(end)
            kinds.append(kind)
            values.append(value)
        }
        var changes: [Bool] = [Bool](repeating: false, count: 256)
        for point in 0..<256 {
            let run: Int = findRun(starts, ends, point)
            changes[point] = run >= 0
        }
        self.starts = starts
        self.ends = ends
        self.kinds = kinds
        self.values = values
        self.pool = pool
        self.changes = changes
    }

    /// The run that changes a code point; -1 where it stays as it is.
    func find(_ point: Int) -> Int {
        if point < 256 && !changes[point] {
            return -1
        }
        let run: Int = findRun(starts, ends, point)
        if run >= 0 && kinds[run] == PointMap.alternating && (point - starts[run]) & 1 == 1 {
            return -1
        }
        return run
    }

    /// Adds what the run makes of a code point; all of it has the place (start, end).
    func add(_ run: Int, _ point: Int, _ start: Int, _ end: Int, _ out: Text) {
        let kind: Int = kinds[run]
        if kind == PointMap.removed {
            return
        }
        if kind == PointMap.shifted || kind == PointMap.alternating {
            out.add(point + values[run], start, end)
            return
        }
        if kind == PointMap.spaced {
            out.add(space, start, end)
            out.add(point, start, end)
            out.add(space, start, end)
            return
        }
        let at: Int = kind == PointMap.constant ? values[run] : pool[values[run] + point - starts[run]]
        var i: Int = 1
        while i <= pool[at] {
            out.add(pool[at + i], start, end)
            i += 1
        }
    }
}

let space: Int = 0x20

/// The run that holds a code point, -1 where none does.
func findRun(_ starts: [Int], _ ends: [Int], _ point: Int) -> Int {
    var low: Int = 0
    var high: Int = starts.count - 1
    while low <= high {
        let middle: Int = (low + high) / 2
        if point < starts[middle] {
            high = middle - 1
        } else if point > ends[middle] {
            low = middle + 1
        } else {
            return middle
        }
    }
    return -1
}

/// White space by Unicode's property, which has not changed since version 6.3.
func isWhiteSpace(_ point: Int) -> Bool {
    switch point {
    case 0x9...0xD, 0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000:
        return true
    default:
        return false
    }
}
