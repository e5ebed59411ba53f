//! Entry point of the `cerby-reconciler` program.

fn main() {}
