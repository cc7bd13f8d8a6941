//! Flows: text scripts with golden output.
