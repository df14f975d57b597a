"""What `make bench` measures: figures and ratios, taken in one run, written to docs/performance.md."""
