//! libFuzzer's way to the target `exchange`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| replyd_fuzz::check("exchange", input));
