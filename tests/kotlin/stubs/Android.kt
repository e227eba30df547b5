// Just as much of Android as the packages use, so that the files that touch it are compiled: none of it runs.
package android.content

class Context(val assets: android.content.res.AssetManager) {
    val applicationContext: Context get() = this
}
