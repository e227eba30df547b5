package android.content.res

class AssetManager {
    fun open(name: String): java.io.InputStream = TODO(name)

    fun openFd(name: String): AssetFileDescriptor = TODO(name)
}

class AssetFileDescriptor : java.io.Closeable {
    val startOffset: Long get() = TODO()
    val declaredLength: Long get() = TODO()

    fun createInputStream(): java.io.FileInputStream = TODO()

    override fun close() = TODO()
}
