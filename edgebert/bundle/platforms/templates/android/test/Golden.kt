package @PACKAGE@

import java.io.File
import java.security.MessageDigest
import kotlin.math.abs

/** Replays the golden vectors: of each text its tokens, words and windows, and the answer that follows from the outputs that the
 * file records. The model itself runs on a device only. */
internal object Golden {
    private const val SCORE = 1.5e-4 // scores are rounded to four digits
    private const val VECTOR = 2e-6 // vectors to six

    /** Returns how many texts were compared. Throws where one differs. */
    fun replay(module: File): Int {
        val assets = File(module, "src/main/assets/edgebert/@NAME@")
        val settings = readJson(File(assets, "edgebert.json"))
        checkFiles(assets, settings)
        val pipeline = Pipeline(settings, readJson(File(assets, "tokenizer.json")))
        var count = 0
        File(module, "src/test/resources/golden.jsonl").useLines { lines ->
            for (line in lines) {
                count++
                compare(pipeline, Json.read(line, "golden.jsonl:$count"), count)
            }
        }
        check(count > 0) { "golden.jsonl is empty" }
        return count
    }

    private fun readJson(file: File): Map<String, Any?> = Json.read(file.readText(), file.name)

    private fun checkFiles(assets: File, settings: Map<String, Any?>) {
        for ((name, facts) in settings.map("files")) {
            @Suppress("UNCHECKED_CAST")
            val expected = (facts as Map<String, Any?>).text("sha256")
            Checksums.check(name, expected, MessageDigest.getInstance("SHA-256").digest(File(assets, name).readBytes()))
        }
    }

    private fun compare(pipeline: Pipeline, line: Map<String, Any?>, number: Int) {
        val texts = line.texts("texts")
        val places = texts.map { unitsOf(it) } // of each code point its UTF-16 code unit
        val where = "line $number (${line["class"]})"
        for ((i, expected) in line.maps("tokens").withIndex()) {
            val tokens = pipeline.tokenizer.encode(texts[i])
            pipeline.tokenizer.trim(tokens, texts[i])
            same("$where, ids", numbers(expected.list("ids")), tokens.ids.take(tokens.size))
            val offsets = List(tokens.size) { listOf(tokens.starts[it], tokens.ends[it]) }
            same("$where, offsets", pairs(expected.list("offsets"), places[i]), offsets)
        }
        val request = pipeline.request(texts[0], texts.getOrNull(1))
        same("$where, words", line.texts("words"), request.words())
        same("$where, places of words", pairs(line.list("offsets"), places[0]).flatten(), request.places.toList())
        val windows = pipeline.windows(request)
        val expected = line.maps("windows")
        same("$where, number of windows", expected.size, windows.size)
        for ((window, golden) in windows.zip(expected)) {
            same("$where, input_ids", numbers(golden.list("input_ids")), window.ids.toList())
            same("$where, type_ids", numbers(golden.list("type_ids")), window.types.toList())
            same("$where, words of tokens", numbers(golden.list("words")), window.words.toList())
            val spans = List(window.starts.size) { listOf(window.starts[it], window.ends[it]) }
            same("$where, spans", pairs(golden.list("spans"), places.last()), spans)
        }
        val answer = pipeline.answer(request, windows, expected.map { outputs(it.map("outputs")) })
        compareAnswer("$where, answer", line["answer"], answer, places)
    }

    private fun outputs(golden: Map<String, Any?>): Map<String, Output> = golden.mapValues { (_, value) ->
        val rows = value as List<*>
        if (rows.isNotEmpty() && rows[0] is List<*>) {
            Output(rows.flatMap { it as List<*> }.map { (it as Number).toDouble() }.toDoubleArray(), (rows[0] as List<*>).size)
        } else {
            Output(rows.map { (it as Number).toDouble() }.toDoubleArray(), 1)
        }
    }

    /** `places`: of each text. Words stand in the first, answers in the last. */
    private fun compareAnswer(where: String, golden: Any?, answer: Any?, places: List<IntArray>) {
        when (answer) {
            is Map<*, *> -> {
                same("$where: heads", (golden as Map<*, *>).keys, answer.keys)
                for ((name, own) in answer) compareAnswer("$where of $name", golden[name], own, places)
            }
            is List<*> -> {
                same("$where: number", (golden as List<*>).size, answer.size)
                for ((expected, own) in golden.zip(answer)) compareAnswer(where, expected, own, places)
            }
            is Entity -> compareFields(where, golden, places[0], answer.start, answer.end, "text" to answer.text, "type" to answer.type)
            is TaggedWord -> compareFields(where, golden, places[0], answer.start, answer.end, "text" to answer.text, "tag" to answer.tag)
            is Label -> compareFields(where, golden, places[0], null, null, "label" to answer.label, "score" to answer.score)
            is Span -> compareFields(where, golden, places.last(), answer.start, answer.end, "text" to answer.text, "score" to answer.score)
            is Answer -> {
                compareFields(where, golden, places.last(), answer.start, answer.end, "text" to answer.text, "score" to answer.score)
                compareAnswer("$where, candidates", (golden as Map<*, *>)["candidates"], answer.candidates, places)
            }
            is Embedding -> compareVector(where, golden as Map<*, *>, answer)
            is Double -> near(where, (golden as Map<*, *>)["similarity"], answer, VECTOR)
            else -> throw AssertionError("$where: $answer is no answer")
        }
    }

    private fun compareFields(where: String, golden: Any?, places: IntArray, start: Int?, end: Int?, vararg fields: Pair<String, Any?>) {
        val expected = golden as Map<*, *>
        same("$where: start", (expected["start"] as? Number)?.let { places[it.toInt()] }, start)
        same("$where: end", (expected["end"] as? Number)?.let { places[it.toInt()] }, end)
        for ((name, value) in fields) {
            if (value is Double) near("$where: $name", expected[name], value, SCORE) else same("$where: $name", expected[name], value)
        }
    }

    private fun compareVector(where: String, golden: Map<*, *>, answer: Embedding) {
        val values = golden["vector"] as List<*>
        same("$where: width", values.size, answer.values.size)
        for (i in values.indices) near("$where: vector", values[i], answer.values[i].toDouble(), VECTOR)
        val small = golden["int8"] as Map<*, *>
        same("$where: int8", numbers(small["values"] as List<*>), answer.bytes.map { it.toInt() })
        near("$where: scale", small["scale"], answer.scale, 2e-9)
    }

    private fun near(where: String, expected: Any?, actual: Double, tolerance: Double) {
        if (abs((expected as Number).toDouble() - actual) > tolerance) throw AssertionError("$where: $expected expected, $actual found")
    }

    private fun same(where: String, expected: Any?, actual: Any?) {
        if (expected != actual) throw AssertionError("$where: $expected expected, $actual found")
    }

    private fun numbers(list: List<*>): List<Int> = list.map { (it as Number).toInt() }

    private fun pairs(list: List<*>, places: IntArray): List<List<Int>> =
        list.map { pair -> numbers(pair as List<*>).map { if (it < 0) it else places[it] } }

    /** Golden vectors count code points. */
    fun unitsOf(text: String): IntArray {
        val units = ArrayList<Int>()
        var at = 0
        while (at < text.length) {
            units.add(at)
            at += Text.width(Text.pointAt(text, at))
        }
        units.add(at)
        return units.toIntArray()
    }

    @JvmStatic
    fun main(arguments: Array<String>) {
        println("${replay(File(arguments.getOrElse(0) { "." }))} texts are read as Python reads them")
    }
}
