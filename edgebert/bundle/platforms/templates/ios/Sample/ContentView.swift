#if canImport(SwiftUI) && canImport(CoreML)
import @NAME@
import SwiftUI

/// A text, a button and the answer with its time. Add this file to an app, and show `ContentView()`.
struct ContentView: View {
    @State private var first: String = ""
    @State private var second: String = ""
    @State private var answer: String = ""
    @State private var model: EdgeModel?

    var body: some View {
        VStack(alignment: .leading, spacing: 16) {
            TextField("@FIRST_HINT@", text: $first, axis: .vertical)
                .textFieldStyle(.roundedBorder)
@SECOND_FIELD@            Button("Ask") {
                Task {
                    await ask()
                }
            }
            .buttonStyle(.borderedProminent)
            .disabled(model == nil)
            Text(answer)
                .textSelection(.enabled)
            Spacer()
        }
        .padding()
        .task {
            do {
                model = try await EdgeModel.open()
            } catch {
                answer = error.localizedDescription
            }
        }
    }

    private func ask() async {
        guard let model: EdgeModel = model else {
            return
        }
        let a: String = first
        let b: String = second
        let begin: Date = Date()
        let shown: String = await Task.detached { () -> String in
            do {
                return try ContentView.read(model, a, b)
            } catch {
                return error.localizedDescription
            }
        }.value
        let milliseconds: Int = Int(Date().timeIntervalSince(begin) * 1000)
        answer = "\(shown)\n\n\(milliseconds) ms"
    }

    private nonisolated static func read(_ model: EdgeModel, _ first: String, _ second: String) throws -> String {
        return @CALL@
    }
}
#endif
