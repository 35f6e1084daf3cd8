//! Several values in one, which is how `arg_max` gives the columns of a row.
//!
//! A byte for the type, then eight bytes of a number, or eight bytes of a length and the text. Blobs do not occur in tables
//! that queries read; they count as null. It lives within one statement, so it is no stored format.

use rusqlite::types::{Value, ValueRef};

pub(super) fn pack<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> Vec<u8> {
    let mut packed = Vec::new();
    for value in values {
        match value {
            ValueRef::Null | ValueRef::Blob(_) => packed.push(0),
            ValueRef::Integer(number) => {
                packed.push(1);
                packed.extend(number.to_le_bytes());
            }
            ValueRef::Real(number) => {
                packed.push(2);
                packed.extend(number.to_le_bytes());
            }
            ValueRef::Text(text) => {
                packed.push(3);
                packed.extend((text.len() as u64).to_le_bytes());
                packed.extend(text);
            }
        }
    }
    packed
}

/// The value at a place; null for what is no packed value.
pub(super) fn item(packed: ValueRef<'_>, at: usize) -> Option<Value> {
    let ValueRef::Blob(mut rest) = packed else { return None };
    for _ in 0..at {
        take(&mut rest)?;
    }
    take(&mut rest)?
}

/// The next value, null as the inner nothing.
#[expect(
    clippy::option_option,
    reason = "the outer says whether there is a value, the inner whether it is null"
)]
fn take(rest: &mut &[u8]) -> Option<Option<Value>> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    if *tag == 0 {
        return Some(None);
    }
    let (eight, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    match tag {
        1 => Some(Some(Value::Integer(i64::from_le_bytes(*eight)))),
        2 => Some(Some(Value::Real(f64::from_le_bytes(*eight)))),
        _ => {
            let length = usize::try_from(u64::from_le_bytes(*eight)).ok()?;
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            Some(Some(Value::Text(String::from_utf8_lossy(text).into_owned())))
        }
    }
}
