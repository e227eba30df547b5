package @PACKAGE@

import java.io.File
import org.junit.Test

/** Gradle runs unit tests in the module's folder. */
class GoldenTest {
    @Test
    fun readsTextsAsPythonDoes() {
        Golden.replay(File("."))
    }
}
