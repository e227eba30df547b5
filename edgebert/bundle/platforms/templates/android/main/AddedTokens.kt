package @PACKAGE@

/** Takes the parts of a text in order: `id` is that of an added token, or -1 for what stands between them. */
internal fun interface Parts {
    fun take(from: Int, to: Int, id: Int)
}

/** Tokens that are found in the text before any other rule: leftmost, of those the longest. */
internal class AddedTokens(private val words: PointSet?) {
    private class Entry(val id: Int, val alone: Boolean, val left: Boolean, val right: Boolean)

    private val entries = ArrayList<Entry>()
    private val trie = Trie(64)
    private val first = HashSet<Int>()
    private val ascii = BooleanArray(128)

    val isEmpty: Boolean get() = entries.isEmpty()

    /** Of two tokens with one text the first is kept. */
    fun add(token: Map<String, Any?>, content: Text) {
        if (content.size == 0) return
        trie.put(content.points.copyOf(content.size), entries.size)
        entries.add(Entry(token.int("id"), token.flag("single_word"), token.flag("lstrip"), token.flag("rstrip")))
        first.add(content.points[0])
        if (content.points[0] < 128) ascii[content.points[0]] = true
    }

    fun split(text: Text, parts: Parts) {
        var done = 0
        var at = 0
        while (at < text.size) {
            val point = text.points[at]
            if (if (point < 128) !ascii[point] else point !in first) {
                at++
                continue
            }
            var node = Trie.ROOT
            var length = 0
            var found = Trie.NONE
            var i = at
            while (i < text.size) {
                node = trie.next(node, text.points[i++])
                if (node < 0) break
                if (trie.value(node) != Trie.NONE) {
                    found = trie.value(node)
                    length = i - at
                }
            }
            if (found == Trie.NONE) {
                at++
                continue
            }
            val entry = entries[found]
            var start = at
            var end = at + length
            at = end
            if (entry.alone && (isWord(text, start - 1) || isWord(text, end))) continue
            if (entry.left) while (start > done && isWhiteSpace(text.points[start - 1])) start--
            if (entry.right) while (end < text.size && isWhiteSpace(text.points[end])) end++
            if (done < start) parts.take(done, start, NONE)
            parts.take(start, end, entry.id)
            done = end
        }
        if (done < text.size) parts.take(done, text.size, NONE)
    }

    private fun isWord(text: Text, at: Int): Boolean =
        at >= 0 && at < text.size && words != null && text.points[at] in words

    companion object {
        const val NONE = -1
    }
}
