"""What it costs when the work grows: ``python -m benchmarks.growth``.

The server under test is a process of its own on one core, its client another one on another core; both are programs on
aiotls's public API.  `side` says how they are told what to do, and what they tell about themselves.
"""
