//! How a value becomes a field: the traits under the tables, and the types that are one field each.
//!
//! F1  A value that equals its default (0, empty, `None`) is left out, and an absent field is its default.
//! F2  Where presence matters the type is an `Option`: `Some` is written even if what it holds is a default.
//! F3  If a field stands several times, the last one counts; a list takes them all.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{Error, Found, Problem, Reader, Writer};

/// A type that is a message: a struct or an enum with a table of field numbers.
pub trait Stored: Sized {
    /// Whether it can contain itself.
    const RECURSIVE: bool = false;

    /// Writes the fields.
    fn put_fields(&self, writer: &mut Writer<'_>);

    /// Reads all fields to the end.
    fn read_fields(reader: Reader<'_>) -> Result<Self, Error>;
}

/// A type that can stand in a field.
pub trait Field: Sized {
    /// Writes it under `number`, unless it is the default.
    fn put(&self, writer: &mut Writer<'_>, number: u32);

    /// Writes it under `number`, also if it is the default.
    fn put_present(&self, writer: &mut Writer<'_>, number: u32);

    /// Reads what one `put_present` wrote.
    fn read(found: Found<'_>) -> Result<Self, Error>;

    /// What it means that the field is absent; `None` if it must not be.
    fn absent() -> Option<Self>;

    /// Takes in one more occurrence of the field.
    fn merge(slot: &mut Option<Self>, found: Found<'_>) -> Result<(), Error> {
        *slot = Some(Self::read(found)?);
        Ok(())
    }
}

impl<T: Stored> Field for T {
    #[inline]
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        if T::RECURSIVE {
            writer.deeper(|w| w.nested_unless_empty(number, |w| self.put_fields(w)));
        } else {
            writer.nested_unless_empty(number, |w| self.put_fields(w));
        }
    }

    #[inline]
    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        if T::RECURSIVE {
            writer.deeper(|w| w.nested(number, |w| self.put_fields(w)));
        } else {
            writer.nested(number, |w| self.put_fields(w));
        }
    }

    #[inline]
    fn read(found: Found<'_>) -> Result<Self, Error> {
        let found = if T::RECURSIVE { found.deeper()? } else { found };
        T::read_fields(found.nested()?)
    }

    fn absent() -> Option<Self> {
        T::read_fields(Reader::new(&[])).ok()
    }
}

/// The value of a field after all occurrences: what was found, or what its absence means.
#[inline]
pub fn settle<T: Field>(slot: Option<T>, number: u32, reader: &Reader<'_>) -> Result<T, Error> {
    slot.or_else(T::absent).ok_or_else(|| reader.error(Problem::Missing(number)))
}

/// The table of a struct: frozen field numbers, one per field.
///
/// The struct is taken apart by name, so a new field does not compile until it has a number.
///
/// ```
/// use everstep_model::{Timestamp, stored, message};
/// #[derive(Debug, PartialEq)]
/// struct Nap { since: Timestamp, reason: String }
/// message!(Nap { 1 since, 2 reason });
/// let nap = Nap { since: Timestamp::from_millis(5), reason: "tired".into() };
/// let mut bytes = Vec::new();
/// stored::encode(&mut bytes, &nap);
/// assert_eq!(stored::decode::<Nap>(&bytes), Ok(nap));
/// ```
#[macro_export]
macro_rules! message {
    (recursive $type:ident { $($table:tt)* }) => {
        $crate::message!(@impl $type { const RECURSIVE: bool = true; } $($table)*);
    };
    ($type:ident { $($table:tt)* }) => {
        $crate::message!(@impl $type {} $($table)*);
    };
    (@impl $type:ident { $($constant:tt)* } $($number:literal $field:ident),* $(,)?) => {
        impl $crate::stored::Stored for $type {
            $($constant)*

            #[inline]
            fn put_fields(&self, writer: &mut $crate::wire::Writer<'_>) {
                let Self { $($field),* } = self;
                $( $crate::stored::Field::put($field, writer, $number); )*
            }

            fn read_fields(reader: $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::Error> {
                $crate::read_fields!(reader => Self { $($number $field),* })
            }
        }
    };
}

/// The table of an enum: a protobuf `oneof` with one frozen field number per variant, each a nested message with a table
/// of its own, or one value.
///
/// ```
/// use everstep_model::{Timestamp, Value, stored, oneof};
/// #[derive(Debug, PartialEq)]
/// enum State { Asleep { since: Timestamp }, Done(Value), New }
/// oneof!(State { 1 Asleep { 1 since }, 2 Done(value), 3 New {} });
/// for state in [State::Asleep { since: Timestamp::EPOCH }, State::Done(Value::from("5")), State::New] {
///     let mut bytes = Vec::new();
///     stored::encode(&mut bytes, &state);
///     assert_eq!(stored::decode::<State>(&bytes), Ok(state));
/// }
/// ```
#[macro_export]
macro_rules! oneof {
    (recursive $type:ident { $($table:tt)* }) => {
        $crate::oneof!(@impl $type { const RECURSIVE: bool = true; } $($table)*);
    };
    ($type:ident { $($table:tt)* }) => {
        $crate::oneof!(@impl $type {} $($table)*);
    };
    (@impl $type:ident { $($constant:tt)* } $(
        $number:literal $variant:ident
        $( { $($inner:literal $field:ident),* $(,)? } )?
        $( ( $value:ident ) )?
    ),* $(,)?) => {
        impl $crate::stored::Stored for $type {
            $($constant)*

            #[inline]
            fn put_fields(&self, writer: &mut $crate::wire::Writer<'_>) {
                match self { $(
                    Self::$variant $( { $($field),* } )? $( ($value) )? => {
                        $( writer.nested($number, |_writer| {
                            $( $crate::stored::Field::put($field, _writer, $inner); )*
                        }); )?
                        $( $crate::stored::Field::put_present($value, writer, $number); )?
                    }
                )* }
            }

            fn read_fields(mut reader: $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::Error> {
                let mut value = None;
                while let Some((number, found)) = reader.next_field()? {
                    match number {
                        $( $number => value = Some({
                            $( let fields = found.nested()?;
                               $crate::read_fields!(fields => Self::$variant { $($inner $field),* })? )?
                            $( let $value = $crate::stored::Field::read(found)?;
                               Self::$variant($value) )?
                        }), )*
                        _ => {}
                    }
                }
                value.ok_or_else(|| reader.error($crate::wire::Problem::Variant))
            }
        }
    };
}

/// Reads a reader to its end into the fields of a struct or variant; the reading half of [`message!`] and [`oneof!`].
#[macro_export]
macro_rules! read_fields {
    ($reader:ident => $($path:ident)::+ { $($number:literal $field:ident),* $(,)? }) => {{
        let mut reader = $reader;
        $( let mut $field = None; )*
        while let Some((_number, _found)) = reader.next_field()? {
            $( if _number == $number {
                $crate::stored::Field::merge(&mut $field, _found)?;
                continue;
            } )*
        }
        Ok::<_, $crate::wire::Error>($($path)::+ {
            $( $field: $crate::stored::settle($field, $number, &reader)?, )*
        })
    }};
}

/// Types that are one number: how to write it and how to get it back.
macro_rules! number {
    ($($type:ty: $wire:ident, |$value:ident| $to:expr, |$raw:ident| $from:expr;)*) => { $(
        impl Field for $type {
            #[inline]
            fn put(&self, writer: &mut Writer<'_>, number: u32) {
                let $value = *self;
                let raw = $to;
                if raw != 0 {
                    writer.$wire(number, raw);
                }
            }

            #[inline]
            fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
                let $value = *self;
                writer.$wire(number, $to);
            }

            #[inline]
            fn read(found: Found<'_>) -> Result<Self, Error> {
                let $raw = found.$wire()?;
                let value: Option<Self> = $from;
                value.ok_or_else(|| found.error(Problem::Range))
            }

            #[inline]
            fn absent() -> Option<Self> {
                let $raw = 0;
                $from
            }
        }
    )* };
}
pub(super) use number;

number! {
    u16: varint, |value| u64::from(value), |raw| u16::try_from(raw).ok();
    u32: varint, |value| u64::from(value), |raw| u32::try_from(raw).ok();
    u64: varint, |value| value, |raw| Some(raw);
    bool: varint, |value| u64::from(value), |raw| u8::try_from(raw).ok().filter(|raw| *raw < 2).map(|raw| raw == 1);
}

/// Types that are bytes or text: how to see them as bytes and how to make them.
macro_rules! delimited {
    ($($type:ty: |$value:ident| $to:expr, $read:ident, |$raw:ident| $from:expr;)*) => { $(
        impl Field for $type {
            #[inline]
            fn put(&self, writer: &mut Writer<'_>, number: u32) {
                let $value = self;
                let bytes: &[u8] = $to;
                if !bytes.is_empty() {
                    writer.bytes(number, bytes);
                }
            }

            #[inline]
            fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
                let $value = self;
                writer.bytes(number, $to);
            }

            #[inline]
            fn read(found: Found<'_>) -> Result<Self, Error> {
                let $raw = found.$read()?;
                let value: Option<Self> = $from;
                value.ok_or_else(|| found.error(Problem::Range))
            }

            #[inline]
            fn absent() -> Option<Self> {
                let $raw = Default::default();
                $from
            }
        }
    )* };
}
pub(super) use delimited;

delimited! {
    String: |value| value.as_bytes(), text, |raw| Some(<&str>::into(raw));
    Arc<str>: |value| value.as_bytes(), text, |raw| Some(<&str>::into(raw));
    Bytes: |value| value, bytes, |raw| Some(Bytes::copy_from_slice(raw));
}

impl<T: Stored> Stored for Box<T> {
    const RECURSIVE: bool = T::RECURSIVE;

    #[inline]
    fn put_fields(&self, writer: &mut Writer<'_>) {
        (**self).put_fields(writer);
    }

    fn read_fields(reader: Reader<'_>) -> Result<Self, Error> {
        T::read_fields(reader).map(Box::new)
    }
}

/// `Some(Some(x))`, `Some(None)` and `None` differ: the inner option becomes a message that may be empty.
impl<T: Field> Field for Option<T> {
    #[inline]
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        if let Some(value) = self {
            value.put_present(writer, number);
        }
    }

    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        writer.nested(number, |w| self.put(w, 1));
    }

    fn read(found: Found<'_>) -> Result<Self, Error> {
        only_field(found)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    #[inline]
    fn merge(slot: &mut Option<Self>, found: Found<'_>) -> Result<(), Error> {
        *slot = Some(Some(T::read(found)?));
        Ok(())
    }
}

impl<T: Field> Field for Vec<T> {
    #[inline]
    fn put(&self, writer: &mut Writer<'_>, number: u32) {
        for value in self {
            value.put_present(writer, number);
        }
    }

    fn put_present(&self, writer: &mut Writer<'_>, number: u32) {
        writer.nested(number, |w| self.put(w, 1));
    }

    fn read(found: Found<'_>) -> Result<Self, Error> {
        only_field(found)
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    #[inline]
    fn merge(slot: &mut Option<Self>, found: Found<'_>) -> Result<(), Error> {
        slot.get_or_insert_default().push(T::read(found)?);
        Ok(())
    }
}

/// A message whose field 1 is all it has.
pub(super) fn only_field<T: Field>(found: Found<'_>) -> Result<T, Error> {
    let mut reader = found.nested()?;
    let mut slot = None;
    while let Some((number, found)) = reader.next_field()? {
        if number == 1 {
            T::merge(&mut slot, found)?;
        }
    }
    settle(slot, 1, &reader)
}

/// Pairs are messages with the fields 1 and 2, as the entries of protobuf's maps are.
impl<A: Field, B: Field> Stored for (A, B) {
    #[inline]
    fn put_fields(&self, writer: &mut Writer<'_>) {
        self.0.put(writer, 1);
        self.1.put(writer, 2);
    }

    fn read_fields(mut reader: Reader<'_>) -> Result<Self, Error> {
        let (mut first, mut second) = (None, None);
        while let Some((number, found)) = reader.next_field()? {
            match number {
                1 => A::merge(&mut first, found)?,
                2 => B::merge(&mut second, found)?,
                _ => {}
            }
        }
        Ok((settle(first, 1, &reader)?, settle(second, 2, &reader)?))
    }
}
