"""An interpreter of saved Core ML programs (MIL), over torch: it checks a .mlpackage where there is no Mac.

`program.load(path)` reads the package from disk; `session.MilSession` runs it as other runtimes are run. An op, an
argument or a type that is not known here is an error that names it: nothing is guessed.
"""
