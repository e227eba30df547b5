import org.jetbrains.kotlin.gradle.dsl.JvmTarget
import org.jetbrains.kotlin.gradle.tasks.KotlinJvmCompile

plugins {
    id("com.android.library")
}

// From version 9 on Android's plugin compiles Kotlin by itself.
if (extensions.findByName("kotlin") == null) apply(plugin = "org.jetbrains.kotlin.android")

android {
    namespace = "@NAME@"
    compileSdk = 35

    defaultConfig {
        minSdk = @MIN_SDK@ // what @RUNTIME@ @VERSION@ asks for
        consumerProguardFiles("consumer-rules.pro")
    }

    // The model is mapped into memory as it lies in the application, which an application's own build file must say too.
    androidResources {
        noCompress += "@SUFFIX@"
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

tasks.withType<KotlinJvmCompile>().configureEach {
    compilerOptions.jvmTarget.set(JvmTarget.JVM_17)
}

dependencies {
    implementation("@DEPENDENCY@:@VERSION@")
    testImplementation("junit:junit:4.13.2")
}
