package @PACKAGE@

/** Holds files against the sha256 that `edgebert.json` says. */
internal object Checksums {
    /** Throws where a file is not what it was when it was written. */
    fun check(name: String, expected: String, digest: ByteArray) {
        val actual = digest.joinToString("") { ((it.toInt() and 255) or 256).toString(16).substring(1) }
        if (actual != expected) throw EdgeModelException("$name was changed: its sha256 is $actual, and edgebert.json says $expected")
    }
}
