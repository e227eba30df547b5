package @PACKAGE@

/** What `edgebert.json` says of the model, and the way from a text to windows and from outputs to an answer. */
internal class Pipeline(private val settings: Map<String, Any?>, tokenizerFile: Map<String, Any?>) {
    private val task = settings.map("task")
    private val model = settings.map("model")
    val kind: String = task.text("kind")
    val maxLength: Int = settings.int("max_length")
    val padId: Int = settings.int("pad_id")
    val tokenizer = Tokenizer(settings.map("tokenizer"), tokenizerFile)
    val words = Words(settings.map("words"))
    private val cutter = Windows(tokenizer, words, maxLength)

    class Head(val name: String, val kind: String, val task: Map<String, Any?>) {
        val decoder = decoder(task)
        val readsOne = kind !in TWO_TEXTS
        val tagsWords = kind == "ner" || kind == "tag"
    }

    private val heads: List<Head> =
        if (kind == "multi") {
            task.maps("heads").map { Head(it.text("name"), it.text("kind"), it) }
        } else {
            listOf(Head("", kind, task))
        }

    /** Of several heads the one whose windows all that read one text share. */
    private val carrier: Head? = if (kind == "multi") heads.find { it.name == task.text("carrier") } else heads[0]

    val readsTwo: Boolean = task.list("inputs").size == 2

    val calls: List<String> = run {
        val own = heads.map { CALLS.getValue(it.kind) }.distinct()
        if (kind == "multi") own + (if (readsTwo) "answers(text, second)" else "answers(text)") else own
    }

    /** The task, or the only head, of a kind. */
    fun headOf(kind: String): Head {
        val found = heads.filter { it.kind == kind }
        val call = CALLS.getValue(kind)
        if (found.isEmpty()) throw EdgeModelException("this model has no $call; it has ${calls.joinToString()}")
        if (found.size > 1) {
            val names = found.joinToString { it.name }
            throw EdgeModelException("several heads have $call: $names; answers gives each by its name")
        }
        return found[0]
    }

    fun request(first: String, second: String?): Request =
        Request(first, second, if (heads.any { it.tagsWords }) words.find(first) else IntArray(0))

    // ------------------------------------------------------------ windows

    /** The windows of a text, in the order of the golden vectors. */
    fun windows(request: Request): List<Window> {
        val results = ArrayList<Window>()
        for (head in heads) {
            if (head.readsOne && head !== carrier) continue
            val own = windowsOf(head, request)
            if (head !== carrier) for (window in own) window.head = head.name
            results.addAll(own)
        }
        return results
    }

    /** The windows that one head alone reads. */
    fun windowsFor(head: Head, request: Request): List<Window> {
        if (!head.readsOne || head === carrier || carrier == null) return windowsOf(head, request)
        val shared = windowsOf(carrier, request).take(1)
        if (shared.isEmpty() && !head.tagsWords) throw EdgeModelException("the text has no words")
        return shared
    }

    private fun windowsOf(head: Head, request: Request): List<Window> {
        val second = request.second
        return when (head.kind) {
            "ner", "tag" -> cutter.ofWords(request.words())
            "qa" -> cutter.ofContext(request.first, second ?: "", head.task.int("stride"))
            "similarity" -> listOf(cutter.cut(request.first), cutter.cut(second ?: ""))
            "pair" -> listOf(cutter.cut(request.first, second ?: ""))
            else -> listOf(cutter.cut(request.first))
        }
    }

    // ------------------------------------------------------------ answers

    fun answer(request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): Any {
        if (kind != "multi") return answerOf(heads[0], request, windows, outputs)
        val results = LinkedHashMap<String, Any>()
        for (head in heads) {
            val reads = if (head.readsOne) "" else head.name
            val all = windows.indices.filter { windows[it].head == reads }
            val shares = head.readsOne && head !== carrier
            if (shares && all.isEmpty()) continue
            val mine = if (shares) all.take(1) else all
            results[head.name] = answerOf(head, request, mine.map { windows[it] }, mine.map { outputs[it] })
        }
        return results
    }

    /** A head's answer; of several heads its outputs begin with its name. */
    fun answerOf(head: Head, request: Request, windows: List<Window>, outputs: List<Map<String, Output>>): Any {
        if (kind != "multi") return head.decoder.answer(request, windows, outputs)
        val prefix = head.name + "_"
        val own = outputs.map { output -> output.filterKeys { it.startsWith(prefix) }.mapKeys { it.key.removePrefix(prefix) } }
        return head.decoder.answer(request, windows, own)
    }

    // ------------------------------------------------------------ the file

    val inputNames: List<String> = model.maps("inputs").map { it.text("name") }
    val outputNames: List<String> = model.maps("outputs").map { it.text("name") }
    val file: String = model.text("file")
    private val second = model.maps("inputs")[0].list("shape").getOrNull(1) // the axis of tokens, as the file names it

    /** The lengths that the file has, rising; empty where it takes any. */
    val lengths: List<Int> = when (second) {
        is Number -> listOf(second.toInt())
        is String -> second.split("|").mapNotNull { it.toIntOrNull() }.sorted()
        else -> emptyList()
    }

    fun lengthFor(n: Int): Int {
        if (lengths.isEmpty()) return n
        return lengths.find { it >= n } ?: throw EdgeModelException("a window of $n tokens fits none of the model's lengths, $lengths")
    }

    /** Whether an output has a row for each token. */
    fun isPerToken(name: String): Boolean {
        val shape = model.maps("outputs").find { it["name"] == name }?.list("shape") ?: return false
        if (second is String) return shape.getOrNull(1) == second
        return name.endsWith("start_logits") || name.endsWith("end_logits") || (name.endsWith("logits") && shape.size == 3)
    }

    private companion object {
        val TWO_TEXTS = setOf("pair", "similarity", "qa")
        val CALLS = mapOf(
            "ner" to "entities(text)",
            "tag" to "tag(text)",
            "classify" to "classify(text)",
            "pair" to "classify(first, second)",
            "embed" to "embed(text)",
            "similarity" to "similarity(first, second)",
            "qa" to "answer(question, context)",
        )
    }
}
