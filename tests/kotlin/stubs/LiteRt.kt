// LiteRT 2.1, as its Java sources declare it.
package org.tensorflow.lite

interface Tensor {
    fun numElements(): Int
}

class Interpreter(model: java.nio.ByteBuffer, options: Options) : AutoCloseable {
    class Options {
        fun setNumThreads(number: Int): Options = this
    }

    fun getOutputTensorFromSignature(output: String, signature: String): Tensor = TODO(output + signature)

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, signature: String): Unit = TODO(signature)

    override fun close() = Unit
}
