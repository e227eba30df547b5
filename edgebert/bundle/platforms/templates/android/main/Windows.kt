package @PACKAGE@

/** What a model reads at once. `words`: of each token the word that it answers for, or -1. `starts`, `ends`: of each token of
 * a context its place, else -1. */
internal class Window(val ids: IntArray, val types: IntArray, val words: IntArray, val starts: IntArray, val ends: IntArray) {
    /** Of a model of several heads the one that reads it; "" where all that read one text do. */
    var head: String = ""
}

/** From texts to windows: frames, truncation, overlap. */
internal class Windows(private val tokenizer: Tokenizer, private val words: Words, private val maxLength: Int) {
    /** One window: the text cut to it. */
    fun cut(text: String): Window {
        val tokens = tokenizer.encode(text)
        return frame(tokenizer.single, tokens, 0, minOf(tokens.size, room(tokenizer.single)), tokens, 0, 0)
    }

    /** One window of two texts, of which the longer is cut first. */
    fun cut(first: String, second: String): Window {
        val a = tokenizer.encode(first)
        val b = tokenizer.encode(second)
        val room = room(tokenizer.pair)
        var shorter = minOf(a.size, b.size)
        var longer = maxOf(a.size, b.size)
        if (shorter + longer > room) {
            longer = if (shorter > room) shorter else maxOf(shorter, room - shorter)
            if (shorter + longer > room) {
                shorter = room / 2
                longer = shorter + room % 2
            }
        }
        val swapped = a.size > b.size
        return frame(tokenizer.pair, a, 0, if (swapped) longer else shorter, b, 0, if (swapped) shorter else longer)
    }

    /**
     * Windows over words that overlap by about a quarter. A word belongs to the window in which its first token has the most
     * context on its poorer side; a window that owns no word is left out.
     */
    fun ofWords(words: List<String>): List<Window> {
        val tokens = tokenizer.encodeWords(words)
        val room = room(tokenizer.single)
        val step = room - minOf(maxLength / 4, room - 1)
        val starts = ArrayList<Int>()
        var start = 0
        do {
            starts.add(start)
            start += step
        } while (starts.last() + room < tokens.size)
        val owner = IntArray(words.size) { NONE } // window of each word
        val context = IntArray(words.size)
        val begun = IntArray(words.size) { NONE } // the first token of each word
        for (i in tokens.size - 1 downTo 0) begun[tokens.words[i]] = i
        for ((k, from) in starts.withIndex()) {
            val to = minOf(from + room, tokens.size)
            for (i in from until to) {
                val word = tokens.words[i]
                if (begun[word] != i) continue
                val before = if (k > 0) i - from else Int.MAX_VALUE
                val after = if (k < starts.size - 1) to - 1 - i else Int.MAX_VALUE
                if (owner[word] == NONE || minOf(before, after) > context[word]) {
                    owner[word] = k
                    context[word] = minOf(before, after)
                }
            }
        }
        val results = ArrayList<Window>()
        for ((k, from) in starts.withIndex()) {
            val to = minOf(from + room, tokens.size)
            val mine = IntArray(to - from) { NONE }
            for (i in from until to) {
                val word = tokens.words[i]
                if (begun[word] == i && owner[word] == k) mine[i - from] = word
            }
            if (mine.any { it != NONE }) results.add(frame(tokenizer.single, tokens, from, to, tokens, 0, 0, mine))
        }
        return results
    }

    /** Windows of a question, which keeps at most half of one, and a part of a context. */
    fun ofContext(question: String, context: String, stride: Int): List<Window> {
        val room = room(tokenizer.pair)
        val half = room / 2
        val first = firstTokens(question, half)
        val second = tokenizer.encode(context)
        val free = room - first.size
        val shared = maxOf(0, minOf(if (stride > 0) stride else maxLength / 4, room - half - 1))
        val results = ArrayList<Window>()
        var from = 0
        while (true) {
            val to = minOf(from + free, second.size)
            results.add(contextWindow(first, second, from, to, context))
            if (to == second.size) return results
            from += free - shared
        }
    }

    private fun contextWindow(first: Tokens, second: Tokens, from: Int, to: Int, context: String): Window {
        val part = Tokens(to - from) // a copy, as trimming depends on where a window begins
        for (i in from until to) {
            second.spaces[i]?.let { part.spaces[i - from] = it }
            part.add(second.ids[i], second.starts[i], second.ends[i], 0)
        }
        tokenizer.trim(part, context)
        val window = frame(tokenizer.pair, first, 0, first.size, part, 0, part.size, null, true)
        for (i in window.ids.indices) {
            if (window.starts[i] < 0) continue
            val place = words.place(context, window.starts[i], window.ends[i])
            window.starts[i] = (place ushr 32).toInt()
            window.ends[i] = (place and 0xFFFFFFFFL).toInt()
        }
        return window
    }

    /** The tokens of a text up to number `most`, or fewer: one character may be several tokens. */
    private fun firstTokens(text: String, most: Int): Tokens {
        var kept = text
        while (true) {
            val tokens = tokenizer.encode(kept)
            if (tokens.size <= most) return tokens
            tokenizer.trim(tokens, kept)
            val last = kept.length - Text.width(Text.pointBefore(kept, kept.length))
            kept = kept.substring(0, minOf(tokens.ends[most - 1], last))
        }
    }

    private fun room(frame: List<Any?>): Int = maxOf(1, maxLength - frame.count { (it as List<*>)[0] == "token" })

    private fun frame(
        frame: List<Any?>, first: Tokens, from: Int, to: Int, second: Tokens, from2: Int, to2: Int,
        owned: IntArray? = null, placed: Boolean = false,
    ): Window {
        val size = frame.count { (it as List<*>)[0] == "token" } + to - from + to2 - from2
        val ids = IntArray(size)
        val types = IntArray(size)
        val words = IntArray(if (owned == null) 0 else size) { NONE }
        val starts = IntArray(if (placed) size else 0) { NONE }
        val ends = IntArray(if (placed) size else 0) { NONE }
        var at = 0
        for (item in frame) {
            val (kind, number, type) = item as List<*>
            val n = (number as Number).toInt()
            if (kind == "token") {
                ids[at] = n
                types[at++] = (type as Number).toInt()
                continue
            }
            val tokens = if (n == 0) first else second
            for (i in (if (n == 0) from else from2) until (if (n == 0) to else to2)) {
                ids[at] = tokens.ids[i]
                types[at] = (type as Number).toInt()
                if (owned != null) words[at] = owned[i - from]
                if (placed && n == 1) {
                    starts[at] = tokens.starts[i]
                    ends[at] = tokens.ends[i]
                }
                at++
            }
        }
        return Window(ids, types, words, starts, ends)
    }

    private companion object {
        const val NONE = -1
    }
}
