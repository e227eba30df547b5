package @PACKAGE@

/** Of all ways to cut a piece into tokens the one of the highest sum of scores (Kudo 2018, arXiv 1804.10959). */
internal class Unigram(settings: Map<String, Any?>, file: Map<String, Any?>) : Subwords {
    private val unknown = settings.int("unk_id")
    private val trie: Trie
    private val scores: DoubleArray
    private val least: Double // of a character that no token is

    init {
        val vocabulary = file.list("vocab").map { it as List<*> }
        trie = Trie(4 * vocabulary.size)
        scores = DoubleArray(vocabulary.size) { (vocabulary[it][1] as Number).toDouble() }
        // Of two tokens alike the later one counts, and a trie keeps what comes first.
        for (id in vocabulary.indices.reversed()) trie.put(Text.pointsOf(vocabulary[id][0] as String), id)
        least = (scores.minOrNull() ?: 0.0) - PENALTY
    }

    override fun add(text: Text, from: Int, to: Int, word: Int, tokens: Tokens) {
        val n = to - from
        val best = DoubleArray(n + 1)
        val begins = IntArray(n + 1) { -1 }
        val ids = IntArray(n + 1)
        for (start in 0 until n) {
            var alone = false
            var node = Trie.ROOT
            var at = start
            while (at < n) {
                node = trie.next(node, text.points[from + at++])
                if (node < 0) break
                val id = trie.value(node)
                if (id == Trie.NONE) continue
                offer(start, at, id, best[start] + scores[id], best, begins, ids)
                if (at == start + 1) alone = true
            }
            if (!alone) offer(start, start + 1, unknown, best[start] + least, best, begins, ids)
        }
        val cuts = IntArray(n + 1)
        var count = 0
        var end = n
        while (end > 0) {
            cuts[count++] = end
            end = begins[end]
        }
        end = 0
        while (count > 0) {
            val start = end
            end = cuts[--count]
            var id = ids[end]
            if (id == unknown) {
                // Neighbours that are not known are joined to one, which may be a token after all.
                while (count > 0 && ids[cuts[count - 1]] == unknown) end = cuts[--count]
                id = spelled(text, from + start, from + end)
            }
            tokens.add(id, text.starts[from + start], text.ends[from + end - 1], word)
        }
    }

    private fun offer(start: Int, end: Int, id: Int, score: Double, best: DoubleArray, begins: IntArray, ids: IntArray) {
        if (begins[end] >= 0 && score <= best[end]) return
        best[end] = score
        begins[end] = start
        ids[end] = id
    }

    private fun spelled(text: Text, from: Int, to: Int): Int {
        var node = Trie.ROOT
        for (i in from until to) if (node >= 0) node = trie.next(node, text.points[i])
        return if (node >= 0 && trie.value(node) != Trie.NONE) trie.value(node) else unknown
    }

    private companion object {
        const val PENALTY = 10.0
    }
}
