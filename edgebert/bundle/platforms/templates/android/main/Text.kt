package @PACKAGE@

/** Code points, each with the place (start, end) in the given text that it comes from, in UTF-16 code units. */
internal class Text(capacity: Int) {
    var points = IntArray(capacity)
    var starts = IntArray(capacity)
    var ends = IntArray(capacity)
    var size = 0

    fun add(point: Int, start: Int, end: Int) {
        if (size == points.size) {
            val larger = 2 * size + 16
            points = points.copyOf(larger)
            starts = starts.copyOf(larger)
            ends = ends.copyOf(larger)
        }
        points[size] = point
        starts[size] = start
        ends[size] = end
        size++
    }

    /** A part, as a text of its own with the same places. */
    fun part(from: Int, to: Int): Text {
        if (from == 0 && to == size) return this
        val result = Text(to - from)
        result.addAll(this, from, to)
        return result
    }

    fun addAll(other: Text, from: Int, to: Int) {
        val needed = size + to - from
        if (needed > points.size) {
            points = points.copyOf(needed)
            starts = starts.copyOf(needed)
            ends = ends.copyOf(needed)
        }
        other.points.copyInto(points, size, from, to)
        other.starts.copyInto(starts, size, from, to)
        other.ends.copyInto(ends, size, from, to)
        size = needed
    }

    companion object {
        /** Half of a surrogate pair is read as a question mark, as Python's codec replaces it. */
        fun of(text: String): Text {
            val result = Text(text.length)
            var at = 0
            while (at < text.length) {
                val unit = text[at]
                if (unit.isHighSurrogate() && at + 1 < text.length && text[at + 1].isLowSurrogate()) {
                    result.add(pointOf(unit, text[at + 1]), at, at + 2)
                    at += 2
                } else {
                    result.add(if (unit.isSurrogate()) '?'.code else unit.code, at, at + 1)
                    at++
                }
            }
            return result
        }

        fun pointOf(high: Char, low: Char): Int = 0x10000 + ((high.code - 0xD800) shl 10) + (low.code - 0xDC00)

        /** The code point at a place, half of a pair as it is. */
        fun pointAt(text: String, at: Int): Int {
            val unit = text[at]
            val pair = unit.isHighSurrogate() && at + 1 < text.length && text[at + 1].isLowSurrogate()
            return if (pair) pointOf(unit, text[at + 1]) else unit.code
        }

        /** The code point that ends before a place. */
        fun pointBefore(text: String, at: Int): Int {
            val unit = text[at - 1]
            val pair = unit.isLowSurrogate() && at > 1 && text[at - 2].isHighSurrogate()
            return if (pair) pointOf(text[at - 2], unit) else unit.code
        }

        fun width(point: Int): Int = if (point > 0xFFFF) 2 else 1

        fun pointsOf(text: String): IntArray {
            val whole = of(text)
            return whole.points.copyOf(whole.size)
        }
    }
}
