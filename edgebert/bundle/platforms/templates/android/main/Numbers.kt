package @PACKAGE@

/** Whole numbers as short text: base 64 with five bits a character, the lowest first, the sixth bit set where more follow. */
internal object Numbers {
    private const val ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    fun decode(text: String): IntArray {
        val digits = IntArray(128) { -1 }
        for (i in ALPHABET.indices) digits[ALPHABET[i].code] = i
        val numbers = IntArray(text.length)
        var count = 0
        var value = 0
        var shift = 0
        for (character in text) {
            val digit = if (character.code < 128) digits[character.code] else -1
            if (digit < 0) throw EdgeModelException("edgebert.json: a table holds a character that is no digit of base 64")
            value = value or ((digit and 31) shl shift)
            shift += 5
            if (digit and 32 == 0) {
                numbers[count++] = value
                value = 0
                shift = 0
            }
        }
        return numbers.copyOf(count)
    }

    /** A number that may be negative, which is written as 2n, or as -2n - 1 where n is below 0. */
    fun signed(number: Int): Int = if (number and 1 == 0) number shr 1 else -(number shr 1) - 1
}
