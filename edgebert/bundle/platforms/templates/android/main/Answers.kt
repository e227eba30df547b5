package @PACKAGE@

// What a model answers. `start` and `end` count UTF-16 code units, as String does: text.substring(start, end) is the piece.

/** A named entity. */
data class Entity(val text: String, val type: String, val start: Int, val end: Int)

/** A word with its tag. */
data class TaggedWord(val text: String, val tag: String, val start: Int, val end: Int)

/** A label of the whole text with its probability, rounded to four digits. Null is the class of texts that are about
 * something else, where it has no name. */
data class Label(val label: String?, val score: Double)

/** A part of the context that answers a question; `start` and `end` are null where there is no answer. */
data class Span(val text: String, val start: Int?, val end: Int?, val score: Double)

/** The best answer, and the candidates, the best one first. */
data class Answer(val text: String, val start: Int?, val end: Int?, val score: Double, val candidates: List<Span>)

/** A vector, and the same in bytes: `values[i]` is about `bytes[i] * scale`. */
class Embedding(val values: FloatArray, val bytes: ByteArray, val scale: Double)

/** What is wrong, in a sentence. */
class EdgeModelException(message: String, cause: Throwable? = null) : RuntimeException(message, cause)
