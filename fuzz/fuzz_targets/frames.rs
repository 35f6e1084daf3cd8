//! Any bytes as the records of frames that pass their checksums.

#![no_main]

use everstep_store_embedded::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::frames(bytes));
