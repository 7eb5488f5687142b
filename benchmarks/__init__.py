"""How fast the compiler is, and what a compiled step costs beside the same step written by hand."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # read when torch is imported: its profiler would print to the terminal
