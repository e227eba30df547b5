#if canImport(CoreML)
import CoreML
import Foundation

// All that touches Core ML.

extension EdgeModel {
    /// Opens the model of this package. The first time Core ML compiles it, which takes seconds; the result is kept in the
    /// application's caches.
    ///
    /// - Parameters:
    ///   - computeUnits: that Core ML may use.
    ///   - verify: holds every file against its sha256 first; a changed one is refused with its name.
    public static func open(computeUnits: MLComputeUnits = .all, verify: Bool = true) async throws -> EdgeModel {
        let folder: URL = try PackageFiles.folder()
        let settings: Json = try PackageFiles.readJson(folder, "edgebert.json")
        if verify {
            try PackageFiles.check(folder, settings)
        }
        let pipeline: Pipeline = try Pipeline(settings, try PackageFiles.readJson(folder, "tokenizer.json"))
        let compiled: URL = try await compiledModel(folder.appendingPathComponent(pipeline.file), settings)
        var models: [Int: MLModel] = [:]
        let functions: Json = settings["model"]["functions"]
        for entry in try settings["model"].entries("functions") {
            let setting: MLModelConfiguration = try configuration(computeUnits, entry.key)
            models[try functions.int(entry.key)] = try MLModel(contentsOf: compiled, configuration: setting)
        }
        if models.isEmpty {
            let setting: MLModelConfiguration = try configuration(computeUnits, nil)
            models[CoreMLEngine.anyLength] = try MLModel(contentsOf: compiled, configuration: setting)
        }
        return EdgeModel(pipeline, CoreMLEngine(models, pipeline))
    }

    /// For a function of the model, which Core ML takes from iOS 18 and macOS 15 on and Xcode knows from 16 on; nil is its only one.
    private static func configuration(_ computeUnits: MLComputeUnits, _ function: String?) throws -> MLModelConfiguration {
        let result: MLModelConfiguration = MLModelConfiguration()
        result.computeUnits = computeUnits
        guard let name: String = function else {
            return result
        }
        #if compiler(>=6.0)
        if #available(iOS 18.0, macOS 15.0, *) {
            result.functionName = name
            return result
        }
        #endif
        throw EdgeModelError("\(name) of the model needs iOS 18 or macOS 15, and a package that Xcode 16 or later built")
    }

    /// The compiled model in the caches, named after the files that it was made of.
    private static func compiledModel(_ package: URL, _ settings: Json) async throws -> URL {
        var digests: String = ""
        for entry in try settings.entries("files") {
            digests += try entry.value.string("sha256")
        }
        let name: String = String(Sha256.of(Array(digests.utf8)).prefix(16))
        let manager: FileManager = FileManager.default
        let caches: URL = try manager.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let folder: URL = caches.appendingPathComponent("edgebert", isDirectory: true)
        let target: URL = folder.appendingPathComponent(name + ".mlmodelc", isDirectory: true)
        if manager.fileExists(atPath: target.path) {
            return target
        }
        let compiled: URL = try await MLModel.compileModel(at: package)
        try manager.createDirectory(at: folder, withIntermediateDirectories: true)
        do {
            try manager.moveItem(at: compiled, to: target)
        } catch {
            // Another call may have been first; otherwise the compiled model stays where Core ML put it.
            return manager.fileExists(atPath: target.path) ? target : compiled
        }
        return target
    }
}

final class CoreMLEngine: Engine {
    static let anyLength: Int = 0 // of a model that has one function for all

    private let models: [Int: MLModel] // by the length of the rows that they take
    private let inputNames: [String]
    private let outputNames: [String]

    init(_ models: [Int: MLModel], _ pipeline: Pipeline) {
        self.models = models
        self.inputNames = pipeline.inputNames
        self.outputNames = pipeline.outputNames
    }

    func run(_ ids: [Int32], _ mask: [Int32], _ types: [Int32]) throws -> [String: [Float]] {
        let rows: [String: [Int32]] = ["input_ids": ids, "attention_mask": mask, "token_type_ids": types]
        var given: [String: Any] = [:]
        for name in inputNames {
            guard let row: [Int32] = rows[name] else {
                throw EdgeModelError("the model has an unknown input '\(name)'")
            }
            given[name] = MLFeatureValue(multiArray: try CoreMLEngine.array(row))
        }
        guard let model: MLModel = models[ids.count] ?? models[CoreMLEngine.anyLength] else {
            let lengths: String = models.keys.sorted().map { String($0) }.joined(separator: ", ")
            throw EdgeModelError("the model has no function for rows of \(ids.count) tokens; it has those for \(lengths)")
        }
        let result: MLFeatureProvider = try model.prediction(from: try MLDictionaryFeatureProvider(dictionary: given))
        var outputs: [String: [Float]] = [:]
        for name in outputNames {
            guard let array: MLMultiArray = result.featureValue(for: name)?.multiArrayValue else {
                throw EdgeModelError("the model gave no output '\(name)'")
            }
            outputs[name] = CoreMLEngine.numbers(array)
        }
        return outputs
    }

    /// A row of tokens, (1, length).
    private static func array(_ row: [Int32]) throws -> MLMultiArray {
        let result: MLMultiArray = try MLMultiArray(shape: [1, NSNumber(value: row.count)], dataType: .int32)
        for i in 0..<row.count {
            result[i] = NSNumber(value: row[i])
        }
        return result
    }

    /// All numbers of an output, row by row. Core ML may leave gaps between its rows.
    private static func numbers(_ array: MLMultiArray) -> [Float] {
        let shape: [Int] = array.shape.map { $0.intValue }
        let strides: [Int] = array.strides.map { $0.intValue }
        let count: Int = shape.reduce(1, *)
        var results: [Float] = [Float](repeating: 0, count: count)
        let isFloat: Bool = array.dataType == .float32
        for i in 0..<count {
            var rest: Int = i
            var offset: Int = 0
            var index: [NSNumber] = []
            var axis: Int = shape.count - 1
            while axis >= 0 {
                let place: Int = rest % shape[axis]
                rest /= shape[axis]
                offset += place * strides[axis]
                if !isFloat {
                    index.insert(NSNumber(value: place), at: 0)
                }
                axis -= 1
            }
            if isFloat {
                results[i] = array.dataPointer.load(fromByteOffset: offset * MemoryLayout<Float>.stride, as: Float.self)
            } else {
                results[i] = array[index].floatValue
            }
        }
        return results
    }
}
#endif
