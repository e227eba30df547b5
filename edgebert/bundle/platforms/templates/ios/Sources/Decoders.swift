import Foundation

/// An output of the model for one text: rows of `columns` numbers.
struct Output {
    let values: [Double]
    let columns: Int
}

/// The texts that were asked about, and where the words of the first one stand.
struct Request {
    let first: [UInt16]
    let second: [UInt16]?
    let places: [Int]

    func words() -> [[UInt16]] {
        var results: [[UInt16]] = []
        var i: Int = 0
        while i < places.count {
            results.append(Array(first[places[i]..<places[i + 1]]))
            i += 2
        }
        return results
    }
}

/// From what the model computed for a text to the answer.
protocol AnswerDecoder {
    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer
}

func makeDecoder(_ task: Json) throws -> AnswerDecoder {
    let kind: String = try task.string("kind")
    let labels: [String] = try task.strings("labels")
    switch kind {
    case "ner":
        return EntityDecoder(labels: labels)
    case "tag":
        return TagDecoder(labels: labels)
    case "classify":
        return ClassDecoder(
            labels: labels,
            several: try task.bool("multi_label"),
            threshold: try task.double("threshold"),
            outside: try task.ints("outside"),
            outsideLabel: task["outside_label"].asString,
            kept: try task.int("kept")
        )
    case "pair":
        return PairDecoder(labels: labels, kept: try task.int("kept"))
    case "similarity":
        return SimilarityDecoder()
    case "embed":
        return EmbedDecoder()
    case "qa":
        return SpanDecoder(
            longest: try task.int("max_answer_tokens"),
            nBest: try task.int("n_best"),
            shortlist: try task.int("shortlist"),
            margin: task["no_answer"].asDouble
        )
    default:
        throw EdgeModelError("this package does not know answers of the kind '\(kind)'")
    }
}

private func output(_ outputs: [String: Output], _ name: String) throws -> Output {
    guard let result: Output = outputs[name] else {
        throw EdgeModelError("the model has no output '\(name)', only \(outputs.keys.sorted().joined(separator: ", "))")
    }
    return result
}

private func text(_ units: [UInt16], _ start: Int, _ end: Int) -> String {
    return String(decoding: units[start..<end], as: UTF16.self)
}

// ---------------------------------------------------------------- words

/// The best label of each word's first token; `fallback` for a word without tokens.
private func bestTags(
    _ count: Int, _ windows: [Window], _ outputs: [[String: Output]], _ labels: [String], _ fallback: String
) throws -> [String] {
    var tags: [String] = [String](repeating: fallback, count: count)
    for (window, own) in zip(windows, outputs) {
        let logits: Output = try output(own, "logits")
        for (token, word) in window.words.enumerated() {
            if word < 0 {
                continue
            }
            let row: Int = token * logits.columns
            var best: Int = 0
            for i in 0..<logits.columns where logits.values[row + i] > logits.values[row + best] {
                best = i
            }
            tags[word] = labels[best]
        }
    }
    return tags
}

private struct EntityDecoder: AnswerDecoder {
    let labels: [String]

    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let tags: [String] = try bestTags(request.places.count / 2, windows, outputs, labels, "O")
        var results: [Entity] = []
        var open: String? = nil
        for (i, tag) in tags.enumerated() {
            // Letter and type lie before and after the first dash.
            let bytes: [UInt8] = Array(tag.utf8)
            let dash: Int = bytes.firstIndex(of: 0x2D) ?? bytes.count
            let letter: String = String(decoding: bytes.prefix(dash), as: UTF8.self)
            let type: String = String(decoding: bytes.dropFirst(dash + 1), as: UTF8.self)
            if tag != "O" {
                var start: Int = request.places[2 * i]
                let end: Int = request.places[2 * i + 1]
                // A tag that continues nothing begins an entity: a user would rather see it than not.
                let continues: Bool = letter == "I" || letter == "M" || letter == "E" || letter == "L"
                if continues && type == open, let before: Entity = results.popLast() {
                    start = before.range.location
                }
                let range: NSRange = NSRange(location: start, length: end - start)
                results.append(Entity(text: text(request.first, start, end), type: type, range: range))
            }
            open = letter == "B" || letter == "I" || letter == "M" ? type : nil
        }
        return .entities(results)
    }
}

private struct TagDecoder: AnswerDecoder {
    let labels: [String]

    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let tags: [String] = try bestTags(request.places.count / 2, windows, outputs, labels, labels[0])
        var results: [TaggedWord] = []
        for (i, tag) in tags.enumerated() {
            let start: Int = request.places[2 * i]
            let end: Int = request.places[2 * i + 1]
            let range: NSRange = NSRange(location: start, length: end - start)
            results.append(TaggedWord(text: text(request.first, start, end), tag: tag, range: range))
        }
        return .tags(results)
    }
}

// ---------------------------------------------------------------- labels of a text

private func softmax(_ logits: [Double]) -> [Double] {
    let most: Double = logits.max() ?? 0
    let shares: [Double] = logits.map { exp($0 - most) }
    let total: Double = shares.reduce(0, +)
    return shares.map { $0 / total }
}

private func sigmoid(_ logits: [Double]) -> [Double] {
    var results: [Double] = []
    for logit in logits {
        let tail: Double = log1p(exp(-abs(logit)))
        let positive: Double = max(0, -logit)
        results.append(exp(-(positive + tail)))
    }
    return results
}

/// Numbers of the scores, the highest first; of equals, as they stand.
private func ranked(_ scores: [Double]) -> [Int] {
    return Array(0..<scores.count).sorted { (a: Int, b: Int) -> Bool in
        return scores[a] != scores[b] ? scores[a] > scores[b] : a < b
    }
}

/// To so many decimals: `unit` is 10 to their number.
private func rounded(_ value: Double, _ unit: Double) -> Double {
    return (value * unit).rounded(.toNearestOrEven) / unit
}

private struct ClassDecoder: AnswerDecoder {
    let labels: [String]
    let several: Bool
    let threshold: Double
    let outside: [Int]
    let outsideLabel: String?
    let kept: Int

    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let logits: [Double] = try output(outputs[0], "logits").values
        let scores: [Double] = several ? sigmoid(logits) : softmax(logits)
        if several {
            let given: [Int] = ranked(scores).filter { scores[$0] >= threshold }
            return .labels(given.map { ScoredLabel(label: labels[$0], score: rounded(scores[$0], 1e4)) })
        }
        let inside: [Int] = ranked(scores).filter { !outside.contains($0) }
        var results: [ScoredLabel] = []
        let confidence: Double = scores[inside[0]]
        var other: Double = 0
        for label in outside {
            other += scores[label]
        }
        if confidence < max(other, threshold) {
            results.append(ScoredLabel(label: outsideLabel, score: rounded(1 - confidence, 1e4)))
        }
        for label in inside.prefix(kept) {
            results.append(ScoredLabel(label: labels[label], score: rounded(scores[label], 1e4)))
        }
        return .labels(results)
    }
}

private struct PairDecoder: AnswerDecoder {
    let labels: [String]
    let kept: Int

    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let scores: [Double] = softmax(try output(outputs[0], "logits").values)
        return .labels(ranked(scores).prefix(kept).map { ScoredLabel(label: labels[$0], score: rounded(scores[$0], 1e4)) })
    }
}

// ---------------------------------------------------------------- vectors

private let vectorName: String = "sentence_embedding"

private struct SimilarityDecoder: AnswerDecoder {
    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let a: [Double] = try output(outputs[0], vectorName).values
        let b: [Double] = try output(outputs[1], vectorName).values
        var product: Double = 0
        var lengthA: Double = 0
        var lengthB: Double = 0
        for i in 0..<a.count {
            product += a[i] * b[i]
            lengthA += a[i] * a[i]
            lengthB += b[i] * b[i]
        }
        let norms: Double = lengthA.squareRoot() * lengthB.squareRoot()
        return .similarity(norms == 0 ? 0 : rounded(product / norms, 1e6))
    }
}

private struct EmbedDecoder: AnswerDecoder {
    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let vector: [Double] = try output(outputs[0], vectorName).values
        var largest: Double = 0
        for value in vector {
            largest = max(largest, abs(value))
        }
        let scale: Double = largest == 0 ? 1 : largest / 127
        let values: [Float] = vector.map { Float(rounded($0, 1e6)) }
        let bytes: [Int8] = vector.map { Int8(($0 / scale).rounded(.toNearestOrEven)) }
        return .embedding(Embedding(values: values, bytes: bytes, scale: rounded(scale, 1e9)))
    }
}

// ---------------------------------------------------------------- answers in a context

private struct Candidate {
    let start: Int
    let end: Int
    let score: Double
}

private struct SpanDecoder: AnswerDecoder {
    let longest: Int
    let nBest: Int
    let shortlist: Int
    let margin: Double? // nil never says that there is no answer

    func answer(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> HeadAnswer {
        let context: [UInt16] = request.second ?? []
        var found: [Candidate] = []
        var absent: Double = Double.infinity
        for (window, own) in zip(windows, outputs) {
            let starts: [Double] = try output(own, "start_logits").values
            let ends: [Double] = try output(own, "end_logits").values
            absent = min(absent, starts[0] + ends[0])
            found.append(contentsOf: spans(window, starts, ends))
        }
        var chosen: [Candidate] = distinct(found)
        let none: Candidate = Candidate(start: -1, end: -1, score: absent)
        if chosen.isEmpty {
            chosen = [none]
        } else if let margin: Double = margin {
            if absent - chosen[0].score > margin {
                chosen.insert(none, at: 0)
            } else {
                chosen.append(none)
            }
        }
        let shares: [Double] = softmax(chosen.map { $0.score })
        var results: [AnswerSpan] = []
        for (span, share) in zip(chosen, shares) {
            let score: Double = rounded(share, 1e4)
            if span.start < 0 {
                results.append(AnswerSpan(text: "", range: nil, score: score))
            } else {
                let range: NSRange = NSRange(location: span.start, length: span.end - span.start)
                results.append(AnswerSpan(text: text(context, span.start, span.end), range: range, score: score))
            }
        }
        let best: AnswerSpan = results[0]
        return .answer(Answer(text: best.text, range: best.range, score: best.score, candidates: results))
    }

    /// Windows overlap: a span counts once, with its best score.
    private func distinct(_ found: [Candidate]) -> [Candidate] {
        var results: [Candidate] = []
        for i in ranked(found.map { $0.score }) {
            let span: Candidate = found[i]
            var known: Bool = false
            for other in results where other.start == span.start && other.end == span.end {
                known = true
            }
            if !known {
                results.append(span)
            }
            if results.count == nBest {
                break
            }
        }
        return results
    }

    /// The best spans of a window: of the likeliest first and last tokens all pairs that are in order and not too long.
    private func spans(_ window: Window, _ starts: [Double], _ ends: [Double]) -> [Candidate] {
        let readable: [Int] = Array(0..<window.starts.count).filter { window.ends[$0] > window.starts[$0] }
        let firsts: [Int] = ranked(readable.map { starts[$0] }).prefix(shortlist).map { readable[$0] }
        let lasts: [Int] = ranked(readable.map { ends[$0] }).prefix(shortlist).map { readable[$0] }
        var pairs: [Candidate] = []
        for first in firsts {
            for last in lasts {
                let score: Double = starts[first] + ends[last]
                if last >= first && last - first < longest && score.isFinite {
                    pairs.append(Candidate(start: window.starts[first], end: window.ends[last], score: score))
                }
            }
        }
        return ranked(pairs.map { $0.score }).prefix(shortlist).map { pairs[$0] }
    }
}
