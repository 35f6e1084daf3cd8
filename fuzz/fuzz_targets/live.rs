//! Any bytes as what the engine keeps of an instance: decoding ends, and what it yields survives another round.

#![no_main]

use everstep_engine::Instance;
use everstep_model::{Iid, InstanceId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let id = InstanceId::parse("fuzzed").expect("a plain id");
    let Ok(instance) = Instance::decode_live(Iid(1), id.clone(), bytes) else { return };
    let again = Instance::decode_live(Iid(1), id, &instance.encode_live());
    assert_eq!(again.ok().as_ref(), Some(&instance));
});
