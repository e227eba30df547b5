import Foundation
import XCTest

@testable import @NAME@

/// Replays the golden vectors: of each text its tokens, words and windows, and the answer that follows from the outputs that the
/// file records. Where Core ML is, the model is run, too.
final class GoldenTests: XCTestCase {
    private let score: Double = 1.5e-4 // scores are rounded to four digits
    private let vector: Double = 2e-6 // vectors to six

    func testFilesAreUnchanged() throws {
        let folder: URL = try PackageFiles.folder()
        try PackageFiles.check(folder, try PackageFiles.readJson(folder, "edgebert.json"))
    }

    func testTextsAreReadAsInPython() throws {
        let pipeline: Pipeline = try openPipeline()
        let lines: [Json] = try readLines()
        XCTAssertFalse(lines.isEmpty)
        for (i, line) in lines.enumerated() {
            let name: String = line["class"].asString ?? ""
            try compare(pipeline, line, "line \(i + 1) (\(name))")
        }
    }

    #if canImport(CoreML)
    func testModelComputesWhatWasRecorded() async throws {
        let model: EdgeModel = try await EdgeModel.open(computeUnits: .cpuOnly)
        let folder: URL = try PackageFiles.folder()
        let tolerance: Json = try PackageFiles.readJson(folder, "edgebert.json")["tolerance"]
        for (i, line) in try readLines().enumerated() {
            let texts: [String] = try line.strings("texts")
            let request: Request = model.pipeline.request(texts[0], texts.count > 1 ? texts[1] : nil)
            let golden: [Json] = try line.list("windows")
            for (window, expected) in zip(model.pipeline.windows(request), golden) {
                let outputs: [String: Output] = try model.run(window)
                for entry in try expected.entries("outputs") {
                    let wanted: [Double] = readOutput(entry.value).values
                    let found: [Double] = outputs[entry.key]?.values ?? []
                    XCTAssertEqual(wanted.count, found.count, "line \(i + 1), \(entry.key)")
                    let largest: Double = wanted.map { abs($0) }.max() ?? 0
                    let limit: Double = max(try tolerance.double("absolute"), try tolerance.double("relative") * largest)
                    let worst: Double = zip(wanted, found).map { abs($0 - $1) }.max() ?? 0
                    XCTAssertLessThanOrEqual(worst, limit, "line \(i + 1), \(entry.key)")
                }
            }
        }
    }
    #endif

    private func openPipeline() throws -> Pipeline {
        let folder: URL = try PackageFiles.folder()
        let settings: Json = try PackageFiles.readJson(folder, "edgebert.json")
        return try Pipeline(settings, try PackageFiles.readJson(folder, "tokenizer.json"))
    }

    private func readLines() throws -> [Json] {
        let bundle: Bundle = Bundle.module
        var file: URL = bundle.bundleURL.appendingPathComponent("golden.jsonl")
        if let found: URL = bundle.url(forResource: "golden", withExtension: "jsonl") {
            file = found
        }
        let bytes: [UInt8] = [UInt8](try Data(contentsOf: file))
        return try bytes.split(separator: 0x0A).map { try Json.read(Array($0), "golden.jsonl") }
    }

    private func compare(_ pipeline: Pipeline, _ line: Json, _ place: String) throws {
        let texts: [String] = try line.strings("texts")
        var units: [[Int]] = [] // of each code point its UTF-16 code unit
        for text in texts {
            units.append(unitsOf(text))
        }
        for (i, expected) in try line.list("tokens").enumerated() {
            let text: [UInt16] = Array(texts[i].utf16)
            let tokens: Tokens = pipeline.tokenizer.encode(text)
            pipeline.tokenizer.trim(tokens, text)
            XCTAssertEqual(try expected.ints("ids"), tokens.ids, "\(place), ids")
            let offsets: [Int] = pairsOf(tokens.starts, tokens.ends)
            XCTAssertEqual(try flat(expected, "offsets", units[i]), offsets, "\(place), offsets")
        }
        let request: Request = pipeline.request(texts[0], texts.count > 1 ? texts[1] : nil)
        let words: [[UInt16]] = try line.strings("words").map { Array($0.utf16) }
        XCTAssertEqual(words, request.words(), "\(place), words")
        XCTAssertEqual(try flat(line, "offsets", units[0]), request.places, "\(place), places of words")
        let windows: [Window] = pipeline.windows(request)
        let golden: [Json] = try line.list("windows")
        XCTAssertEqual(golden.count, windows.count, "\(place), number of windows")
        let last: [Int] = units[units.count - 1]
        var outputs: [[String: Output]] = []
        for (window, expected) in zip(windows, golden) {
            XCTAssertEqual(try expected.ints("input_ids"), window.ids, "\(place), input_ids")
            XCTAssertEqual(try expected.ints("type_ids"), window.types, "\(place), type_ids")
            XCTAssertEqual(try expected.ints("words"), window.words, "\(place), words of tokens")
            XCTAssertEqual(try flat(expected, "spans", last), pairsOf(window.starts, window.ends), "\(place), spans")
            var own: [String: Output] = [:]
            for entry in try expected.entries("outputs") {
                own[entry.key] = readOutput(entry.value)
            }
            outputs.append(own)
        }
        if windows.count != golden.count {
            return
        }
        let answers: [String: HeadAnswer] = try pipeline.answers(request, windows, outputs)
        if pipeline.isMulti {
            let expected: [JsonEntry] = try line.entries("answer")
            XCTAssertEqual(expected.map { $0.key }.sorted(), answers.keys.sorted(), "\(place), heads")
            for entry in expected {
                compareAnswer(entry.value, answers[entry.key], units, "\(place), \(entry.key)")
            }
        } else {
            compareAnswer(line["answer"], answers[""], units, "\(place), answer")
        }
    }

    private func readOutput(_ golden: Json) -> Output {
        var values: [Double] = []
        var columns: Int = 1
        for row in golden.asList {
            if let number: Double = row.asDouble {
                values.append(number)
                continue
            }
            let numbers: [Double] = row.asList.map { $0.asDouble ?? Double.nan }
            columns = numbers.count
            values.append(contentsOf: numbers)
        }
        return Output(values: values, columns: columns)
    }

    /// `units`: of each text. Words stand in the first, answers in the last.
    private func compareAnswer(_ golden: Json, _ answer: HeadAnswer?, _ units: [[Int]], _ place: String) {
        let last: [Int] = units[units.count - 1]
        guard let answer: HeadAnswer = answer else {
            XCTFail("\(place): no answer")
            return
        }
        switch answer {
        case .entities(let found):
            XCTAssertEqual(golden.asList.count, found.count, place)
            for (expected, entity) in zip(golden.asList, found) {
                compareSpan(expected, entity.text, entity.range, units[0], place)
                compareText(expected["type"], entity.type, place)
            }
        case .tags(let found):
            XCTAssertEqual(golden.asList.count, found.count, place)
            for (expected, word) in zip(golden.asList, found) {
                compareSpan(expected, word.text, word.range, units[0], place)
                compareText(expected["tag"], word.tag, place)
            }
        case .labels(let found):
            XCTAssertEqual(golden.asList.count, found.count, place)
            for (expected, label) in zip(golden.asList, found) {
                compareText(expected["label"], label.label, place)
                compareNumber(expected["score"], label.score, score, place)
            }
        case .embedding(let found):
            compareVector(golden, found, place)
        case .similarity(let found):
            compareNumber(golden["similarity"], found, vector, place)
        case .answer(let found):
            compareSpan(golden, found.text, found.range, last, place)
            compareNumber(golden["score"], found.score, score, place)
            XCTAssertEqual(golden["candidates"].asList.count, found.candidates.count, place)
            for (expected, span) in zip(golden["candidates"].asList, found.candidates) {
                compareSpan(expected, span.text, span.range, last, place)
                compareNumber(expected["score"], span.score, score, place)
            }
        }
    }

    private func compareSpan(_ golden: Json, _ text: String, _ range: NSRange?, _ units: [Int], _ place: String) {
        compareText(golden["text"], text, place)
        var start: Int? = nil
        var end: Int? = nil
        if let first: Double = golden["start"].asDouble, let after: Double = golden["end"].asDouble {
            start = units[Int(first)]
            end = units[Int(after)]
        }
        XCTAssertEqual(start, range?.location, "\(place), start")
        XCTAssertEqual(end, range.map { $0.location + $0.length }, "\(place), end")
    }

    /// By code units: Swift holds texts for equal that differ in how a letter and its mark are written.
    private func compareText(_ golden: Json, _ text: String?, _ place: String) {
        let expected: [UInt16]? = golden.asString.map { Array($0.utf16) }
        let found: [UInt16]? = text.map { Array($0.utf16) }
        XCTAssertEqual(expected, found, place)
    }

    private func compareNumber(_ golden: Json, _ number: Double, _ tolerance: Double, _ place: String) {
        XCTAssertEqual(golden.asDouble ?? Double.nan, number, accuracy: tolerance, place)
    }

    private func compareVector(_ golden: Json, _ found: Embedding, _ place: String) {
        let values: [Json] = golden["vector"].asList
        XCTAssertEqual(values.count, found.values.count, place)
        for (expected, value) in zip(values, found.values) {
            compareNumber(expected, Double(value), vector, place)
        }
        let bytes: [Int] = golden["int8"]["values"].asList.map { Int($0.asDouble ?? 999) }
        XCTAssertEqual(bytes, found.bytes.map { Int($0) }, place)
        compareNumber(golden["int8"]["scale"], found.scale, 2e-9, place)
    }

    private func pairsOf(_ starts: [Int], _ ends: [Int]) -> [Int] {
        var results: [Int] = []
        for (start, end) in zip(starts, ends) {
            results.append(start)
            results.append(end)
        }
        return results
    }

    /// Places of a golden line, which count code points, in UTF-16 code units.
    private func flat(_ json: Json, _ key: String, _ units: [Int]) throws -> [Int] {
        var results: [Int] = []
        for pair in try json.list(key) {
            for item in pair.asList {
                let number: Int = Int(item.asDouble ?? -2)
                results.append(number < 0 ? number : units[number])
            }
        }
        return results
    }

    private func unitsOf(_ text: String) -> [Int] {
        var results: [Int] = [0]
        for scalar in text.unicodeScalars {
            results.append(results[results.count - 1] + (scalar.value > 0xFFFF ? 2 : 1))
        }
        return results
    }
}
