package @PACKAGE@

/**
 * Characters whose places follow from how many of the source's each takes: 0 is its own, below 0 as many more, above 0 none,
 * it shares the place of the one before.
 */
private class Changes(capacity: Int) {
    var points = IntArray(capacity + 16)
    var changes = IntArray(capacity + 16)
    var size = 0

    fun add(point: Int, change: Int) {
        if (size == points.size) {
            points = points.copyOf(2 * size)
            changes = changes.copyOf(2 * size)
        }
        points[size] = point
        changes[size++] = change
    }

    fun placed(source: Text): Text {
        val result = Text(size + 16)
        var next = 0
        for (i in 0 until size) {
            val at = if (changes[i] > 0) next - 1 else next
            result.add(points[i], if (at < 0) 0 else source.starts[at], if (at < 0) 0 else source.ends[at])
            if (changes[i] <= 0) next += 1 - changes[i]
        }
        return result
    }
}

/** NFC, or NFKC by another table: characters are taken apart, marks are sorted, and what can be is joined again. */
internal class Recompose(
    private val table: PointMap,
    private val classes: PointValues,
    composed: PointMap,
) : NormalizerStep {
    private val pairs = HashMap<Long, Int>()

    init {
        val parts = Text(2)
        for (point in 0xA0 until 0x20000) {
            val run = composed.find(point)
            if (run < 0) continue
            parts.size = 0
            if (composed.add(run, point, 0, 0, parts) == 2) pairs[key(parts.points[0], parts.points[1])] = point
        }
    }

    override fun apply(text: Text): Text {
        val parts = apart(text)
        sort(parts)
        val result = Changes(parts.size)
        var head = -1 // of the characters written, the one that marks may join
        var last = 0 // class of the mark that stands between, 0 where none does
        for (i in 0 until parts.size) {
            val point = parts.points[i]
            val rank = classes[point]
            val free = head >= 0 && (head == result.size - 1 || (last != 0 && last < rank))
            val whole = if (free) joined(result.points[head], point) else -1
            if (whole >= 0) {
                result.points[head] = whole
                result.changes[head] += parts.changes[i] - 1
                continue
            }
            if (rank == 0) head = result.size
            last = rank
            result.add(point, parts.changes[i])
        }
        return result.placed(text)
    }

    /** Syllables stay whole: taken apart they would only be joined again. */
    private fun apart(text: Text): Changes {
        val result = Changes(text.size)
        val parts = Text(16)
        for (i in 0 until text.size) {
            val run = table.find(text.points[i])
            if (run < 0) {
                result.add(text.points[i], 0)
                continue
            }
            parts.size = 0
            table.add(run, text.points[i], 0, 0, parts)
            for (k in 0 until parts.size) result.add(parts.points[k], if (k == 0) 0 else 1)
        }
        return result
    }

    private fun sort(parts: Changes) {
        var at = 0
        while (at < parts.size) {
            var end = at
            while (end < parts.size && classes[parts.points[end]] != 0) end++
            if (end > at + 1) {
                val order = (at until end).sortedBy { classes[parts.points[it]] }
                val points = order.map { parts.points[it] }
                val changes = order.map { parts.changes[it] }
                for (k in order.indices) {
                    parts.points[at + k] = points[k]
                    parts.changes[at + k] = changes[k]
                }
            }
            at = maxOf(at + 1, end)
        }
    }

    /** Hangul by arithmetic, as Unicode's standard has it in section 3.12. */
    private fun joined(a: Int, b: Int): Int {
        if (a in 0x1100..0x1112 && b in 0x1161..0x1175) return 0xAC00 + ((a - 0x1100) * 21 + b - 0x1161) * 28
        val syllable = a - 0xAC00
        if (syllable in 0 until 11172 && syllable % 28 == 0 && b in 0x11A8..0x11C2) return a + b - 0x11A7
        return pairs[key(a, b)] ?: -1
    }

    private fun key(a: Int, b: Int): Long = (a.toLong() shl 21) or b.toLong()
}

/** SentencePiece's own normalizer: grapheme clusters of fewer than 6 bytes by their shortest known beginning, else each character. */
internal class Precompiled(step: Map<String, Any?>) : NormalizerStep {
    private val table = PointMap(step.text("table"))
    private val joining = PointSet(step.text("joining"))
    private val controls = PointSet(step.text("controls"))
    private val prepended = PointSet(step.text("prepended"))
    private val clusters = HashMap<String, IntArray>()
    private val scratch = Text(32)

    init {
        for ((key, text) in step.map("clusters")) clusters[key] = Text.pointsOf(text as String)
    }

    @Synchronized
    override fun apply(text: Text): Text {
        val result = Changes(text.size)
        var at = 0
        while (at < text.size) {
            var end = at + 1
            var size = bytes(text.points[at])
            while (end < text.size && joins(text.points[end - 1], text.points[end])) size += bytes(text.points[end++])
            val whole = if (end > at + 1 && size < SHORT) beginning(text, at, end) else null
            if (whole != null) {
                write(whole, whole.size, end - at, result)
            } else {
                for (i in at until end) single(text.points[i], result)
            }
            at = end
        }
        return result.placed(text)
    }

    /** What stands for the shortest beginning of a cluster that is known. */
    private fun beginning(text: Text, from: Int, to: Int): IntArray? {
        if (look(text.points[from])) return scratch.points.copyOf(scratch.size)
        val key = StringBuilder().appendCodePoint(text.points[from])
        for (i in from + 1 until to) clusters[key.appendCodePoint(text.points[i]).toString()]?.let { return it }
        return null
    }

    private fun single(point: Int, result: Changes) {
        if (look(point)) write(scratch.points, scratch.size, 1, result) else result.add(point, 0)
    }

    /** Writes what stands for a character into `scratch`; says whether anything does. */
    private fun look(point: Int): Boolean {
        val run = table.find(point)
        scratch.size = 0
        if (run >= 0) table.add(run, point, 0, 0, scratch)
        return run >= 0
    }

    /** Adds a text that takes the places of `n` characters. */
    private fun write(points: IntArray, size: Int, n: Int, result: Changes) {
        for (i in 0 until size) result.add(points[i], 0)
        val more = size - n
        for (i in 1..more) result.changes[result.size - i] = 1
        // What is removed counts to the character before it; at the very beginning the library forgets it.
        if (more < 0 && result.size > 0) result.changes[result.size - 1] += more
    }

    private fun joins(a: Int, b: Int): Boolean =
        (a == 13 && b == 10) || (b in joining && a !in controls) || (a in prepended && b !in controls)

    private fun bytes(point: Int): Int = if (point < 0x80) 1 else if (point < 0x800) 2 else if (point < 0x10000) 3 else 4

    private companion object {
        const val SHORT = 6
    }
}

/** Two and more spaces in a row for another text, which has the place of the last. */
internal class Spaces(private val to: IntArray) : NormalizerStep {
    override fun apply(text: Text): Text {
        val result = Text(text.size + 16)
        var at = 0
        while (at < text.size) {
            val first = at
            while (text.points[first] == SPACE && at + 1 < text.size && text.points[at + 1] == SPACE) at++
            if (at == first) {
                result.add(text.points[at], text.starts[at], text.ends[at])
            } else {
                for (point in to) result.add(point, text.starts[at], text.ends[at])
            }
            at++
        }
        return result
    }
}
