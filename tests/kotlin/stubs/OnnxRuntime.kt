// ONNX Runtime 1.27, as its Java sources declare it.
package ai.onnxruntime

import java.nio.ByteBuffer
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.nio.LongBuffer

interface OnnxValue : AutoCloseable

class OnnxTensor : OnnxValue {
    val floatBuffer: FloatBuffer get() = TODO()

    override fun close() = Unit

    companion object {
        @JvmStatic
        fun createTensor(environment: OrtEnvironment, data: IntBuffer, shape: LongArray): OnnxTensor = TODO()

        @JvmStatic
        fun createTensor(environment: OrtEnvironment, data: LongBuffer, shape: LongArray): OnnxTensor = TODO()
    }
}

class OrtEnvironment {
    fun createSession(model: ByteBuffer, options: OrtSession.SessionOptions): OrtSession = TODO()

    companion object {
        @JvmStatic
        fun getEnvironment(): OrtEnvironment = TODO()
    }
}

class OrtSession : AutoCloseable {
    class SessionOptions {
        fun setIntraOpNumThreads(number: Int): Unit = TODO()
    }

    class Result : AutoCloseable {
        fun get(name: String): java.util.Optional<OnnxValue> = TODO(name)

        override fun close() = Unit
    }

    fun run(inputs: Map<String, OnnxTensor>): Result = TODO()

    override fun close() = Unit
}
