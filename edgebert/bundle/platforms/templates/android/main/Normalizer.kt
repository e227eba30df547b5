package @PACKAGE@

/** A step of a normalizer. It may give the same text back, and does not change the one that it was given. */
internal interface NormalizerStep {
    fun apply(text: Text): Text
}

/** The steps that `edgebert.json` lists, in order. */
internal class Normalizer(steps: List<Map<String, Any?>>) {
    private val steps: List<NormalizerStep> = steps.map { read(it) }

    fun apply(text: Text): Text {
        var result = text
        for (step in steps) result = step.apply(result)
        return result
    }

    private fun read(step: Map<String, Any?>): NormalizerStep = when (val type = step.text("type")) {
        "characters" -> Characters(PointMap(step.text("table")))
        "decompose" -> Decompose(PointMap(step.text("table")), PointValues(step.text("classes")))
        "recompose" -> Recompose(
            PointMap(step.text("table")),
            PointValues(step.text("classes")),
            PointMap(step.text("composed")),
        )
        "precompiled" -> Precompiled(step)
        "spaces" -> Spaces(Text.pointsOf(step.text("to")))
        "replace" -> Replace(Text.pointsOf(step.text("from")), Text.pointsOf(step.text("to")))
        "strip" -> Strip(step.flag("left"), step.flag("right"), PointSet(step.text("spaces")))
        else -> throw EdgeModelException("this package does not know the normalizer step '$type'")
    }
}

/** Each character by itself, by a table. */
private class Characters(private val table: PointMap) : NormalizerStep {
    override fun apply(text: Text): Text {
        val points = text.points
        var at = 0
        while (at < text.size && table.find(points[at]) < 0) at++
        if (at == text.size) return text
        val result = Text(text.size + 16)
        result.addAll(text, 0, at)
        while (at < text.size) {
            val run = table.find(points[at])
            if (run < 0) {
                result.add(points[at], text.starts[at], text.ends[at])
            } else {
                table.add(run, points[at], text.starts[at], text.ends[at], result)
            }
            at++
        }
        return result
    }
}

/** Characters taken apart, and marks put in Unicode's order. */
private class Decompose(private val table: PointMap, private val classes: PointValues) : NormalizerStep {
    override fun apply(text: Text): Text {
        var at = 0
        while (at < text.size && stays(text.points[at])) at++
        if (at == text.size) return text
        val result = Text(text.size + text.size / 4 + 16)
        result.addAll(text, 0, at)
        // Where the parts of each character begin: only they move on in the source once marks have changed places.
        var begins = BooleanArray(result.points.size)
        begins.fill(true, 0, at)
        while (at < text.size) {
            val before = result.size
            decompose(text.points[at], text.starts[at], text.ends[at], result)
            if (result.size > begins.size) begins = begins.copyOf(result.points.size)
            begins[before] = true
            at++
        }
        reorder(result, begins, text)
        return result
    }

    private fun stays(point: Int): Boolean =
        point < 0x80 || (table.find(point) < 0 && point !in SYLLABLES && classes[point] == 0)

    private fun decompose(point: Int, start: Int, end: Int, result: Text) {
        if (point in SYLLABLES) {
            // Hangul by arithmetic, as Unicode's standard has it in section 3.12.
            val syllable = point - SYLLABLES.first
            result.add(0x1100 + syllable / 588, start, end)
            result.add(0x1161 + syllable % 588 / 28, start, end)
            if (syllable % 28 != 0) result.add(0x11A7 + syllable % 28, start, end)
            return
        }
        val run = if (point < 0x80) -1 else table.find(point)
        if (run < 0) result.add(point, start, end) else table.add(run, point, start, end, result)
    }

    private fun reorder(result: Text, begins: BooleanArray, source: Text) {
        var moved = false
        var at = 0
        while (at < result.size) {
            if (result.points[at] < classes.first || classes[result.points[at]] == 0) {
                at++
                continue
            }
            var end = at + 1
            while (end < result.size && classes[result.points[end]] != 0) end++
            if (end - at > 1 && sort(result, begins, at, end)) moved = true
            at = end
        }
        if (!moved) return
        // The library gives the k-th first part the place of the k-th source character, wherever it stands now.
        var character = -1
        for (i in 0 until result.size) {
            if (begins[i]) character++
            result.starts[i] = source.starts[character]
            result.ends[i] = source.ends[character]
        }
    }

    /** Sorts a run of marks by class, equal ones as they stand; says whether anything moved. */
    private fun sort(result: Text, begins: BooleanArray, from: Int, to: Int): Boolean {
        val order = LongArray(to - from) { (classes[result.points[from + it]].toLong() shl 32) or it.toLong() }
        var sorted = true
        for (i in 1 until order.size) if (order[i] < order[i - 1]) sorted = false
        if (sorted) return false
        order.sort()
        val points = result.points.copyOfRange(from, to)
        val firsts = begins.copyOfRange(from, to)
        for (i in order.indices) {
            val old = (order[i] and 0xFFFFFFFFL).toInt()
            result.points[from + i] = points[old]
            begins[from + i] = firsts[old]
        }
        return true
    }

    private companion object {
        val SYLLABLES = 0xAC00..0xD7A3
    }
}

/** A text for another; what is put in has the place of the last character that it replaces. */
private class Replace(private val from: IntArray, private val to: IntArray) : NormalizerStep {
    override fun apply(text: Text): Text {
        var at = find(text, 0)
        if (at < 0) return text
        val result = Text(text.size + 16)
        var done = 0
        while (at >= 0) {
            result.addAll(text, done, at)
            val last = at + from.size - 1
            for (point in to) result.add(point, text.starts[last], text.ends[last])
            done = at + from.size
            at = find(text, done)
        }
        result.addAll(text, done, text.size)
        return result
    }

    private fun find(text: Text, begin: Int): Int {
        for (at in begin..text.size - from.size) {
            var i = 0
            while (i < from.size && text.points[at + i] == from[i]) i++
            if (i == from.size) return at
        }
        return -1
    }
}

/** Spaces at the ends. */
private class Strip(private val left: Boolean, private val right: Boolean, private val spaces: PointSet) : NormalizerStep {
    override fun apply(text: Text): Text {
        var from = 0
        var to = text.size
        if (left) while (from < to && text.points[from] in spaces) from++
        if (right) while (to > from && text.points[to - 1] in spaces) to--
        return text.part(from, to)
    }
}
