//! libFuzzer's way to the target `command`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| replyd_fuzz::check("command", input));
