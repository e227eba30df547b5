package @PACKAGE@

/** A small reader of JSON: objects are maps in their order, numbers are Long or Double. It needs nothing of Android's. */
internal class Json private constructor(private val text: String, private val name: String) {
    private var at = 0

    private fun value(depth: Int): Any? {
        if (depth > DEEPEST) fail("it is nested too deeply")
        blanks()
        if (at >= text.length) fail("it ends too early")
        return when (text[at]) {
            '{' -> entries(depth)
            '[' -> items(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun entries(depth: Int): Map<String, Any?> {
        val result = LinkedHashMap<String, Any?>()
        at++
        blanks()
        if (peek('}')) return result
        while (true) {
            blanks()
            if (at >= text.length || text[at] != '"') fail("a name is missing")
            val key = string()
            blanks()
            if (!peek(':')) fail("a colon is missing")
            result[key] = value(depth + 1)
            blanks()
            if (peek('}')) return result
            if (!peek(',')) fail("a comma is missing")
        }
    }

    private fun items(depth: Int): List<Any?> {
        val result = ArrayList<Any?>()
        at++
        blanks()
        if (peek(']')) return result
        while (true) {
            result.add(value(depth + 1))
            blanks()
            if (peek(']')) return result
            if (!peek(',')) fail("a comma is missing")
        }
    }

    private fun string(): String {
        at++
        val from = at
        while (at < text.length && text[at] != '"' && text[at] != '\\') at++
        if (at < text.length && text[at] == '"') return text.substring(from, at++)
        val result = StringBuilder().append(text, from, at)
        while (true) {
            if (at >= text.length) fail("a text has no end")
            val character = text[at++]
            if (character == '"') return result.toString()
            result.append(if (character == '\\') escaped() else character)
        }
    }

    private fun escaped(): Char {
        if (at >= text.length) fail("a text has no end")
        return when (val character = text[at++]) {
            'n' -> '\n'
            't' -> '\t'
            'r' -> '\r'
            'b' -> '\b'
            'f' -> '\u000C'
            '"', '\\', '/' -> character
            'u' -> {
                val code = if (at + 4 <= text.length) text.substring(at, at + 4).toIntOrNull(16) else null
                at += 4
                code?.toChar() ?: fail("a \\u is not followed by four digits")
            }
            else -> fail("\\$character is no escape")
        }
    }

    private fun number(): Any {
        val from = at
        while (at < text.length && text[at] in "+-.0123456789eE") at++
        val digits = text.substring(from, at)
        return digits.toLongOrNull() ?: digits.toDoubleOrNull() ?: fail("'$digits' is no number")
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("a value is missing")
        at += word.length
        return value
    }

    private fun peek(character: Char): Boolean {
        if (at >= text.length || text[at] != character) return false
        at++
        return true
    }

    private fun blanks() {
        while (at < text.length && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) at++
    }

    private fun fail(why: String): Nothing = throw EdgeModelException("$name cannot be read: $why, at character $at")

    companion object {
        private const val DEEPEST = 200

        fun read(text: String, name: String): Map<String, Any?> {
            val reader = Json(text, name)
            val result = reader.value(0)
            reader.blanks()
            if (reader.at < text.length) reader.fail("something follows its end")
            @Suppress("UNCHECKED_CAST")
            return result as? Map<String, Any?> ?: reader.fail("it is no object")
        }
    }
}

// What a field of a file holds. A file that is not as edgebert wrote it is told by the field's name.

@Suppress("UNCHECKED_CAST")
internal fun Map<String, Any?>.map(key: String): Map<String, Any?> = this[key] as? Map<String, Any?> ?: wrongField(key)

@Suppress("UNCHECKED_CAST")
internal fun Map<String, Any?>.maps(key: String): List<Map<String, Any?>> = list(key) as List<Map<String, Any?>>

internal fun Map<String, Any?>.list(key: String): List<Any?> = this[key] as? List<Any?> ?: wrongField(key)

internal fun Map<String, Any?>.texts(key: String): List<String> = list(key).map { it as? String ?: wrongField(key) }

internal fun Map<String, Any?>.text(key: String): String = this[key] as? String ?: wrongField(key)

internal fun Map<String, Any?>.int(key: String): Int = (this[key] as? Number ?: wrongField(key)).toInt()

internal fun Map<String, Any?>.double(key: String): Double = (this[key] as? Number ?: wrongField(key)).toDouble()

internal fun Map<String, Any?>.flag(key: String): Boolean = this[key] as? Boolean ?: wrongField(key)

private fun wrongField(key: String): Nothing = throw EdgeModelException("the field '$key' is missing or is of another type")
