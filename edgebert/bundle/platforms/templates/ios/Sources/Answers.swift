import Foundation

// What a model answers. Ranges count UTF-16 code units, as NSString and NSRange do; `indices(in:)` gives them for a String.

/// A named entity.
public struct Entity: Equatable {
    public let text: String
    public let type: String
    public let range: NSRange
}

/// A word with its tag.
public struct TaggedWord: Equatable {
    public let text: String
    public let tag: String
    public let range: NSRange
}

/// A label of the whole text with its probability, rounded to four digits. Nil is the class of texts that are about something
/// else, where it has no name.
public struct ScoredLabel: Equatable {
    public let label: String?
    public let score: Double
}

/// A part of the context that answers a question; without a range where there is no answer.
public struct AnswerSpan: Equatable {
    public let text: String
    public let range: NSRange?
    public let score: Double
}

/// The best answer, and the candidates, the best one first.
public struct Answer: Equatable {
    public let text: String
    public let range: NSRange?
    public let score: Double
    public let candidates: [AnswerSpan]
}

/// A vector, and the same in bytes: `values[i]` is about `Double(bytes[i]) * scale`.
public struct Embedding: Equatable {
    public let values: [Float]
    public let bytes: [Int8]
    public let scale: Double
}

/// What one head of a model of several answers.
public enum HeadAnswer: Equatable {
    case entities([Entity])
    case tags([TaggedWord])
    case labels([ScoredLabel])
    case embedding(Embedding)
    case similarity(Double)
    case answer(Answer)
}

/// What is wrong, in a sentence.
public struct EdgeModelError: Error, Equatable, CustomStringConvertible, LocalizedError {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }

    public var errorDescription: String? {
        return description
    }
}

extension NSRange {
    /// The same place in a String; nil where it does not lie in it.
    public func indices(in text: String) -> Range<String.Index>? {
        let units: String.UTF16View = text.utf16
        guard location != NSNotFound,
            let start: String.Index = units.index(units.startIndex, offsetBy: location, limitedBy: units.endIndex),
            let end: String.Index = units.index(start, offsetBy: length, limitedBy: units.endIndex)
        else {
            return nil
        }
        return start..<end
    }
}
