//! belvedere
fn main() {}
