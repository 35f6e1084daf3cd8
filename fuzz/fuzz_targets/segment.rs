//! Any bytes as a file of the log: reading it ends, in an answer.

#![no_main]

use everstep_store_embedded::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::segment(bytes);
    fuzzing::head(bytes);
});
