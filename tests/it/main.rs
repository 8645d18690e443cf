//! One test crate: the real binary against a real TLS upstream that can be told to misbehave.

mod demo;
