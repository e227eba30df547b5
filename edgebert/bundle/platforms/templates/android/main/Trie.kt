package @PACKAGE@

/** Texts with a number each, found letter by letter: a table of (node, code point) to node. */
internal class Trie(expected: Int) {
    private var keys = LongArray(16)
    private var targets = IntArray(16)
    private var used = 0
    private var values = IntArray(16)
    private var nodes = 1

    init {
        var size = 16
        while (size < 2 * expected) size *= 2
        keys = LongArray(size) { EMPTY }
        targets = IntArray(size)
        values = IntArray(size / 2) { NONE }
    }

    /** Keeps the number that a text already has. */
    fun put(text: IntArray, value: Int) {
        var node = ROOT
        for (point in text) {
            var next = next(node, point)
            if (next < 0) {
                next = nodes++
                if (next == values.size) {
                    values = values.copyOf(2 * next)
                    values.fill(NONE, next)
                }
                insert(key(node, point), next)
            }
            node = next
        }
        if (values[node] == NONE) values[node] = value
    }

    /** The node one letter on; -1 where there is none. */
    fun next(node: Int, point: Int): Int {
        val key = key(node, point)
        val mask = keys.size - 1
        var at = slot(key, mask)
        while (true) {
            if (keys[at] == key) return targets[at]
            if (keys[at] == EMPTY) return -1
            at = (at + 1) and mask
        }
    }

    /** The number of the text that ends at a node; NONE where none does. */
    fun value(node: Int): Int = values[node]

    private fun key(node: Int, point: Int): Long = (node.toLong() shl 21) or point.toLong()

    private fun slot(key: Long, mask: Int): Int = ((key * -0x61c8864680b583ebL) ushr 32).toInt() and mask

    private fun insert(key: Long, target: Int) {
        if (2 * (used + 1) > keys.size) grow()
        val mask = keys.size - 1
        var at = slot(key, mask)
        while (keys[at] != EMPTY) at = (at + 1) and mask
        keys[at] = key
        targets[at] = target
        used++
    }

    private fun grow() {
        val oldKeys = keys
        val oldTargets = targets
        keys = LongArray(2 * oldKeys.size) { EMPTY }
        targets = IntArray(2 * oldKeys.size)
        used = 0
        for (i in oldKeys.indices) if (oldKeys[i] != EMPTY) insert(oldKeys[i], oldTargets[i])
    }

    companion object {
        const val ROOT = 0
        const val NONE = -1
        private const val EMPTY = -1L
    }
}
