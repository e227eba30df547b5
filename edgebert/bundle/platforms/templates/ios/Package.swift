// swift-tools-version: 5.9
import PackageDescription

// The folder Model is copied as it is: a .mlpackage in it is compiled when it is first opened, so that every way of building gives
// the same, and Linux, which has no Core ML, builds the package, too.
let package = Package(
    name: "@NAME@",
    platforms: [.iOS("@IOS@"), .macOS("@MACOS@")],
    products: [
        .library(name: "@NAME@", targets: ["@NAME@"]),
    ],
    targets: [
        .target(name: "@NAME@", path: "Sources/@NAME@", resources: [.copy("Model")]),
        .testTarget(
            name: "@NAME@Tests",
            dependencies: ["@NAME@"],
            path: "Tests/@NAME@Tests",
            resources: [.copy("golden.jsonl")]
        ),
    ]
)
