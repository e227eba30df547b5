/// What a model reads at once.
struct Window {
    var ids: [Int] = []
    var types: [Int] = []

    /// Of each token the word that it answers for, or -1; empty where no words are tagged.
    var words: [Int] = []

    /// Of each token of a context its place, else -1; empty where no context is read.
    var starts: [Int] = []
    var ends: [Int] = []

    /// Of a model of several heads the one that reads it; "" where all that read one text do.
    var head: String = ""
}

/// From texts to windows: frames, truncation, overlap.
final class Windows {
    private static let none: Int = -1
    private let tokenizer: Tokenizer
    private let words: Words
    private let maxLength: Int

    init(_ tokenizer: Tokenizer, _ words: Words, _ maxLength: Int) {
        self.tokenizer = tokenizer
        self.words = words
        self.maxLength = maxLength
    }

    /// One window: the text cut to it.
    func cut(_ text: [UInt16]) -> Window {
        let tokens: Tokens = tokenizer.encode(text)
        return frame(tokenizer.single, tokens, 0..<min(tokens.count, room(tokenizer.single)), nil, 0..<0, nil)
    }

    /// One window of two texts, of which the longer is cut first.
    func cut(_ first: [UInt16], _ second: [UInt16]) -> Window {
        let a: Tokens = tokenizer.encode(first)
        let b: Tokens = tokenizer.encode(second)
        let free: Int = room(tokenizer.pair)
        var shorter: Int = min(a.count, b.count)
        var longer: Int = max(a.count, b.count)
        if shorter + longer > free {
            longer = shorter > free ? shorter : max(shorter, free - shorter)
            if shorter + longer > free {
                shorter = free / 2
                longer = shorter + free % 2
            }
        }
        let swapped: Bool = a.count > b.count
        return frame(tokenizer.pair, a, 0..<(swapped ? longer : shorter), b, 0..<(swapped ? shorter : longer), nil)
    }

    /// Windows over words that overlap by about a quarter. A word belongs to the window in which its first token has the most
    /// context on its poorer side; a window that owns no word is left out.
    func ofWords(_ list: [[UInt16]]) -> [Window] {
        let tokens: Tokens = tokenizer.encodeWords(list)
        let free: Int = room(tokenizer.single)
        let step: Int = free - min(maxLength / 4, free - 1)
        var ranges: [Range<Int>] = []
        var start: Int = 0
        while true {
            ranges.append(start..<min(start + free, tokens.count))
            if start + free >= tokens.count {
                break
            }
            start += step
        }
        var begun: [Int] = [Int](repeating: Windows.none, count: list.count) // the first token of each word
        var i: Int = tokens.count - 1
        while i >= 0 {
            begun[tokens.words[i]] = i
            i -= 1
        }
        let owner: [Int] = owners(tokens, ranges, begun)
        var results: [Window] = []
        for (k, range) in ranges.enumerated() {
            var mine: [Int] = []
            var owns: Bool = false
            for token in range {
                let word: Int = tokens.words[token]
                let owned: Bool = begun[word] == token && owner[word] == k
                mine.append(owned ? word : Windows.none)
                owns = owns || owned
            }
            if owns {
                results.append(frame(tokenizer.single, tokens, range, nil, 0..<0, mine))
            }
        }
        return results
    }

    /// The window of each word.
    private func owners(_ tokens: Tokens, _ ranges: [Range<Int>], _ begun: [Int]) -> [Int] {
        var owner: [Int] = [Int](repeating: Windows.none, count: begun.count)
        var context: [Int] = [Int](repeating: 0, count: begun.count)
        for (k, range) in ranges.enumerated() {
            for token in range {
                let word: Int = tokens.words[token]
                if begun[word] != token {
                    continue
                }
                let before: Int = k > 0 ? token - range.lowerBound : Int.max
                let after: Int = k < ranges.count - 1 ? range.upperBound - 1 - token : Int.max
                if owner[word] == Windows.none || min(before, after) > context[word] {
                    owner[word] = k
                    context[word] = min(before, after)
                }
            }
        }
        return owner
    }

    /// Windows of a question, which keeps at most half of one, and a part of a context.
    func ofContext(_ question: [UInt16], _ context: [UInt16], _ stride: Int) -> [Window] {
        let free: Int = room(tokenizer.pair)
        let half: Int = free / 2
        let first: Tokens = firstTokens(question, half)
        let second: Tokens = tokenizer.encode(context)
        let rest: Int = free - first.count
        let shared: Int = max(0, min(stride > 0 ? stride : maxLength / 4, free - half - 1))
        var results: [Window] = []
        var from: Int = 0
        while true {
            let to: Int = min(from + rest, second.count)
            results.append(contextWindow(first, second, from..<to, context))
            if to == second.count {
                return results
            }
            from += rest - shared
        }
    }

    private func contextWindow(_ first: Tokens, _ second: Tokens, _ range: Range<Int>, _ context: [UInt16]) -> Window {
        let part: Tokens = Tokens() // a copy, as trimming depends on where a window begins
        for i in range {
            if let known: Blanks = second.blanks[i] {
                part.blanks[part.count] = known
            }
            part.add(second.ids[i], second.starts[i], second.ends[i], 0)
        }
        tokenizer.trim(part, context)
        var window: Window = frame(tokenizer.pair, first, 0..<first.count, part, 0..<part.count, nil)
        for item in tokenizer.pair {
            let isContext: Bool = !item.isToken && item.number == 1
            let count: Int = item.isToken ? 1 : (isContext ? part.count : first.count)
            for i in 0..<count {
                if isContext {
                    let place: (Int, Int) = words.place(context, part.starts[i], part.ends[i])
                    window.starts.append(place.0)
                    window.ends.append(place.1)
                } else {
                    window.starts.append(Windows.none)
                    window.ends.append(Windows.none)
                }
            }
        }
        return window
    }

    /// The tokens of a text up to number `most`, or fewer: one character may be several tokens.
    private func firstTokens(_ text: [UInt16], _ most: Int) -> Tokens {
        var kept: [UInt16] = text
        while true {
            let tokens: Tokens = tokenizer.encode(kept)
            if tokens.count <= most {
                return tokens
            }
            tokenizer.trim(tokens, kept)
            let last: Int = kept.count - Text.width(Text.pointBefore(kept, kept.count))
            let end: Int = most > 0 ? tokens.ends[most - 1] : 0
            kept = Array(kept[0..<min(end, last)])
        }
    }

    private func room(_ frame: [FrameItem]) -> Int {
        var free: Int = maxLength
        for item in frame where item.isToken {
            free -= 1
        }
        return max(1, free)
    }

    private func frame(
        _ items: [FrameItem], _ first: Tokens, _ range: Range<Int>, _ second: Tokens?, _ range2: Range<Int>, _ owned: [Int]?
    ) -> Window {
        var window: Window = Window()
        for item in items {
            if item.isToken {
                window.ids.append(item.number)
                window.types.append(item.type)
                if owned != nil {
                    window.words.append(Windows.none)
                }
                continue
            }
            let tokens: Tokens = item.number == 0 ? first : (second ?? first)
            let own: Range<Int> = item.number == 0 ? range : range2
            for i in own {
                window.ids.append(tokens.ids[i])
                window.types.append(item.type)
                if let owned: [Int] = owned {
                    window.words.append(owned[i - range.lowerBound])
                }
            }
        }
        return window
    }
}
