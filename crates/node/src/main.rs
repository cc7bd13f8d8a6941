//! rehome
fn main() {}
