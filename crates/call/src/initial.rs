//! initial
