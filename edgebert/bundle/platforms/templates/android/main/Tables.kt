package @PACKAGE@

/** A set of code points. The platform's own tables of Unicode are not asked: they change with its version. */
internal class PointSet(table: String) {
    private val starts: IntArray
    private val ends: IntArray // the last of each run
    private val basic = LongArray(0x10000 / 64) // a bit for each code point of the basic plane

    init {
        val numbers = Numbers.decode(table)
        starts = IntArray(numbers.size / 2)
        ends = IntArray(numbers.size / 2)
        var after = 0
        for (i in starts.indices) {
            starts[i] = after + numbers[2 * i]
            ends[i] = starts[i] + numbers[2 * i + 1]
            after = ends[i] + 1
            for (point in starts[i]..minOf(ends[i], 0xFFFF)) basic[point shr 6] = basic[point shr 6] or (1L shl (point and 63))
        }
    }

    operator fun contains(point: Int): Boolean {
        if (point < 0x10000) return basic[point shr 6] ushr (point and 63) and 1L != 0L
        return findRun(starts, ends, point) >= 0
    }
}

/** A whole number for some code points, 0 for the others. */
internal class PointValues(table: String) {
    private val starts: IntArray
    private val ends: IntArray
    private val values: IntArray

    init {
        val numbers = Numbers.decode(table)
        starts = IntArray(numbers.size / 3)
        ends = IntArray(numbers.size / 3)
        values = IntArray(numbers.size / 3)
        var after = 0
        for (i in starts.indices) {
            starts[i] = after + numbers[3 * i]
            ends[i] = starts[i] + numbers[3 * i + 1]
            values[i] = numbers[3 * i + 2]
            after = ends[i] + 1
        }
    }

    /** The lowest code point that has a value. */
    val first: Int = if (starts.isEmpty()) Int.MAX_VALUE else starts[0]

    operator fun get(point: Int): Int {
        if (point < first) return 0
        val run = findRun(starts, ends, point)
        return if (run < 0) 0 else values[run]
    }
}

/** What a normalizer makes of each code point by itself. */
internal class PointMap(table: String) {
    private val starts: IntArray
    private val ends: IntArray
    private val kinds: IntArray
    private val values: IntArray // SHIFTED, ALTERNATING: the difference; CONSTANT, LISTED: where its texts begin in `pool`
    private var pool = IntArray(256) // of each text its length and its code points
    private var poolSize = 0
    private val basic = LongArray(256 / 64) // a bit for each of the first 256 code points that change

    init {
        val numbers = Numbers.decode(table)
        val runs = IntArray(4 * (numbers.size / 3 + 1))
        val before = IntArray(LONGEST)
        var count = 0
        var at = 0
        var after = 0
        while (at < numbers.size) {
            val start = after + numbers[at]
            val end = start + numbers[at + 1]
            val kind = numbers[at + 2]
            at += 3
            after = end + 1
            var value = 0
            when (kind) {
                REMOVED, SPACED -> {}
                SHIFTED, ALTERNATING -> value = Numbers.signed(numbers[at++])
                CONSTANT -> {
                    value = poolSize
                    val length = numbers[at++]
                    keep(length)
                    repeat(length) { keep(numbers[at++]) }
                }
                LISTED -> {
                    // The texts of a run have lengths of their own: a row of places comes first.
                    val n = end - start + 1
                    value = poolSize
                    repeat(n) { keep(0) }
                    for (i in 0 until n) {
                        pool[value + i] = poolSize
                        val length = numbers[at++]
                        keep(length)
                        for (place in 0 until length) {
                            before[place] += Numbers.signed(numbers[at++])
                            keep(before[place])
                        }
                    }
                }
                else -> throw EdgeModelException("edgebert.json: a table has runs of the unknown kind $kind")
            }
            runs[4 * count] = start
            runs[4 * count + 1] = end
            runs[4 * count + 2] = kind
            runs[4 * count + 3] = value
            count++
        }
        starts = IntArray(count) { runs[4 * it] }
        ends = IntArray(count) { runs[4 * it + 1] }
        kinds = IntArray(count) { runs[4 * it + 2] }
        values = IntArray(count) { runs[4 * it + 3] }
        for (point in 0..255) if (slowFind(point) >= 0) basic[point shr 6] = basic[point shr 6] or (1L shl (point and 63))
    }

    private fun keep(number: Int) {
        if (poolSize == pool.size) pool = pool.copyOf(2 * poolSize)
        pool[poolSize++] = number
    }

    /** The run that changes a code point; -1 where it stays as it is. */
    fun find(point: Int): Int {
        if (point < 256 && basic[point shr 6] ushr (point and 63) and 1L == 0L) return -1
        return slowFind(point)
    }

    private fun slowFind(point: Int): Int {
        val run = findRun(starts, ends, point)
        return if (run >= 0 && kinds[run] == ALTERNATING && (point - starts[run]) and 1 == 1) -1 else run
    }

    /** Adds what the run makes of a code point; all of it has the place (start, end). Returns how many were added. */
    fun add(run: Int, point: Int, start: Int, end: Int, out: Text): Int {
        when (kinds[run]) {
            REMOVED -> return 0
            SHIFTED, ALTERNATING -> {
                out.add(point + values[run], start, end)
                return 1
            }
            SPACED -> {
                out.add(SPACE, start, end)
                out.add(point, start, end)
                out.add(SPACE, start, end)
                return 3
            }
            else -> {
                val at = if (kinds[run] == CONSTANT) values[run] else pool[values[run] + point - starts[run]]
                for (i in 1..pool[at]) out.add(pool[at + i], start, end)
                return pool[at]
            }
        }
    }

    private companion object {
        const val REMOVED = 0
        const val SHIFTED = 1
        const val ALTERNATING = 2
        const val CONSTANT = 3
        const val SPACED = 4
        const val LISTED = 5
        const val LONGEST = 64
    }
}

internal const val SPACE = 0x20

/** The run that holds a code point, -1 where none does. */
internal fun findRun(starts: IntArray, ends: IntArray, point: Int): Int {
    var low = 0
    var high = starts.size - 1
    while (low <= high) {
        val middle = (low + high) ushr 1
        if (point < starts[middle]) high = middle - 1 else if (point > ends[middle]) low = middle + 1 else return middle
    }
    return -1
}

/** White space by Unicode's property, which has not changed since version 6.3. */
internal fun isWhiteSpace(point: Int): Boolean = when (point) {
    in 0x9..0xD, 0x20, 0x85, 0xA0, 0x1680, in 0x2000..0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000 -> true
    else -> false
}
