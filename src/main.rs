//! The program: parse, run, report, exit code.

fn main() {}
