//! What the fuzz targets and the test over random bytes run: decoding ends, and what it yields survives another round.

use super::{Stored, decode, decode_group, encode, encode_group, events, put_event};
use crate::{Event, Message};

/// Any bytes as a group.
pub fn group(bytes: &[u8]) {
    let Ok(group) = decode_group(bytes) else { return };
    assert_eq!(decode_group(&encode_group(&group, &[])).as_ref(), Ok(&group));
}

/// Any bytes as a chunk.
pub fn chunk(bytes: &[u8]) {
    let decoded: Vec<Event> = events(bytes).map_while(Result::ok).collect();
    let mut again = Vec::new();
    for event in &decoded {
        put_event(&mut again, event);
    }
    assert_eq!(events(&again).collect::<Result<Vec<_>, _>>(), Ok(decoded));
}

/// Any bytes as a message.
pub fn message(bytes: &[u8]) {
    round::<Message>(bytes);
}

/// Any bytes as a `T`.
pub fn round<T: Stored + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else { return };
    let mut again = Vec::new();
    encode(&mut again, &value);
    assert_eq!(decode::<T>(&again), Ok(value));
}
