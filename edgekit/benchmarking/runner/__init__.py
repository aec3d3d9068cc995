"""edgekit's own measuring program, twice with one command line: in C for LiteRT and onnxruntime, in Python for MNN too.

main.c          the C program; its other files are listed there
runner.py       the same in one file of Python that runs by itself, on a board too
build.py        builds the C program for an ABI, once
"""
