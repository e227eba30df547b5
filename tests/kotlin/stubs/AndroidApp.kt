package android.app

open class Activity {
    val applicationContext: android.content.Context get() = TODO()

    open fun onCreate(state: android.os.Bundle?) = Unit

    open fun onDestroy() = Unit

    fun setContentView(view: android.widget.View) = Unit

    fun runOnUiThread(action: Runnable) = Unit
}
