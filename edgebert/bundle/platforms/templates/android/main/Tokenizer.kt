package @PACKAGE@

/** Tokens with their places in the text, in UTF-16 code units, and the number of the word that each belongs to. */
internal class Tokens(capacity: Int) {
    var ids = IntArray(capacity)
    var starts = IntArray(capacity)
    var ends = IntArray(capacity)
    var words = IntArray(capacity)
    var size = 0

    /** Of an added token the spaces that were taken with it, before and after: its text is not that of the vocabulary. */
    val spaces = HashMap<Int, IntArray>()

    fun add(id: Int, start: Int, end: Int, word: Int) {
        if (size == ids.size) {
            val larger = 2 * size + 16
            ids = ids.copyOf(larger)
            starts = starts.copyOf(larger)
            ends = ends.copyOf(larger)
            words = words.copyOf(larger)
        }
        ids[size] = id
        starts[size] = start
        ends[size] = end
        words[size] = word
        size++
    }
}

/** Hugging Face's tokenizer of this package: the same ids and the same places. */
internal class Tokenizer(description: Map<String, Any?>, file: Map<String, Any?>) {
    val single: List<Any?> = description.list("single")
    val pair: List<Any?> = description.list("pair")
    private val normalizer = Normalizer(description.maps("normalizer"))
    private val preTokenizer = PreTokenizer(description.maps("pre_tokenizer"))
    private val subwords: Subwords
    private val exact: AddedTokens // found in the text as it is given
    private val normalized: AddedTokens // found in the normalized text
    private val trims: List<Boolean> = description.list("trim_offsets").map { it == true }
    private val texts = HashMap<Int, String>() // of tokens, where their places are trimmed

    init {
        val settings = description.map("model")
        val model = file.map("model")
        subwords = when (val type = settings.text("type")) {
            "WordPiece" -> WordPiece(settings, model.map("vocab"))
            "BPE" -> BytePairs(settings, model)
            "Unigram" -> Unigram(settings, model)
            else -> throw EdgeModelException("this package does not know the tokenizer model '$type'")
        }
        val words = (description["word_characters"] as? String)?.let { PointSet(it) }
        exact = AddedTokens(words)
        normalized = AddedTokens(words)
        val (special, plain) = file.maps("added_tokens").partition { it.flag("special") }
        for (token in special + plain) {
            val content = Text.of(token.text("content"))
            if (token.flag("normalized")) normalized.add(token, normalizer.apply(content)) else exact.add(token, content)
        }
        if (trims.isNotEmpty()) for ((token, id) in model.map("vocab")) texts[(id as Number).toInt()] = token
    }

    /** All tokens of a text, without a frame, uncut. */
    fun encode(text: String): Tokens {
        val tokens = Tokens(text.length / 3 + 16)
        add(text, 0, tokens)
        return tokens
    }

    /** The same of words, each read by itself. */
    fun encodeWords(words: List<String>): Tokens {
        val tokens = Tokens(2 * words.size + 16)
        for (i in words.indices) add(words[i], i, tokens)
        return tokens
    }

    private fun add(string: String, word: Int, tokens: Tokens) {
        val text = Text.of(string)
        if (exact.isEmpty) return addNormalized(text, word, tokens)
        exact.split(text) { from, to, id ->
            if (id == AddedTokens.NONE) addNormalized(text.part(from, to), word, tokens) else addAdded(text, from, to, id, word, tokens)
        }
    }

    private fun addNormalized(part: Text, word: Int, tokens: Tokens) {
        val text = normalizer.apply(part)
        if (normalized.isEmpty) return addPieces(text, word, tokens)
        normalized.split(text) { from, to, id ->
            if (id == AddedTokens.NONE) addPieces(text.part(from, to), word, tokens) else addAdded(text, from, to, id, word, tokens)
        }
    }

    private fun addPieces(text: Text, word: Int, tokens: Tokens) {
        preTokenizer.split(text) { piece, from, to -> subwords.add(piece, from, to, word, tokens) }
    }

    private fun addAdded(text: Text, from: Int, to: Int, id: Int, word: Int, tokens: Tokens) {
        if (trims.isNotEmpty()) {
            var left = 0
            while (from + left < to && isWhiteSpace(text.points[from + left])) left++
            var right = 0
            while (to - right > from && isWhiteSpace(text.points[to - right - 1])) right++
            tokens.spaces[tokens.size] = intArrayOf(left, right)
        }
        tokens.add(id, text.starts[from], text.ends[to - 1], word)
    }

    /**
     * Takes spaces off the places of the tokens of a window, as byte-level post-processors do: but not the one space that
     * `add_prefix_space` has put before a first word. As many characters of the text are taken off as the token has spaces, even
     * where it stands for another character's bytes.
     */
    fun trim(tokens: Tokens, text: String) {
        for (prefix in trims) {
            for (i in 0 until tokens.size) {
                val known = tokens.spaces[i]
                val token = if (known == null) texts[tokens.ids[i]] ?: "" else ""
                var left = known?.get(0) ?: token.indexOfFirst { !isBlank(it) }.let { if (it < 0) token.length else it }
                val right = known?.get(1) ?: (token.length - 1 - token.indexOfLast { !isBlank(it) })
                if (prefix && left == 1 && (i == 0 || tokens.starts[i] == 0)) left = 0
                var start = tokens.starts[i]
                while (left > 0 && start < tokens.ends[i]) {
                    start += Text.width(Text.pointAt(text, start))
                    left--
                }
                tokens.starts[i] = start
                tokens.ends[i] = trimmedEnd(text, start, tokens.ends[i], right)
            }
        }
    }

    private fun trimmedEnd(text: String, start: Int, end: Int, spaces: Int): Int {
        var result = end
        repeat(spaces) {
            if (result == 0) return end // the library leaves an end alone that it cannot move so far
            result -= Text.width(Text.pointBefore(text, result))
        }
        return maxOf(result, start)
    }

    private fun isBlank(character: Char): Boolean = character == BYTE_SPACE || isWhiteSpace(character.code)

    private companion object {
        const val BYTE_SPACE = '\u0120' // how a space's byte is written
    }
}
