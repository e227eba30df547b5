package @PACKAGE@

/** Words of a text, as the model's own data was split: at white space, ideographs alone, marks peeled off either end. */
internal class Words(tables: Map<String, Any?>) {
    val spaces = PointSet(tables.text("spaces"))
    private val marks = PointSet(tables.text("marks"))
    private val ideographs = PointSet(tables.text("ideographs"))
    private val combining = PointSet(tables.text("combining"))

    /** Start and end of each word, one after the other. */
    fun find(text: String): IntArray {
        val places = Places(text.length / 2 + 16)
        var at = 0
        while (at < text.length) {
            val point = Text.pointAt(text, at)
            val next = at + Text.width(point)
            if (point in ideographs) {
                places.add(at, next)
            } else if (point !in spaces) {
                var end = next
                while (end < text.length) {
                    val following = Text.pointAt(text, end)
                    if (following in spaces || following in ideographs) break
                    end += Text.width(following)
                }
                peel(text, at, end, places)
                at = end
                continue
            }
            at = next
        }
        return places.done()
    }

    private fun peel(text: String, start: Int, end: Int, places: Places) {
        var left = start
        while (left < end) {
            val point = Text.pointAt(text, left)
            if (point !in marks) break
            places.add(left, left + Text.width(point))
            left += Text.width(point)
        }
        var right = end
        while (right > left) {
            val point = Text.pointBefore(text, right)
            if (point !in marks) break
            right -= Text.width(point)
        }
        if (left < right) places.add(left, right)
        while (right < end) {
            val width = Text.width(Text.pointAt(text, right))
            places.add(right, right + width)
            right += width
        }
    }

    /** The place of a token without the white space around it, and with the marks that belong to its last letter. */
    fun place(text: String, start: Int, end: Int): Long {
        var from = start
        var to = end
        while (from < to && text[from].code in spaces) from++
        while (to > from && text[to - 1].code in spaces) to--
        if (from < to) {
            while (to < text.length) {
                val point = Text.pointAt(text, to)
                if (point !in combining) break
                to += Text.width(point)
            }
        }
        return (from.toLong() shl 32) or to.toLong()
    }

    private class Places(capacity: Int) {
        private var places = IntArray(capacity)
        private var size = 0

        fun add(start: Int, end: Int) {
            if (size + 2 > places.size) places = places.copyOf(2 * places.size)
            places[size++] = start
            places[size++] = end
        }

        fun done(): IntArray = places.copyOf(size)
    }
}
