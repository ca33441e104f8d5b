#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| schedscope::fuzz::run("web", data));
