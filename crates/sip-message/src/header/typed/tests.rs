//! Tests of `typed`.
