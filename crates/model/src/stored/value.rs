//! Values, failures, ids and times.

use bytes::Bytes;

use super::field::{Field, delimited, number};
use crate::{
    Caller, EventId, ExecutionId, Failure, GroupNo, Guid, Iid, InstanceId, Origin, Outcome, Parent,
    PartitionId, PayloadRef, Position, ReusePolicy, Source, Status, Tags, Timestamp, TraceContext,
    Value, message, oneof,
    wire::{Error, Found, Problem, Writer},
};

number! {
    EventId: varint, |value| u64::from(value.0), |raw| u32::try_from(raw).ok().map(Self);
    GroupNo: varint, |value| value.0, |raw| Some(Self(raw));
    PartitionId: varint, |value| u64::from(value.0), |raw| u16::try_from(raw).ok().map(Self);
    Iid: fixed64, |value| value.0, |raw| Some(Self(raw));
    Timestamp: fixed64, |value| value.ticks().cast_unsigned(), |raw| Some(Self::from_ticks(u64::cast_signed(raw)));
}

delimited! {
    InstanceId: |value| value.as_str().as_bytes(), text, |raw| Some(Self::from_stored(raw));
    ExecutionId: |value| value.as_str().as_bytes(), text, |raw| Some(Self::new(raw));
    Guid: |value| &value.0, bytes, |raw| <[u8; 16] as TryFrom<&[u8]>>::try_from(raw).ok().map(Self);
}

// frozen
message!(Position { 1 partition, 2 group, 3 index });
// frozen
message!(PayloadRef { 1 iid, 2 execution, 3 n, 4 len, 5 crc });
// frozen
message!(recursive Failure { 1 kind, 2 message, 3 stack, 4 inner, 5 non_retriable });
// frozen
oneof!(Outcome { 1 Completed(value), 2 Failed(failure) });
// frozen
message!(TraceContext { 1 traceparent, 2 tracestate });
// frozen
message!(Parent { 1 instance, 2 execution_id, 3 name, 4 task });
// frozen
message!(Origin { 1 call, 2 attempt });
// frozen
message!(Caller { 1 instance, 2 execution_id, 3 task });

/// Frozen. The field of [`Value::Inline`].
const VALUE_INLINE: u32 = 1;
/// Frozen. The field of [`Value::Ref`].
const VALUE_REF: u32 = 2;

/// Written by hand because payloads may be long: nothing is moved. No field at all is the empty value.
impl Field for Value {
    #[inline]
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        if !matches!(self, Self::Inline(bytes) if bytes.is_empty()) {
            self.put_present(writer, number);
        }
    }

    #[inline]
    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        match self {
            Self::Inline(bytes) => writer.nested_bytes(number, VALUE_INLINE, bytes),
            Self::Ref(payload) => {
                writer.nested(number, |w| payload.put_present(w, VALUE_REF));
            }
        }
    }

    #[inline]
    fn read(found: Found<'_>) -> Result<Self, Error> {
        let mut reader = found.nested()?;
        let mut value = None;
        while let Some((number, found)) = reader.next_field()? {
            match number {
                VALUE_INLINE => value = Some(Self::Inline(Bytes::read(found)?)),
                VALUE_REF => value = Some(Self::Ref(PayloadRef::read(found)?)),
                _ => {}
            }
        }
        value.ok_or_else(|| reader.error(Problem::Variant))
    }

    #[inline]
    fn absent() -> Option<Self> {
        Some(Self::empty())
    }
}

/// A protobuf map: one message of key and value per tag.
impl Field for Tags {
    #[inline]
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        for (key, value) in self {
            writer.nested(number, |w| {
                key.put(w, 1);
                value.put(w, 2);
            });
        }
    }

    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        writer.nested(number, |w| self.put(w, 1));
    }

    fn read(found: Found<'_>) -> Result<Self, Error> {
        super::field::only_field(found)
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn merge(slot: &mut Option<Self>, found: Found<'_>) -> Result<(), Error> {
        let (key, value) = <(String, String)>::read(found)?;
        slot.get_or_insert_default().insert(key, value);
        Ok(())
    }
}

/// The position, or nothing for a local source.
impl Field for Source {
    #[inline]
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        if let Self::Instance(position) = self {
            position.put_present(writer, number);
        }
    }

    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        writer.nested(number, |w| self.put(w, 1));
    }

    fn read(found: Found<'_>) -> Result<Self, Error> {
        super::field::only_field(found)
    }

    fn absent() -> Option<Self> {
        Some(Self::Local)
    }

    fn merge(slot: &mut Option<Self>, found: Found<'_>) -> Result<(), Error> {
        *slot = Some(Self::Instance(Position::read(found)?));
        Ok(())
    }
}

/// The numbers of the statuses as a packed list; absent is none of them.
impl Field for ReusePolicy {
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        if !self.statuses().is_empty() {
            self.put_present(writer, number);
        }
    }

    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        let statuses = self.statuses();
        if let Ok([a, b, c, d]) = <[Status; 4]>::try_from(statuses) {
            writer.bytes(number, &[a as u8, b as u8, c as u8, d as u8]);
        } else {
            let numbers: Vec<u8> = statuses.iter().map(|status| *status as u8).collect();
            writer.bytes(number, &numbers);
        }
    }

    fn read(found: Found<'_>) -> Result<Self, Error> {
        let statuses = found.bytes()?.iter().map(|number| Status::from_number(*number));
        let statuses: Option<Vec<_>> = statuses.collect();
        statuses.map(Self::of).ok_or_else(|| found.error(Problem::Range))
    }

    fn absent() -> Option<Self> {
        Some(Self::never())
    }
}
