#![no_main]

#[path = "../checks/conversation.rs"]
mod check;
#[path = "../checks/machine.rs"]
mod machine;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::run(input));
