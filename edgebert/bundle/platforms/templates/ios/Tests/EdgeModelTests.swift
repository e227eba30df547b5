import Foundation
import XCTest

@testable import @NAME@

/// What lies around the model: calls, odd texts, ranges, files.
final class EdgeModelTests: XCTestCase {
    /// Gives zeros in the place of every output.
    private final class Zeros: Engine {
        let sizes: [String: Int]
        let perToken: Set<String>

        init(_ sizes: [String: Int], _ perToken: Set<String>) {
            self.sizes = sizes
            self.perToken = perToken
        }

        func run(_ ids: [Int32], _ mask: [Int32], _ types: [Int32]) throws -> [String: [Float]] {
            var results: [String: [Float]] = [:]
            for (name, size) in sizes {
                results[name] = [Float](repeating: 0, count: perToken.contains(name) ? size * ids.count : size)
            }
            return results
        }
    }

    private func openModel() throws -> EdgeModel {
        let folder: URL = try PackageFiles.folder()
        let settings: Json = try PackageFiles.readJson(folder, "edgebert.json")
        let pipeline: Pipeline = try Pipeline(settings, try PackageFiles.readJson(folder, "tokenizer.json"))
        var sizes: [String: Int] = [:]
        for output in try settings["model"].list("outputs") {
            let last: Json? = output["shape"].asList.last
            sizes[try output.string("name")] = Int(last?.asDouble ?? 1)
        }
        let perToken: Set<String> = Set(pipeline.outputNames.filter { pipeline.isPerToken($0) })
        return EdgeModel(pipeline, Zeros(sizes, perToken))
    }

    /// Asks what the model offers; the others must name it.
    private func ask(_ model: EdgeModel, _ text: String) throws -> Int {
        var answered: Int = 0
        let calls: [(String, () throws -> Void)] = [
            ("entities(text)", { _ = try model.entities(text) }),
            ("tag(text)", { _ = try model.tag(text) }),
            ("classify(text)", { _ = try model.classify(text) }),
            ("classify(first, second)", { _ = try model.classify(text, text) }),
            ("embed(text)", { _ = try model.embed(text) }),
            ("similarity(first, second)", { _ = try model.similarity(text, text) }),
            ("answer(question, context)", { _ = try model.answer(text, text) }),
            ("answers(text)", { _ = try model.answers(text) }),
            ("answers(text, second)", { _ = try model.answers(text, text) }),
        ]
        for (name, call) in calls {
            if model.calls.contains(name) {
                do {
                    try call()
                    answered += 1
                } catch let error as EdgeModelError {
                    XCTAssertTrue(error.description.hasPrefix("the text has no"), error.description)
                }
                continue
            }
            XCTAssertThrowsError(try call()) { (error: Error) in
                let message: String = (error as? EdgeModelError)?.description ?? ""
                XCTAssertTrue(message.contains("this model has no \(name); it has "), message)
            }
        }
        return answered
    }

    func testCallsThatTheModelLacksNameThoseItHas() throws {
        let model: EdgeModel = try openModel()
        XCTAssertEqual(try ask(model, "Denver to Boston 🙂"), model.calls.count)
    }

    func testOddTexts() throws {
        let model: EdgeModel = try openModel()
        for text in ["", " \n", "\u{301}\u{301}", "\u{0}", "🙂", String(repeating: "show me ", count: 12_500)] {
            _ = try ask(model, text)
        }
    }

    func testRangesOfStrings() {
        let text: String = "e\u{301}🙂 Denver"
        let range: NSRange = NSRange(location: 5, length: 6)
        XCTAssertEqual(range.indices(in: text).map { String(text[$0]) }, "Denver")
        XCTAssertEqual(NSRange(location: 2, length: 2).indices(in: text).map { String(text[$0]) }, "🙂")
        XCTAssertNil(NSRange(location: 9, length: 6).indices(in: text))
    }

    func testDigests() {
        let empty: String = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        XCTAssertEqual(Sha256.of([]), empty)
        XCTAssertEqual(Sha256.portable([]), empty)
        let letters: [UInt8] = Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)
        let expected: String = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        XCTAssertEqual(Sha256.of(letters), expected)
        XCTAssertEqual(Sha256.portable(letters), expected)
    }

    func testChangedFilesAreRefusedByName() throws {
        let folder: URL = try PackageFiles.folder()
        let bytes: [UInt8] = Array("{\"files\": {\"tokenizer.json\": {\"sha256\": \"0\"}}}".utf8)
        let settings: Json = try Json.read(bytes, "edgebert.json")
        XCTAssertThrowsError(try PackageFiles.check(folder, settings)) { (error: Error) in
            let message: String = (error as? EdgeModelError)?.description ?? ""
            XCTAssertTrue(message.hasPrefix("tokenizer.json was changed"), message)
        }
    }

    func testJson() throws {
        let text: String = "{\"a\": [1, -2.5e3, true, null], \"\\u00e9\\ud83d\\ude42\\n\": \"e\u{301}\"}"
        let json: Json = try Json.read(Array(text.utf8), "text")
        XCTAssertEqual(try json.list("a")[1].asDouble, -2500)
        XCTAssertEqual(json["\u{E9}🙂\n"].asString.map { Array($0.utf16) }, [0x65, 0x301])
        for wrong in ["{", "{\"a\" 1}", "[1,]", "{} x", "\"\\q\"", "nul"] {
            XCTAssertThrowsError(try Json.read(Array(wrong.utf8), "text"))
        }
    }
}
