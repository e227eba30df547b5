/// A small reader of JSON. Objects keep their entries in order and apart: Swift holds texts for equal that differ in how a letter
/// and its mark are written, and a vocabulary has both.
enum Json {
    case object([JsonEntry])
    case array([Json])
    case text(String)
    case number(Double)
    case flag(Bool)
    case null

    static func read(_ bytes: [UInt8], _ name: String) throws -> Json {
        var reader: JsonReader = JsonReader(bytes: bytes, name: name)
        let result: Json = try reader.value(0)
        reader.blanks()
        if reader.at < bytes.count {
            throw reader.failure("something follows its end")
        }
        return result
    }

    /// What an object has under a name; null where it has nothing.
    subscript(key: String) -> Json {
        if case .object(let entries) = self {
            for entry in entries where entry.key == key {
                return entry.value
            }
        }
        return .null
    }

    func entries(_ key: String) throws -> [JsonEntry] {
        if case .object(let result) = self[key] {
            return result
        }
        throw wrongField(key)
    }

    func list(_ key: String) throws -> [Json] {
        if case .array(let result) = self[key] {
            return result
        }
        throw wrongField(key)
    }

    func string(_ key: String) throws -> String {
        if let result: String = self[key].asString {
            return result
        }
        throw wrongField(key)
    }

    func strings(_ key: String) throws -> [String] {
        var results: [String] = []
        for item in try list(key) {
            guard let text: String = item.asString else {
                throw wrongField(key)
            }
            results.append(text)
        }
        return results
    }

    func double(_ key: String) throws -> Double {
        if let result: Double = self[key].asDouble {
            return result
        }
        throw wrongField(key)
    }

    func int(_ key: String) throws -> Int {
        return Int(try double(key))
    }

    func ints(_ key: String) throws -> [Int] {
        var results: [Int] = []
        for item in try list(key) {
            guard let number: Double = item.asDouble else {
                throw wrongField(key)
            }
            results.append(Int(number))
        }
        return results
    }

    func bool(_ key: String) throws -> Bool {
        if case .flag(let result) = self[key] {
            return result
        }
        throw wrongField(key)
    }

    var asString: String? {
        if case .text(let result) = self {
            return result
        }
        return nil
    }

    var asDouble: Double? {
        if case .number(let result) = self {
            return result
        }
        return nil
    }

    var asList: [Json] {
        if case .array(let result) = self {
            return result
        }
        return []
    }

    var isTrue: Bool {
        if case .flag(let result) = self {
            return result
        }
        return false
    }

    private func wrongField(_ key: String) -> EdgeModelError {
        return EdgeModelError("the field '\(key)' is missing or is of another type")
    }
}

struct JsonEntry {
    let key: String
    let value: Json
}

private struct JsonReader {
    private static let deepest: Int = 200
    let bytes: [UInt8]
    let name: String
    var at: Int = 0

    init(bytes: [UInt8], name: String) {
        self.bytes = bytes
        self.name = name
    }

    func failure(_ why: String) -> EdgeModelError {
        return EdgeModelError("\(name) cannot be read: \(why), at byte \(at)")
    }

    mutating func value(_ depth: Int) throws -> Json {
        if depth > JsonReader.deepest {
            throw failure("it is nested too deeply")
        }
        blanks()
        if at >= bytes.count {
            throw failure("it ends too early")
        }
        switch bytes[at] {
        case 0x7B: // {
            return .object(try entries(depth))
        case 0x5B: // [
            return .array(try items(depth))
        case 0x22: // "
            return .text(try string())
        case 0x74: // t
            try word("true")
            return .flag(true)
        case 0x66: // f
            try word("false")
            return .flag(false)
        case 0x6E: // n
            try word("null")
            return .null
        default:
            return .number(try number())
        }
    }

    private mutating func entries(_ depth: Int) throws -> [JsonEntry] {
        var results: [JsonEntry] = []
        at += 1
        blanks()
        if peek(0x7D) {
            return results
        }
        while true {
            blanks()
            if at >= bytes.count || bytes[at] != 0x22 {
                throw failure("a name is missing")
            }
            let key: String = try string()
            blanks()
            if !peek(0x3A) {
                throw failure("a colon is missing")
            }
            results.append(JsonEntry(key: key, value: try value(depth + 1)))
            blanks()
            if peek(0x7D) {
                return results
            }
            if !peek(0x2C) {
                throw failure("a comma is missing")
            }
        }
    }

    private mutating func items(_ depth: Int) throws -> [Json] {
        var results: [Json] = []
        at += 1
        blanks()
        if peek(0x5D) {
            return results
        }
        while true {
            results.append(try value(depth + 1))
            blanks()
            if peek(0x5D) {
                return results
            }
            if !peek(0x2C) {
                throw failure("a comma is missing")
            }
        }
    }

    private mutating func string() throws -> String {
        at += 1
        var units: [UInt8] = []
        while true {
            let from: Int = at
            while at < bytes.count && bytes[at] != 0x22 && bytes[at] != 0x5C {
                at += 1
            }
            if at >= bytes.count {
                throw failure("a text has no end")
            }
            units.append(contentsOf: bytes[from..<at])
            if bytes[at] == 0x22 {
                at += 1
                return String(decoding: units, as: UTF8.self)
            }
            at += 1
            units.append(contentsOf: try escaped())
        }
    }

    /// The UTF-8 of an escape. Half of a surrogate pair becomes the replacement character: a String holds none.
    private mutating func escaped() throws -> [UInt8] {
        if at >= bytes.count {
            throw failure("a text has no end")
        }
        let letter: UInt8 = bytes[at]
        at += 1
        switch letter {
        case 0x6E:
            return [0x0A]
        case 0x74:
            return [0x09]
        case 0x72:
            return [0x0D]
        case 0x62:
            return [0x08]
        case 0x66:
            return [0x0C]
        case 0x22, 0x5C, 0x2F:
            return [letter]
        case 0x75:
            var units: [UInt16] = [try hexadecimal()]
            let isHigh: Bool = units[0] >= 0xD800 && units[0] < 0xDC00
            if isHigh && at + 1 < bytes.count && bytes[at] == 0x5C && bytes[at + 1] == 0x75 {
                let before: Int = at
                at += 2
                let second: UInt16 = try hexadecimal()
                if second >= 0xDC00 && second < 0xE000 {
                    units.append(second)
                } else {
                    at = before
                }
            }
            return Array(String(decoding: units, as: UTF16.self).utf8)
        default:
            throw failure("an unknown escape")
        }
    }

    private mutating func hexadecimal() throws -> UInt16 {
        var result: UInt16 = 0
        for _ in 0..<4 {
            let letter: UInt8 = at < bytes.count ? bytes[at] : 0
            var digit: UInt16 = 0
            switch letter {
            case 0x30...0x39:
                digit = UInt16(letter) - 0x30
            case 0x41...0x46:
                digit = UInt16(letter) - 0x41 + 10
            case 0x61...0x66:
                digit = UInt16(letter) - 0x61 + 10
            default:
                throw failure("a \\u is not followed by four digits")
            }
            result = result << 4 | digit
            at += 1
        }
        return result
    }

    private mutating func number() throws -> Double {
        let from: Int = at
        while at < bytes.count && isNumeric(bytes[at]) {
            at += 1
        }
        let digits: String = String(decoding: bytes[from..<at], as: UTF8.self)
        guard let result: Double = Double(digits) else {
            throw failure("'\(digits)' is no number")
        }
        return result
    }

    private func isNumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x2B, 0x2D, 0x2E, 0x45, 0x65:
            return true
        default:
            return false
        }
    }

    private mutating func word(_ word: String) throws {
        let letters: [UInt8] = Array(word.utf8)
        if at + letters.count > bytes.count || Array(bytes[at..<(at + letters.count)]) != letters {
            throw failure("a value is missing")
        }
        at += letters.count
    }

    private mutating func peek(_ byte: UInt8) -> Bool {
        if at >= bytes.count || bytes[at] != byte {
            return false
        }
        at += 1
        return true
    }

    mutating func blanks() {
        while at < bytes.count && (bytes[at] == 0x20 || bytes[at] == 0x0A || bytes[at] == 0x0D || bytes[at] == 0x09) {
            at += 1
        }
    }
}
