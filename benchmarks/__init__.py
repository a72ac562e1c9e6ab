"""The full table of benchmarks: tasks, contenders, shapes. Run with `python -m benchmarks`."""
