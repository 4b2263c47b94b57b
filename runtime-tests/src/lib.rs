//! Drives a runtime binary on real bundles.
