/// Words of a text, as the model's own data was split: at white space, ideographs alone, marks peeled off either end.
final class Words {
    private let spaces: PointSet
    private let marks: PointSet
    private let ideographs: PointSet
    private let combining: PointSet

    init(_ tables: Json) throws {
        spaces = try PointSet(try tables.string("spaces"))
        marks = try PointSet(try tables.string("marks"))
        ideographs = try PointSet(try tables.string("ideographs"))
        combining = try PointSet(try tables.string("combining"))
    }

    /// Start and end of each word, one after the other.
    func find(_ text: [UInt16]) -> [Int] {
        var places: [Int] = []
        var at: Int = 0
        while at < text.count {
            let point: Int = Text.pointAt(text, at)
            let next: Int = at + Text.width(point)
            if ideographs.contains(point) {
                places.append(at)
                places.append(next)
                at = next
            } else if spaces.contains(point) {
                at = next
            } else {
                var end: Int = next
                while end < text.count {
                    let following: Int = Text.pointAt(text, end)
                    if spaces.contains(following) || ideographs.contains(following) {
                        break
                    }
                    end += Text.width(following)
                }
                peel(text, at, end, &places)
                at = end
            }
        }
        return places
    }

    private func peel(_ text: [UInt16], _ start: Int, _ end: Int, _ places: inout [Int]) {
        var left: Int = start
        while left < end {
            let point: Int = Text.pointAt(text, left)
            if !marks.contains(point) {
                break
            }
            places.append(left)
            left += Text.width(point)
            places.append(left)
        }
        var right: Int = end
        while right > left {
            let point: Int = Text.pointBefore(text, right)
            if !marks.contains(point) {
                break
            }
            right -= Text.width(point)
        }
        if left < right {
            places.append(left)
            places.append(right)
        }
        while right < end {
            places.append(right)
            right += Text.width(Text.pointAt(text, right))
            places.append(right)
        }
    }

    /// The place of a token without the white space around it, and with the marks that belong to its last letter.
    func place(_ text: [UInt16], _ start: Int, _ end: Int) -> (Int, Int) {
        var from: Int = start
        var to: Int = end
        while from < to && spaces.contains(Int(text[from])) {
            from += 1
        }
        while to > from && spaces.contains(Int(text[to - 1])) {
            to -= 1
        }
        if from < to {
            while to < text.count {
                let point: Int = Text.pointAt(text, to)
                if !combining.contains(point) {
                    break
                }
                to += Text.width(point)
            }
        }
        return (from, to)
    }
}
