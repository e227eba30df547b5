package @PACKAGE@

import android.content.Context
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import java.security.MessageDigest

// All that touches Android's classes, but for the engine: it is compiled with an Android SDK only.

private const val FOLDER = "edgebert/@NAME@"

/**
 * Opens the model of this package. It reads and checks files: call it off the main thread.
 *
 * @param threads that one call of the model may use.
 * @param verify holds every file against its sha256 first; a changed one is refused with its name.
 */
fun EdgeModel.Companion.open(context: Context, threads: Int = 2, verify: Boolean = true): EdgeModel {
    val settings = Json.read(read(context, "edgebert.json").decodeToString(), "edgebert.json")
    val tokenizer = read(context, "tokenizer.json")
    val file = settings.map("model").text("file")
    val model = load(context, file)
    if (verify) {
        check(settings, "tokenizer.json", ByteBuffer.wrap(tokenizer))
        check(settings, file, model.duplicate())
    }
    return EdgeModel(settings, Json.read(tokenizer.decodeToString(), "tokenizer.json"), @ENGINE@(model, settings, threads))
}

private fun check(settings: Map<String, Any?>, name: String, bytes: ByteBuffer) {
    val digest = MessageDigest.getInstance("SHA-256")
    digest.update(bytes)
    Checksums.check(name, settings.map("files").map(name).text("sha256"), digest.digest())
}

private fun read(context: Context, name: String): ByteArray = context.assets.open("$FOLDER/$name").use { it.readBytes() }

/** The file in memory: mapped where the application keeps it uncompressed, which costs no memory of its own, else read. */
private fun load(context: Context, name: String): ByteBuffer {
    try {
        context.assets.openFd("$FOLDER/$name").use { descriptor ->
            descriptor.createInputStream().use { stream ->
                return stream.channel.map(FileChannel.MapMode.READ_ONLY, descriptor.startOffset, descriptor.declaredLength)
            }
        }
    } catch (compressed: FileNotFoundException) {
        val bytes = read(context, name)
        return ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder()).put(bytes).apply { rewind() }
    }
}
