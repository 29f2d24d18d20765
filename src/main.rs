//! `lakegate`: the one binary.
fn main() {}
