//! Any bytes as a message: decoding ends, and what it yields survives another round.

#![no_main]

use everstep_model::stored::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::message(bytes));
