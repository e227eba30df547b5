import Foundation

/// The files that the package carries in its folder `Model`.
enum PackageFiles {
    static func folder() throws -> URL {
        let bundle: Bundle = Bundle.module
        var places: [URL] = [bundle.bundleURL]
        if let resources: URL = bundle.resourceURL {
            places.insert(resources, at: 0)
        }
        for place in places {
            let folder: URL = place.appendingPathComponent("Model")
            if FileManager.default.fileExists(atPath: folder.appendingPathComponent("edgebert.json").path) {
                return folder
            }
        }
        throw EdgeModelError("the package's folder Model is missing")
    }

    static func read(_ folder: URL, _ name: String) throws -> [UInt8] {
        guard let data: Data = try? Data(contentsOf: folder.appendingPathComponent(name)) else {
            throw EdgeModelError("\(name) is missing or cannot be read")
        }
        return [UInt8](data)
    }

    static func readJson(_ folder: URL, _ name: String) throws -> Json {
        return try Json.read(try read(folder, name), name)
    }

    /// Holds every file against the sha256 that `edgebert.json` says. A changed one is refused with its name.
    static func check(_ folder: URL, _ settings: Json) throws {
        for entry in try settings.entries("files") {
            let expected: String = try entry.value.string("sha256")
            let actual: String = Sha256.of(try read(folder, entry.key))
            if actual != expected {
                throw EdgeModelError("\(entry.key) was changed: its sha256 is \(actual), and edgebert.json says \(expected)")
            }
        }
    }
}
