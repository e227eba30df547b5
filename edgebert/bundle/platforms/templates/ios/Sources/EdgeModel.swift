import Foundation

/// Runs the model on one window.
protocol Engine: AnyObject {
    /// The outputs by name, without their batch axis, row by row.
    func run(_ ids: [Int32], _ mask: [Int32], _ types: [Int32]) throws -> [String: [Float]]
}

/// A model with all that lies between a text and its answer. Open it once and keep it: it may be called from any thread, one call
/// at a time runs.
///
/// Each function of another task than the model's throws an `EdgeModelError` that names those which it has.
public final class EdgeModel: @unchecked Sendable {
    let pipeline: Pipeline
    private let engine: Engine
    private let lock: NSLock = NSLock()

    init(_ pipeline: Pipeline, _ engine: Engine) {
        self.pipeline = pipeline
        self.engine = engine
    }

    /// What this model offers: "entities(text)" and the like.
    public var calls: [String] {
        return pipeline.calls
    }

    /// Named entities. Empty where there are none.
    public func entities(_ text: String) throws -> [Entity] {
        if case .entities(let result) = try ask("ner", text, nil) {
            return result
        }
        return []
    }

    /// Every word with its tag.
    public func tag(_ text: String) throws -> [TaggedWord] {
        if case .tags(let result) = try ask("tag", text, nil) {
            return result
        }
        return []
    }

    /// The label and the next likeliest; of a model that gives several, those given, maybe none.
    public func classify(_ text: String) throws -> [ScoredLabel] {
        if case .labels(let result) = try ask("classify", text, nil) {
            return result
        }
        return []
    }

    /// The label of a pair of texts, and the next likeliest.
    public func classify(_ first: String, _ second: String) throws -> [ScoredLabel] {
        if case .labels(let result) = try ask("pair", first, second) {
            return result
        }
        return []
    }

    /// The vector of a text.
    public func embed(_ text: String) throws -> Embedding {
        if case .embedding(let result) = try ask("embed", text, nil) {
            return result
        }
        throw EdgeModelError("the model gave no vector")
    }

    /// The cosine of two texts' vectors, -1 to 1.
    public func similarity(_ first: String, _ second: String) throws -> Double {
        if case .similarity(let result) = try ask("similarity", first, second) {
            return result
        }
        throw EdgeModelError("the model gave no similarity")
    }

    /// The part of the context that answers the question; "" where the model says that there is none.
    public func answer(_ question: String, _ context: String) throws -> Answer {
        if case .answer(let result) = try ask("qa", question, context) {
            return result
        }
        throw EdgeModelError("the model gave no answer")
    }

    /// Of a model of several heads what each answers, by its name. A head that reads one text has no answer where the text has no
    /// words.
    public func answers(_ text: String, _ second: String? = nil) throws -> [String: HeadAnswer] {
        if !pipeline.isMulti || (second != nil) != pipeline.readsTwo {
            let call: String = second == nil ? "answers(text)" : "answers(text, second)"
            throw EdgeModelError("this model has no \(call); it has \(calls.joined(separator: ", "))")
        }
        let request: Request = pipeline.request(text, second)
        let windows: [Window] = pipeline.windows(request)
        return try pipeline.answers(request, windows, try windows.map { try run($0) })
    }

    /// The answer of the task, or of the only head, of a kind.
    private func ask(_ kind: String, _ first: String, _ second: String?) throws -> HeadAnswer {
        let head: Head = try pipeline.head(of: kind)
        let request: Request = pipeline.request(first, second)
        let windows: [Window] = try pipeline.windows(for: head, request)
        return try pipeline.answer(of: head, request, windows, try windows.map { try run($0) })
    }

    /// The outputs of a window. Where lengths are fixed it is padded to the shortest that it fits into, and they are cut back.
    func run(_ window: Window) throws -> [String: Output] {
        let count: Int = window.ids.count
        if count == 0 {
            throw EdgeModelError("the text has no tokens, which the model cannot run on")
        }
        let length: Int = try pipeline.length(for: count)
        let more: Int = length - count
        let ids: [Int32] = window.ids.map { Int32($0) } + [Int32](repeating: Int32(pipeline.padId), count: more)
        let mask: [Int32] = [Int32](repeating: 1, count: count) + [Int32](repeating: 0, count: more)
        let types: [Int32] = window.types.map { Int32($0) } + [Int32](repeating: 0, count: more)
        lock.lock()
        defer {
            lock.unlock()
        }
        let outputs: [String: [Float]] = try engine.run(ids, mask, types)
        var results: [String: Output] = [:]
        for (name, values) in outputs {
            let perToken: Bool = pipeline.isPerToken(name)
            let columns: Int = perToken ? values.count / length : values.count
            let kept: Int = perToken ? count * columns : columns
            results[name] = Output(values: values.prefix(kept).map { Double($0) }, columns: columns)
        }
        return results
    }
}
