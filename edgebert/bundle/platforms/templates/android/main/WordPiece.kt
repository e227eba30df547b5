package @PACKAGE@

/** From pieces of text to tokens. */
internal interface Subwords {
    fun add(text: Text, from: Int, to: Int, word: Int, tokens: Tokens)
}

/** The longest token of the vocabulary that a word begins with, then the longest that continues it. */
internal class WordPiece(settings: Map<String, Any?>, vocabulary: Map<String, Any?>) : Subwords {
    private val most = settings.int("max_input_chars_per_word")
    private val unknown = vocabulary.int(settings.text("unk_token"))
    private val trie = Trie(4 * vocabulary.size)
    private val inside: Int // the node behind the prefix of tokens that continue a word; -1 where there is no such token

    init {
        for ((token, id) in vocabulary) trie.put(Text.pointsOf(token), (id as Number).toInt())
        var node = Trie.ROOT
        for (point in Text.pointsOf(settings.text("continuing_subword_prefix"))) if (node >= 0) node = trie.next(node, point)
        inside = node
    }

    override fun add(text: Text, from: Int, to: Int, word: Int, tokens: Tokens) {
        val before = tokens.size
        var start = from
        while (start < to && to - from <= most) {
            var node = if (start == from) Trie.ROOT else inside
            var end = start
            var found = Trie.NONE
            var at = start
            while (at < to && node >= 0) {
                node = trie.next(node, text.points[at++])
                if (node >= 0 && trie.value(node) != Trie.NONE) {
                    found = trie.value(node)
                    end = at
                }
            }
            if (found == Trie.NONE) break
            tokens.add(found, text.starts[start], text.ends[end - 1], word)
            start = end
        }
        if (start < to) {
            // A word with a part that is not known is not known as a whole.
            tokens.size = before
            tokens.add(unknown, text.starts[from], text.ends[to - 1], word)
        }
    }
}
