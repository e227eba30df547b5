package @PACKAGE@

import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.ln1p
import kotlin.math.round
import kotlin.math.sqrt

/** An output of the model for one text: rows of `columns` numbers. */
internal class Output(val values: DoubleArray, val columns: Int)

/** From what the model computed for a text to the answer. */
internal interface Decoder {
    fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): Any
}

/** The texts that were asked about, and where the words of the first one stand. */
internal class Request(val first: String, val second: String?, val places: IntArray) {
    fun words(): List<String> = List(places.size / 2) { first.substring(places[2 * it], places[2 * it + 1]) }
}

internal fun decoder(task: Map<String, Any?>): Decoder {
    val labels = if (task["labels"] == null) emptyList() else task.texts("labels")
    return when (val kind = task.text("kind")) {
        "ner" -> EntityDecoder(labels)
        "tag" -> TagDecoder(labels)
        "classify" -> ClassDecoder(labels, task)
        "pair" -> PairDecoder(labels, task.int("kept"))
        "similarity" -> SimilarityDecoder()
        "embed" -> EmbedDecoder()
        "qa" -> SpanDecoder(task)
        else -> throw EdgeModelException("this package does not know answers of the kind '$kind'")
    }
}

private fun Map<String, Output>.named(name: String): Output =
    this[name] ?: throw EdgeModelException("the model has no output '$name', only ${keys.joinToString()}")

// ---------------------------------------------------------------- words

/** The best label of each word's first token; `default` for a word without tokens. */
private fun bestTags(
    n: Int, windows: List<Window>, outputs: List<Map<String, Output>>, labels: List<String>, default: String,
): List<String> {
    val tags = MutableList(n) { default }
    for ((window, output) in windows.zip(outputs)) {
        val logits = output.named("logits")
        for ((token, word) in window.words.withIndex()) {
            if (word < 0) continue
            val row = token * logits.columns
            var best = 0
            for (i in 1 until logits.columns) if (logits.values[row + i] > logits.values[row + best]) best = i
            tags[word] = labels[best]
        }
    }
    return tags
}

private class EntityDecoder(private val labels: List<String>) : Decoder {
    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): List<Entity> {
        val results = ArrayList<Entity>()
        val tags = bestTags(request.places.size / 2, windows, outputs, labels, "O")
        var open: String? = null
        for ((i, tag) in tags.withIndex()) {
            val letter = tag.substringBefore('-')
            val type = tag.substringAfter('-', "")
            val start = request.places[2 * i]
            val end = request.places[2 * i + 1]
            if (tag != "O") {
                // A tag that continues nothing begins an entity: a user would rather see it than not.
                val from = if (letter in CONTINUES && type == open) results.removeAt(results.size - 1).start else start
                results.add(Entity(request.first.substring(from, end), type, from, end))
            }
            open = if (letter in STAYS_OPEN) type else null
        }
        return results
    }

    private companion object {
        val CONTINUES = setOf("I", "M", "E", "L")
        val STAYS_OPEN = setOf("B", "I", "M")
    }
}

private class TagDecoder(private val labels: List<String>) : Decoder {
    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): List<TaggedWord> =
        bestTags(request.places.size / 2, windows, outputs, labels, labels[0]).mapIndexed { i, tag ->
            val start = request.places[2 * i]
            val end = request.places[2 * i + 1]
            TaggedWord(request.first.substring(start, end), tag, start, end)
        }
}

// ---------------------------------------------------------------- labels of a text

private fun softmax(logits: DoubleArray): DoubleArray {
    val most = logits.maxOrNull() ?: 0.0
    val shares = DoubleArray(logits.size) { exp(logits[it] - most) }
    val total = shares.sum()
    return DoubleArray(logits.size) { shares[it] / total }
}

private fun sigmoid(logits: DoubleArray): DoubleArray =
    DoubleArray(logits.size) { exp(-(maxOf(0.0, -logits[it]) + ln1p(exp(-abs(logits[it]))))) }

/** Numbers of the labels, the likeliest first; of equals, as they stand. */
private fun ranked(scores: DoubleArray): List<Int> = scores.indices.sortedByDescending { scores[it] }

private fun rounded(value: Double): Double = round(value * 1e4) / 1e4

private class ClassDecoder(private val labels: List<String>, task: Map<String, Any?>) : Decoder {
    private val several = task.flag("multi_label")
    private val threshold = task.double("threshold")
    private val outside = task.list("outside").map { (it as Number).toInt() }.toSet()
    private val outsideLabel = task["outside_label"] as? String
    private val kept = task.int("kept")

    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): List<Label> {
        val logits = outputs[0].named("logits").values
        if (several) {
            val scores = sigmoid(logits)
            return ranked(scores).filter { scores[it] >= threshold }.map { Label(labels[it], rounded(scores[it])) }
        }
        val scores = softmax(logits)
        val inside = ranked(scores).filter { it !in outside }
        val results = inside.take(kept).map { Label(labels[it], rounded(scores[it])) }
        val confidence = scores[inside[0]]
        val rejected = confidence < maxOf(outside.sumOf { scores[it] }, threshold)
        return if (rejected) listOf(Label(outsideLabel, rounded(1 - confidence))) + results else results
    }
}

private class PairDecoder(private val labels: List<String>, private val kept: Int) : Decoder {
    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): List<Label> {
        val scores = softmax(outputs[0].named("logits").values)
        return ranked(scores).take(kept).map { Label(labels[it], rounded(scores[it])) }
    }
}

// ---------------------------------------------------------------- vectors

private const val VECTOR = "sentence_embedding"

private class SimilarityDecoder : Decoder {
    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): Double {
        val a = outputs[0].named(VECTOR).values
        val b = outputs[1].named(VECTOR).values
        var product = 0.0
        var lengthA = 0.0
        var lengthB = 0.0
        for (i in a.indices) {
            product += a[i] * b[i]
            lengthA += a[i] * a[i]
            lengthB += b[i] * b[i]
        }
        val norms = sqrt(lengthA) * sqrt(lengthB)
        return if (norms == 0.0) 0.0 else round(product / norms * 1e6) / 1e6
    }
}

private class EmbedDecoder : Decoder {
    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): Embedding {
        val vector = outputs[0].named(VECTOR).values
        val largest = vector.maxOfOrNull { abs(it) } ?: 0.0
        val scale = if (largest == 0.0) 1.0 else largest / 127
        return Embedding(
            FloatArray(vector.size) { (round(vector[it] * 1e6) / 1e6).toFloat() },
            ByteArray(vector.size) { round(vector[it] / scale).toInt().toByte() },
            round(scale * 1e9) / 1e9,
        )
    }
}

// ---------------------------------------------------------------- answers in a context

private class SpanDecoder(task: Map<String, Any?>) : Decoder {
    private val longest = task.int("max_answer_tokens")
    private val nBest = task.int("n_best")
    private val shortlist = task.int("shortlist")
    private val margin = (task["no_answer"] as? Number)?.toDouble() // null never says that there is no answer

    private class Candidate(val start: Int, val end: Int, val score: Double)

    override fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): Answer {
        val context = request.second ?: ""
        val found = ArrayList<Candidate>()
        var absent = Double.POSITIVE_INFINITY
        for ((window, output) in windows.zip(outputs)) {
            val starts = output.named("start_logits").values
            val ends = output.named("end_logits").values
            absent = minOf(absent, starts[0] + ends[0])
            addSpans(window, starts, ends, found)
        }
        // Windows overlap: a span counts once, with its best score.
        val ordered = found.sortedByDescending { it.score }.distinctBy { it.start to it.end }.take(nBest)
        val none = Candidate(-1, -1, absent)
        val chosen = when {
            ordered.isEmpty() -> listOf(none)
            margin == null -> ordered
            absent - ordered[0].score > margin -> listOf(none) + ordered
            else -> ordered + none
        }
        val shares = softmax(DoubleArray(chosen.size) { chosen[it].score })
        val spans = chosen.mapIndexed { i, span ->
            if (span.start < 0) {
                Span("", null, null, rounded(shares[i]))
            } else {
                Span(context.substring(span.start, span.end), span.start, span.end, rounded(shares[i]))
            }
        }
        return Answer(spans[0].text, spans[0].start, spans[0].end, spans[0].score, spans)
    }

    /** The best spans of a window: of the likeliest first and last tokens all pairs that are in order and not too long. */
    private fun addSpans(window: Window, starts: DoubleArray, ends: DoubleArray, found: MutableList<Candidate>) {
        val readable = window.starts.indices.filter { window.ends[it] > window.starts[it] }
        val firsts = readable.sortedByDescending { starts[it] }.take(shortlist)
        val lasts = readable.sortedByDescending { ends[it] }.take(shortlist)
        val pairs = ArrayList<Candidate>()
        for (first in firsts) {
            for (last in lasts) {
                val score = starts[first] + ends[last]
                if (last < first || last - first >= longest || score.isNaN() || score.isInfinite()) continue
                pairs.add(Candidate(window.starts[first], window.ends[last], score))
            }
        }
        found.addAll(pairs.sortedByDescending { it.score }.take(shortlist))
    }
}
