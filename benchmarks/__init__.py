"""What aiotls costs beside other programs: ``python -m benchmarks``, or ``make bench``.

Each program under test is a process of its own with one event loop, alone on one core; what it is measured with runs on
another.  `modes` says what is measured, `programs` which programs there are, and `measurement` how.
"""
