package @PACKAGE@

/** Takes a piece of a text, points `from` to `to`. */
internal fun interface Pieces {
    fun take(text: Text, from: Int, to: Int)
}

/** A step of a pre-tokenizer: cuts a piece into smaller ones. */
internal interface Splitter {
    fun split(text: Text, from: Int, to: Int, pieces: Pieces)
}

/** The steps that `edgebert.json` lists, each reading the pieces of the one before. */
internal class PreTokenizer(steps: List<Map<String, Any?>>) {
    private val splitters: List<Splitter> = steps.map { read(it) }

    fun split(text: Text, pieces: Pieces) {
        if (text.size > 0) split(0, text, 0, text.size, pieces)
    }

    private fun split(step: Int, text: Text, from: Int, to: Int, pieces: Pieces) {
        if (step == splitters.size) {
            pieces.take(text, from, to)
        } else if (step == splitters.size - 1) {
            splitters[step].split(text, from, to, pieces)
        } else {
            splitters[step].split(text, from, to) { part, a, b -> split(step + 1, part, a, b, pieces) }
        }
    }

    private fun read(step: Map<String, Any?>): Splitter = when (val type = step.text("type")) {
        "bert" -> BertSplitter(PointSet(step.text("spaces")), PointSet(step.text("punctuation")))
        "whitespace" -> SpaceSplitter(PointSet(step.text("spaces")))
        "byte_level" -> ByteLevel(
            PointSet(step.text("letters")),
            PointSet(step.text("numbers")),
            PointSet(step.text("spaces")),
            step.flag("add_prefix_space"),
            step.flag("use_regex"),
        )
        "metaspace" -> Metaspace(Text.pointsOf(step.text("replacement"))[0], step.text("prepend"), step.flag("split"))
        else -> throw EdgeModelException("this package does not know the pre-tokenizer step '$type'")
    }
}

/** At spaces, which are dropped; a punctuation character is a piece of its own. */
private class BertSplitter(private val spaces: PointSet, private val punctuation: PointSet) : Splitter {
    override fun split(text: Text, from: Int, to: Int, pieces: Pieces) {
        var start = from
        for (at in from until to) {
            val point = text.points[at]
            val alone = point in punctuation
            if (!alone && point !in spaces) continue
            if (at > start) pieces.take(text, start, at)
            if (alone) pieces.take(text, at, at + 1)
            start = at + 1
        }
        if (to > start) pieces.take(text, start, to)
    }
}

/** At spaces, which are dropped. */
private class SpaceSplitter(private val spaces: PointSet) : Splitter {
    override fun split(text: Text, from: Int, to: Int, pieces: Pieces) {
        var start = from
        for (at in from until to) {
            if (text.points[at] !in spaces) continue
            if (at > start) pieces.take(text, start, at)
            start = at + 1
        }
        if (to > start) pieces.take(text, start, to)
    }
}

/** A mark for each space, at which a piece begins, and one before the text where `prepend` says so. */
private class Metaspace(private val mark: Int, private val prepend: String, private val cuts: Boolean) : Splitter {
    override fun split(text: Text, from: Int, to: Int, pieces: Pieces) {
        val marked = Text(to - from + 1)
        val first = if (text.points[from] == SPACE) mark else text.points[from]
        if (first != mark && (prepend == "always" || (prepend == "first" && text.starts[from] == 0))) {
            marked.add(mark, text.starts[from], text.ends[from])
        }
        for (i in from until to) {
            marked.add(if (text.points[i] == SPACE) mark else text.points[i], text.starts[i], text.ends[i])
        }
        var start = 0
        for (at in 1 until marked.size) {
            if (!cuts || marked.points[at] != mark) continue
            pieces.take(marked, start, at)
            start = at
        }
        pieces.take(marked, start, marked.size)
    }
}

/**
 * GPT-2's pieces, and their UTF-8 bytes as visible characters:
 * `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
 */
private class ByteLevel(
    private val letters: PointSet,
    private val numbers: PointSet,
    private val spaces: PointSet,
    private val prefix: Boolean,
    private val patterns: Boolean,
) : Splitter {
    override fun split(text: Text, from: Int, to: Int, pieces: Pieces) {
        var source = text
        var at = from
        var end = to
        if (prefix && text.points[from] != SPACE) {
            source = Text(to - from + 1)
            source.add(SPACE, text.starts[from], text.ends[from])
            source.addAll(text, from, to)
            at = 0
            end = source.size
        }
        val bytes = Text((end - at) * 5 / 4 + 8)
        while (at < end) {
            val next = if (patterns) pieceEnd(source.points, at, end) else end
            val begin = bytes.size
            for (i in at until next) addBytes(source.points[i], source.starts[i], source.ends[i], bytes)
            pieces.take(bytes, begin, bytes.size)
            at = next
        }
    }

    private fun pieceEnd(points: IntArray, at: Int, end: Int): Int {
        val short = contraction(points, at, end)
        if (short > 0) return at + short
        var next = at
        if (points[at] == SPACE && at + 1 < end && kind(points[at + 1]) != SPACES) next++
        val kind = kind(points[next])
        next++
        while (next < end && kind(points[next]) == kind) next++
        // Of several spaces before a word the last one goes with the word.
        if (kind == SPACES && next < end && next - at > 1) next--
        return next
    }

    private fun contraction(points: IntArray, at: Int, end: Int): Int {
        if (points[at] != '\''.code || at + 1 >= end) return 0
        val first = points[at + 1]
        if (first == 's'.code || first == 't'.code || first == 'm'.code || first == 'd'.code) return 2
        if (at + 2 >= end) return 0
        val second = points[at + 2]
        val known = (second == 'e'.code && (first == 'r'.code || first == 'v'.code)) || (second == 'l'.code && first == 'l'.code)
        return if (known) 3 else 0
    }

    private fun kind(point: Int): Int = when (point) {
        in letters -> LETTERS
        in numbers -> NUMBERS
        in spaces -> SPACES
        else -> OTHERS
    }

    private fun addBytes(point: Int, start: Int, end: Int, out: Text) {
        if (point < 0x80) {
            out.add(VISIBLE[point], start, end)
            return
        }
        if (point < 0x800) {
            out.add(VISIBLE[0xC0 or (point shr 6)], start, end)
        } else {
            if (point < 0x10000) {
                out.add(VISIBLE[0xE0 or (point shr 12)], start, end)
            } else {
                out.add(VISIBLE[0xF0 or (point shr 18)], start, end)
                out.add(VISIBLE[0x80 or (point shr 12 and 0x3F)], start, end)
            }
            out.add(VISIBLE[0x80 or (point shr 6 and 0x3F)], start, end)
        }
        out.add(VISIBLE[0x80 or (point and 0x3F)], start, end)
    }

    private companion object {
        const val LETTERS = 0
        const val NUMBERS = 1
        const val SPACES = 2
        const val OTHERS = 3

        /** Of each byte its character: itself where it can be seen in Latin-1, else the next from U+0100 on. */
        val VISIBLE: IntArray = run {
            var next = 0x100
            IntArray(256) { if (it in 0x21..0x7E || it in 0xA1..0xAC || it in 0xAE..0xFF) it else next++ }
        }
    }
}
