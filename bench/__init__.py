"""Benchmarks: what docs/performance.md says, and how to see it again (`make bench`)."""
