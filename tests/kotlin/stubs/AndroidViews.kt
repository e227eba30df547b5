package android.widget

import android.app.Activity

open class View(activity: Activity) {
    var isEnabled = true
    var fitsSystemWindows = false

    fun setOnClickListener(listener: (View) -> Unit) = Unit
}

open class TextView(activity: Activity) : View(activity) {
    var text: CharSequence = ""
    var hint: CharSequence = ""

    fun setTextIsSelectable(selectable: Boolean) = Unit
}

class EditText(activity: Activity) : TextView(activity)

class Button(activity: Activity) : TextView(activity)

class LinearLayout(activity: Activity) : View(activity) {
    var orientation = 0

    fun addView(view: View) = Unit

    companion object {
        const val VERTICAL = 1
    }
}
