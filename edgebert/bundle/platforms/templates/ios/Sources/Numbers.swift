/// Whole numbers as short text: base 64 with five bits a character, the lowest first, the sixth bit set where more follow.
enum Numbers {
    private static let alphabet: [UInt8] = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func decode(_ text: String) throws -> [Int] {
        var digits: [Int] = [Int](repeating: -1, count: 256)
        for (i, letter) in alphabet.enumerated() {
            digits[Int(letter)] = i
        }
        var numbers: [Int] = []
        var value: Int = 0
        var shift: Int = 0
        for letter in text.utf8 {
            let digit: Int = digits[Int(letter)]
            if digit < 0 {
                throw EdgeModelError("edgebert.json: a table holds a character that is no digit of base 64")
            }
            value |= (digit & 31) << shift
            shift += 5
            if digit & 32 == 0 {
                numbers.append(value)
                value = 0
                shift = 0
            }
        }
        return numbers
    }

    /// A number that may be negative, which is written as 2n, or as -2n - 1 where n is below 0.
    static func signed(_ number: Int) -> Int {
        return number & 1 == 0 ? number >> 1 : -(number >> 1) - 1
    }
}
