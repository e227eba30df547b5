package @PACKAGE@

import java.nio.ByteBuffer
import java.nio.FloatBuffer
import org.tensorflow.lite.Interpreter

/** The model in LiteRT. Its file has a signature a length, which is named after it: seq32, seq128. */
internal class LiteRtEngine(model: ByteBuffer, settings: Map<String, Any?>, threads: Int) : Engine {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    private val inputs = settings.map("model").maps("inputs").map { it.text("name") }
    private val outputs = settings.map("model").maps("outputs").map { it.text("name") }

    override fun run(ids: IntArray, mask: IntArray, types: IntArray): Map<String, FloatArray> {
        val signature = "seq${ids.size}"
        val values = mapOf("input_ids" to ids, "attention_mask" to mask, "token_type_ids" to types)
        val given = HashMap<String, Any>()
        for (name in inputs) given[name] = arrayOf(values.getValue(name)) // (1, length)
        val buffers = LinkedHashMap<String, FloatBuffer>()
        for (name in outputs) {
            val size = interpreter.getOutputTensorFromSignature(name, signature).numElements()
            buffers[name] = FloatBuffer.allocate(size)
        }
        interpreter.runSignature(given, HashMap<String, Any>(buffers), signature)
        return buffers.mapValues { it.value.array() }
    }

    override fun close() = interpreter.close()
}
