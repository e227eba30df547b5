// What tests/test_platform_android.py runs on the JVM: it is compiled with a package's own sources, and is part of none.
package com.example.slots

import java.io.File
import java.util.Locale

/** The first argument says what to do; each line of the answer is told on standard output, and an error by its message. */
internal object Driver {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val rest = arguments.drop(1)
        when (arguments[0]) {
            "golden" -> for (folder in rest) say(folder) { "${Golden.replay(File(folder))} texts" }
            "tokens" -> for (file in rest) say(file) { compareTokens(File(file)) }
            "calls" -> calls(File(rest[0]))
            "time" -> time(rest)
            else -> error("unknown command")
        }
    }

    private fun say(name: String, body: () -> String) {
        val result = try {
            "ok ${body()}"
        } catch (error: Throwable) {
            "failed ${error.javaClass.simpleName}: ${error.message}"
        }
        println("$name\t${result.replace("\n", "\\n")}")
    }

    private fun read(assets: File, name: String) = Json.read(File(assets, name).readText(), name)

    private fun tokenizer(assets: File) = Tokenizer(read(assets, "edgebert.json").map("tokenizer"), read(assets, "tokenizer.json"))

    /** A file of the folder of assets in its first line, then a text, its ids and its places (in UTF-16) a line. */
    private fun compareTokens(file: File): String {
        var count = 0
        file.useLines { lines ->
            val iterator = lines.iterator()
            val tokenizer = tokenizer(File(Json.read(iterator.next(), file.name).text("assets")))
            for (line in iterator) {
                val expected = Json.read(line, file.name)
                val tokens = tokenizer.encode(expected.text("text"))
                tokenizer.trim(tokens, expected.text("text"))
                val ids = tokens.ids.take(tokens.size)
                val places = (0 until tokens.size).flatMap { listOf(tokens.starts[it], tokens.ends[it]) }
                val wanted = expected.list("ids").map { (it as Number).toInt() }
                val wantedPlaces = expected.list("places").map { (it as Number).toInt() }
                if (ids != wanted || places != wantedPlaces) {
                    val shown = expected.text("text").map { if (it.code in 32..126) it.toString() else "\\u%04x".format(Locale.ROOT, it.code) }.joinToString("")
                    throw AssertionError("text $count '${shown.take(400)}': $wanted $wantedPlaces expected, $ids $places found")
                }
                count++
            }
        }
        return "$count texts"
    }

    /** Lines of {assets, call, texts, lengths, repeat}: what the model answers where its outputs are made up of the token ids. */
    private fun calls(file: File) {
        val models = HashMap<String, EdgeModel>()
        file.forEachLine { line ->
            val request = Json.read(line, file.name)
            val lengths = request["lengths"] as? String
            val key = request.text("assets") + lengths
            say(request.text("call")) {
                val model = models.getOrPut(key) { open(File(request.text("assets")), lengths) }
                val repeat = (request["repeat"] as? Number)?.toInt() ?: 1
                val texts = request.texts("texts").map { it.repeat(repeat) }
                shown(ask(model, request.text("call"), texts))
            }
        }
    }

    private fun ask(model: EdgeModel, call: String, texts: List<String>): Any = when (call) {
        "entities" -> model.entities(texts[0])
        "tag" -> model.tag(texts[0])
        "classify" -> if (texts.size == 1) model.classify(texts[0]) else model.classify(texts[0], texts[1])
        "embed" -> model.embed(texts[0])
        "similarity" -> model.similarity(texts[0], texts[1])
        "answer" -> model.answer(texts[0], texts[1])
        else -> model.answers(texts[0], texts.getOrNull(1))
    }

    private fun shown(answer: Any?): String = when (answer) {
        is Embedding -> "${answer.values.toList()} ${answer.bytes.toList()} ${answer.scale}"
        is Map<*, *> -> answer.entries.joinToString { "${it.key}=${shown(it.value)}" }
        is List<*> -> if (answer.size > 20) "${answer.size} items, last ${answer.last()}" else answer.toString()
        else -> answer.toString()
    }

    private fun open(assets: File, lengths: String?): EdgeModel {
        val settings = LinkedHashMap(read(assets, "edgebert.json"))
        if (lengths != null) {
            val model = LinkedHashMap(settings.map("model"))
            for (side in listOf("inputs", "outputs")) {
                model[side] = model.maps(side).map { item ->
                    item + ("shape" to item.list("shape").mapIndexed { i, size -> if (i == 1 && size == "seq") lengths else size })
                }
            }
            settings["model"] = model
        }
        val pipeline = Pipeline(settings, read(assets, "tokenizer.json"))
        val widths = settings.map("model").maps("outputs").associate { it.text("name") to (it.list("shape").last() as? Number)?.toInt() }
        return EdgeModel(settings, read(assets, "tokenizer.json"), object : Engine {
            override fun run(ids: IntArray, mask: IntArray, types: IntArray): Map<String, FloatArray> {
                if (lengths != null) check(ids.size in pipeline.lengths) { "${ids.size} is none of the lengths" }
                val n = mask.sum()
                for (i in n until ids.size) check(ids[i] == pipeline.padId && types[i] == 0 && mask[i] == 0) { "padding is wrong" }
                return widths.mapValues { (name, known) ->
                    val width = known ?: 1
                    if (pipeline.isPerToken(name)) {
                        FloatArray(ids.size * width) { if (it / width < n) wave(ids[it / width], it % width) else 1e9f }
                    } else {
                        FloatArray(width) { column -> (0 until n).sumOf { wave(ids[it], column).toDouble() }.toFloat() / n }
                    }
                }
            }

            override fun close() = Unit
        })
    }

    private fun wave(id: Int, column: Int): Float = ((id * 31 + column * 17) % 23 - 11).toFloat() / 4

    /** Microseconds of a text of a file, with the tokenizer of a folder of assets: a line for each line that is asked with. */
    private fun time(arguments: List<String>) {
        val tokenizer = tokenizer(File(arguments[0]))
        val texts = File(arguments[1]).readLines()
        val reader = System.`in`.bufferedReader()
        var sink = 0
        while (reader.readLine() != null) { // a round is asked for by a line, so that the other side can take turns
            val begin = System.nanoTime()
            for (text in texts) sink += tokenizer.encode(text).size
            println((System.nanoTime() - begin) / 1000.0 / texts.size)
            System.out.flush()
        }
        System.err.println(sink)
    }
}
