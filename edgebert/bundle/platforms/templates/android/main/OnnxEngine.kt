package @PACKAGE@

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.nio.LongBuffer

/** The model in ONNX Runtime. It takes rows of any length. */
internal class OnnxEngine(model: ByteBuffer, settings: Map<String, Any?>, threads: Int) : Engine {
    private val environment = OrtEnvironment.getEnvironment()
    private val session: OrtSession
    private val types = settings.map("model").maps("inputs").associate { it.text("name") to it.text("type") }
    private val outputs = settings.map("model").maps("outputs").map { it.text("name") }

    init {
        val options = OrtSession.SessionOptions()
        options.setIntraOpNumThreads(threads)
        session = environment.createSession(model, options)
    }

    override fun run(ids: IntArray, mask: IntArray, types: IntArray): Map<String, FloatArray> {
        val values = mapOf("input_ids" to ids, "attention_mask" to mask, "token_type_ids" to types)
        val given = LinkedHashMap<String, OnnxTensor>()
        try {
            for ((name, type) in this.types) given[name] = tensor(values.getValue(name), type)
            session.run(given).use { result ->
                return outputs.associateWith { name -> numbers((result.get(name).get() as OnnxTensor).floatBuffer) }
            }
        } finally {
            given.values.forEach { it.close() }
        }
    }

    private fun tensor(row: IntArray, type: String): OnnxTensor {
        val shape = longArrayOf(1, row.size.toLong())
        if (type == "int32") return OnnxTensor.createTensor(environment, IntBuffer.wrap(row), shape)
        return OnnxTensor.createTensor(environment, LongBuffer.wrap(LongArray(row.size) { row[it].toLong() }), shape)
    }

    private fun numbers(buffer: FloatBuffer): FloatArray = FloatArray(buffer.remaining()).also { buffer.get(it) }

    override fun close() = session.close()
}
