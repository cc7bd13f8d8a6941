//! Tests of `uri`.
