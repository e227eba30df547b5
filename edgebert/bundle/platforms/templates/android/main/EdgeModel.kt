package @PACKAGE@

/** Runs the model on one window. Rows of every length up to the longest of `edgebert.json` are given to it. */
internal interface Engine : AutoCloseable {
    /** The outputs by name, without their batch axis. `types` are left out where the model does not read them. */
    fun run(ids: IntArray, mask: IntArray, types: IntArray): Map<String, FloatArray>
}

/**
 * A model with all that lies between a text and its answer. Open it once, off the main thread, and keep it: it may be called
 * from any thread, one call at a time runs.
 *
 * Each function of another task than the model's throws an [EdgeModelException] that names those which it has.
 */
class EdgeModel internal constructor(
    settings: Map<String, Any?>,
    tokenizer: Map<String, Any?>,
    private val engine: Engine,
) : AutoCloseable {
    internal val pipeline = Pipeline(settings, tokenizer)

    /** What this model offers: "entities(text)" and the like. */
    val calls: List<String> get() = pipeline.calls

    /** Named entities. Empty where there are none. */
    @Suppress("UNCHECKED_CAST")
    fun entities(text: String): List<Entity> = ask("ner", text, null) as List<Entity>

    /** Every word with its tag. */
    @Suppress("UNCHECKED_CAST")
    fun tag(text: String): List<TaggedWord> = ask("tag", text, null) as List<TaggedWord>

    /** The label and the next likeliest; of a model that gives several, those given, maybe none. */
    @Suppress("UNCHECKED_CAST")
    fun classify(text: String): List<Label> = ask("classify", text, null) as List<Label>

    /** The label of a pair of texts, and the next likeliest. */
    @Suppress("UNCHECKED_CAST")
    fun classify(first: String, second: String): List<Label> = ask("pair", first, second) as List<Label>

    /** The vector of a text. */
    fun embed(text: String): Embedding = ask("embed", text, null) as Embedding

    /** The cosine of two texts' vectors, -1 to 1. */
    fun similarity(first: String, second: String): Double = ask("similarity", first, second) as Double

    /** The part of the context that answers the question; "" where the model says that there is none. */
    fun answer(question: String, context: String): Answer = ask("qa", question, context) as Answer

    /** Of a model of several heads what each answers, by its name: a list of [Entity], [TaggedWord] or [Label], an [Embedding],
     * an [Answer], or a number. A head that reads one text has no answer where the text has no words. */
    fun answers(text: String, second: String? = null): Map<String, Any> {
        if (pipeline.kind != "multi" || (second != null) != pipeline.readsTwo) {
            throw EdgeModelException("this model has no answers(${if (second == null) "text" else "text, second"}); it has ${calls.joinToString()}")
        }
        val request = pipeline.request(text, second)
        val windows = pipeline.windows(request)
        @Suppress("UNCHECKED_CAST")
        return pipeline.answer(request, windows, windows.map { run(it) }) as Map<String, Any>
    }

    /** Gives the memory of the model back. No function may be called afterwards. */
    override fun close() = synchronized(engine) { engine.close() }

    /** The answer of the task, or of the only head, of a kind. */
    private fun ask(kind: String, first: String, second: String?): Any {
        val head = pipeline.headOf(kind)
        val request = pipeline.request(first, second)
        val windows = pipeline.windowsFor(head, request)
        return pipeline.answerOf(head, request, windows, windows.map { run(it) })
    }

    /** The outputs of a window. Where lengths are fixed it is padded to the shortest that it fits into, and they are cut back. */
    internal fun run(window: Window): Map<String, Output> {
        val n = window.ids.size
        if (n == 0) throw EdgeModelException("the text has no tokens, which the model cannot run on")
        val length = pipeline.lengthFor(n)
        val ids = window.ids.copyOf(length)
        ids.fill(pipeline.padId, n, length)
        val mask = IntArray(length) { if (it < n) 1 else 0 }
        val outputs = synchronized(engine) { engine.run(ids, mask, window.types.copyOf(length)) }
        return outputs.mapValues { (name, values) ->
            val perToken = pipeline.isPerToken(name)
            val columns = if (perToken) values.size / length else values.size
            Output(DoubleArray(if (perToken) n * columns else columns) { values[it].toDouble() }, columns)
        }
    }

    /** Where `open` is added for the platform. */
    companion object
}
