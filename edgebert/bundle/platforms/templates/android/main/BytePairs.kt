package @PACKAGE@

/** Byte-pair encoding: of all neighbours that a merge names, the pair of the earliest merge is joined first. */
internal class BytePairs(settings: Map<String, Any?>, file: Map<String, Any?>) : Subwords {
    private val single = HashMap<Int, Int>() // tokens of one character
    private val fast = IntArray(512) { NONE } // the same for the characters that bytes are written as
    private val unknown: Int
    private val joinUnknown = file["fuse_unk"] == true
    private var keys = LongArray(16)
    private var merges = LongArray(16) // rank of the merge, and the token that it makes

    init {
        val vocabulary = file.map("vocab")
        for ((token, id) in vocabulary) {
            if (token.isEmpty() || token.length != Text.width(Text.pointAt(token, 0))) continue
            val point = Text.pointAt(token, 0)
            single[point] = (id as Number).toInt()
            if (point < fast.size) fast[point] = id.toInt()
        }
        unknown = (settings["unk_token"] as? String)?.let { vocabulary.int(it) } ?: NONE
        readMerges(file.list("merges"), vocabulary)
    }

    private fun readMerges(list: List<Any?>, vocabulary: Map<String, Any?>) {
        var size = 16
        while (size < 3 * list.size) size *= 2
        keys = LongArray(size) { EMPTY }
        merges = LongArray(size)
        for ((rank, merge) in list.withIndex()) {
            val sides = if (merge is String) merge.split(" ") else merge as? List<*> ?: emptyList<Any?>()
            if (sides.size != 2) throw EdgeModelException("tokenizer.json: merge $rank is not of two tokens")
            val left = sides[0].toString()
            val right = sides[1].toString()
            val key = pair(vocabulary.int(left), vocabulary.int(right))
            var at = slot(key)
            while (keys[at] != EMPTY && keys[at] != key) at = (at + 1) and (size - 1)
            keys[at] = key
            merges[at] = (rank.toLong() shl 32) or vocabulary.int(left + right).toLong()
        }
    }

    override fun add(text: Text, from: Int, to: Int, word: Int, tokens: Tokens) {
        val row = Row(to - from)
        for (at in from until to) {
            val point = text.points[at]
            val id = if (point < fast.size) fast[point] else single[point] ?: NONE
            if (id != NONE) row.add(id, at, at + 1) else if (unknown != NONE) row.addUnknown(at)
        }
        row.merge()
        var at = 0
        while (at < row.size) {
            if (row.ids[at] != NONE) tokens.add(row.ids[at], text.starts[row.from[at]], text.ends[row.to[at] - 1], word)
            at++
        }
    }

    private fun pair(left: Int, right: Int): Long = (left.toLong() shl 32) or right.toLong()

    private fun slot(key: Long): Int = ((key * -0x61c8864680b583ebL) ushr 32).toInt() and (keys.size - 1)

    /** Rank and token of the merge of two tokens; -1 where there is none. */
    private fun find(left: Int, right: Int): Long {
        val key = pair(left, right)
        var at = slot(key)
        while (true) {
            if (keys[at] == key) return merges[at]
            if (keys[at] == EMPTY) return -1
            at = (at + 1) and (keys.size - 1)
        }
    }

    /** The tokens of a piece as a linked list, and a heap of the merges that are possible: the earliest, then the leftmost. */
    private inner class Row(capacity: Int) {
        val ids = IntArray(capacity)
        val from = IntArray(capacity)
        val to = IntArray(capacity)
        var size = 0
        private val next = IntArray(capacity)
        private val previous = IntArray(capacity)
        private var heap = LongArray(capacity + 8)
        private var waiting = 0

        fun add(id: Int, start: Int, end: Int) {
            ids[size] = id
            from[size] = start
            to[size] = end
            size++
        }

        fun addUnknown(at: Int) {
            if (joinUnknown && size > 0 && ids[size - 1] == unknown) to[size - 1] = at + 1 else add(unknown, at, at + 1)
        }

        fun merge() {
            for (i in 0 until size) {
                next[i] = if (i + 1 < size) i + 1 else NONE
                previous[i] = i - 1
            }
            for (i in 0 until size - 1) offer(i)
            while (waiting > 0) {
                val best = take()
                val at = (best and 0xFFFFFFFFL).toInt()
                if (ids[at] == NONE || next[at] == NONE) continue
                val right = next[at]
                val found = find(ids[at], ids[right])
                if (found < 0 || found ushr 32 != best ushr 32) continue // its tokens have gone into others since
                ids[at] = (found and 0xFFFFFFFFL).toInt()
                to[at] = to[right]
                ids[right] = NONE
                next[at] = next[right]
                if (next[at] != NONE) previous[next[at]] = at
                if (previous[at] != NONE) offer(previous[at])
                if (next[at] != NONE) offer(at)
            }
        }

        private fun offer(at: Int) {
            val found = find(ids[at], ids[next[at]])
            if (found < 0) return
            val entry = (found ushr 32 shl 32) or at.toLong()
            if (waiting == heap.size) heap = heap.copyOf(2 * waiting)
            var child = waiting++
            while (child > 0 && heap[(child - 1) / 2] > entry) {
                heap[child] = heap[(child - 1) / 2]
                child = (child - 1) / 2
            }
            heap[child] = entry
        }

        private fun take(): Long {
            val result = heap[0]
            val last = heap[--waiting]
            var hole = 0
            while (true) {
                var child = 2 * hole + 1
                if (child >= waiting) break
                if (child + 1 < waiting && heap[child + 1] < heap[child]) child++
                if (heap[child] >= last) break
                heap[hole] = heap[child]
                hole = child
            }
            heap[hole] = last
            return result
        }
    }

    private companion object {
        const val NONE = -1
        const val EMPTY = -1L
    }
}
