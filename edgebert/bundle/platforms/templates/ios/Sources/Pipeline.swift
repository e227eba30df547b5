/// A task, or a head of a model of several.
final class Head {
    let name: String
    let kind: String
    let stride: Int
    let decoder: AnswerDecoder

    init(_ task: Json, named name: String) throws {
        self.name = name
        self.kind = try task.string("kind")
        self.stride = Int(task["stride"].asDouble ?? 0)
        self.decoder = try makeDecoder(task)
    }

    var readsOne: Bool {
        return kind != "pair" && kind != "similarity" && kind != "qa"
    }

    var tagsWords: Bool {
        return kind == "ner" || kind == "tag"
    }

    /// The function that asks it.
    var call: String {
        return Head.calls[kind] ?? kind
    }

    static let calls: [String: String] = [
        "ner": "entities(text)",
        "tag": "tag(text)",
        "classify": "classify(text)",
        "pair": "classify(first, second)",
        "embed": "embed(text)",
        "similarity": "similarity(first, second)",
        "qa": "answer(question, context)",
    ]
}

/// What `edgebert.json` says of the model, and the way from a text to windows and from outputs to an answer.
final class Pipeline {
    let isMulti: Bool
    let readsTwo: Bool
    let maxLength: Int
    let padId: Int
    let tokenizer: Tokenizer
    let words: Words
    let file: String
    let inputNames: [String]
    let outputNames: [String]

    /// The lengths that the file has, rising; empty where it takes any up to the longest.
    let lengths: [Int]

    private let heads: [Head]
    private let carrier: Head? // of several heads the one whose windows all that read one text share
    private let cutter: Windows
    private let perToken: Set<String>

    init(_ settings: Json, _ tokenizerFile: Json) throws {
        let task: Json = settings["task"]
        let model: Json = settings["model"]
        let isMulti: Bool = try task.string("kind") == "multi"
        var heads: [Head] = []
        if isMulti {
            for head in try task.list("heads") {
                heads.append(try Head(head, named: try head.string("name")))
            }
        } else {
            heads.append(try Head(task, named: ""))
        }
        let tokenizer: Tokenizer = try Tokenizer(settings["tokenizer"], tokenizerFile)
        let words: Words = try Words(settings["words"])
        let maxLength: Int = try settings.int("max_length")
        let carrierName: String = task["carrier"].asString ?? ""
        self.isMulti = isMulti
        self.readsTwo = try task.list("inputs").count == 2
        self.maxLength = maxLength
        self.padId = try settings.int("pad_id")
        self.tokenizer = tokenizer
        self.words = words
        self.file = try model.string("file")
        self.inputNames = try model.list("inputs").map { try $0.string("name") }
        self.outputNames = try model.list("outputs").map { try $0.string("name") }
        self.lengths = try model.ints("lengths").sorted()
        self.heads = heads
        self.carrier = isMulti ? heads.first { $0.name == carrierName } : heads[0]
        self.cutter = Windows(tokenizer, words, maxLength)
        self.perToken = try Pipeline.readPerToken(model)
    }

    /// The outputs that have a row for each token.
    private static func readPerToken(_ model: Json) throws -> Set<String> {
        var length: String? = nil // how the file names the axis of tokens, where it varies
        if let first: Json = try model.list("inputs").first {
            let shape: [Json] = first["shape"].asList
            length = shape.count > 1 ? shape[1].asString : nil
        }
        var results: Set<String> = []
        for output in try model.list("outputs") {
            let name: String = try output.string("name")
            let shape: [Json] = output["shape"].asList
            if let length: String = length {
                if shape.count > 1 && shape[1].asString == length {
                    results.insert(name)
                }
            } else if name.hasSuffix("start_logits") || name.hasSuffix("end_logits") {
                results.insert(name)
            } else if name.hasSuffix("logits") && shape.count == 3 {
                results.insert(name)
            }
        }
        return results
    }

    var calls: [String] {
        var results: [String] = []
        for head in heads where !results.contains(head.call) {
            results.append(head.call)
        }
        if isMulti {
            results.append(readsTwo ? "answers(text, second)" : "answers(text)")
        }
        return results
    }

    /// The task, or the only head, of a kind.
    func head(of kind: String) throws -> Head {
        let found: [Head] = heads.filter { $0.kind == kind }
        let call: String = Head.calls[kind] ?? kind
        guard let first: Head = found.first else {
            throw EdgeModelError("this model has no \(call); it has \(calls.joined(separator: ", "))")
        }
        if found.count > 1 {
            let names: String = found.map { $0.name }.joined(separator: ", ")
            throw EdgeModelError("several heads have \(call): \(names); answers gives each by its name")
        }
        return first
    }

    func request(_ first: String, _ second: String?) -> Request {
        let units: [UInt16] = Array(first.utf16)
        var others: [UInt16]? = nil
        if let second: String = second {
            others = Array(second.utf16)
        }
        let splits: Bool = heads.contains { $0.tagsWords }
        return Request(first: units, second: others, places: splits ? words.find(units) : [])
    }

    // ------------------------------------------------------------ windows

    /// The windows of a text, in the order of the golden vectors.
    func windows(_ request: Request) -> [Window] {
        var results: [Window] = []
        for head in heads {
            if head.readsOne && head !== carrier {
                continue
            }
            for var window in windows(of: head, request) {
                window.head = head === carrier ? "" : head.name
                results.append(window)
            }
        }
        return results
    }

    /// The windows that one head alone reads.
    func windows(for head: Head, _ request: Request) throws -> [Window] {
        guard let carrier: Head = carrier, head.readsOne, head !== carrier else {
            return windows(of: head, request)
        }
        let shared: [Window] = Array(windows(of: carrier, request).prefix(1))
        if shared.isEmpty && !head.tagsWords {
            throw EdgeModelError("the text has no words")
        }
        return shared
    }

    private func windows(of head: Head, _ request: Request) -> [Window] {
        switch head.kind {
        case "ner", "tag":
            return cutter.ofWords(request.words())
        case "qa":
            return cutter.ofContext(request.first, request.second ?? [], head.stride)
        case "similarity":
            return [cutter.cut(request.first), cutter.cut(request.second ?? [])]
        case "pair":
            return [cutter.cut(request.first, request.second ?? [])]
        default:
            return [cutter.cut(request.first)]
        }
    }

    // ------------------------------------------------------------ answers

    /// Each head's answer by its name, which is "" for a model of one.
    func answers(_ request: Request, _ windows: [Window], _ outputs: [[String: Output]]) throws -> [String: HeadAnswer] {
        if !isMulti {
            return ["": try answer(of: heads[0], request, windows, outputs)]
        }
        var results: [String: HeadAnswer] = [:]
        for head in heads {
            let reads: String = head.readsOne ? "" : head.name
            var mine: [Int] = Array(0..<windows.count).filter { windows[$0].head == reads }
            if head.readsOne && head !== carrier {
                if mine.isEmpty {
                    continue
                }
                mine = [mine[0]]
            }
            results[head.name] = try answer(of: head, request, mine.map { windows[$0] }, mine.map { outputs[$0] })
        }
        return results
    }

    /// A head's answer; of several heads its outputs begin with its name.
    func answer(
        of head: Head, _ request: Request, _ windows: [Window], _ outputs: [[String: Output]]
    ) throws -> HeadAnswer {
        if !isMulti {
            return try head.decoder.answer(request, windows, outputs)
        }
        let prefix: String = head.name + "_"
        var own: [[String: Output]] = []
        for output in outputs {
            var kept: [String: Output] = [:]
            for (name, value) in output where name.hasPrefix(prefix) {
                kept[String(name.dropFirst(prefix.count))] = value
            }
            own.append(kept)
        }
        return try head.decoder.answer(request, windows, own)
    }

    // ------------------------------------------------------------ the file

    func length(for count: Int) throws -> Int {
        if lengths.isEmpty {
            return count
        }
        for length in lengths where length >= count {
            return length
        }
        throw EdgeModelError("a window of \(count) tokens fits none of the model's lengths, \(lengths)")
    }

    func isPerToken(_ name: String) -> Bool {
        return perToken.contains(name)
    }
}
