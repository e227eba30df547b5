package @PACKAGE@.sample

import android.app.Activity
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import @PACKAGE@.EdgeModel
import @PACKAGE@.open
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** A text, a button and the answer with its time. The model is opened and asked on a thread of its own. */
class SampleActivity : Activity() {
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private var model: EdgeModel? = null

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        val first = EditText(this).apply { hint = "@FIRST_HINT@" }
        val second = EditText(this).apply { hint = "@SECOND_HINT@" }
        val answer = TextView(this).apply { setTextIsSelectable(true) }
        val button = Button(this).apply {
            text = "Ask"
            isEnabled = false
        }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true
                for (view in listOf(@VIEWS@, button, answer)) addView(view)
            },
        )
        worker.execute {
            val opened = EdgeModel.open(applicationContext)
            model = opened
            runOnUiThread { button.isEnabled = true }
        }
        button.setOnClickListener {
            val a = first.text.toString()
            val b = second.text.toString()
            worker.execute {
                val begin = System.nanoTime()
                val shown = model?.let { ask(it, a, b) } ?: ""
                val milliseconds = (System.nanoTime() - begin) / 1_000_000
                runOnUiThread { answer.text = "$shown\n\n$milliseconds ms" }
            }
        }
    }

    @Suppress("UNUSED_PARAMETER")
    private fun ask(model: EdgeModel, first: String, second: String): String = @CALL@

    override fun onDestroy() {
        worker.execute { model?.close() }
        worker.shutdown()
        super.onDestroy()
    }
}
