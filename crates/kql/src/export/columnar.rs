//! Parquet, by the low-level writer: each group of rows is held in columns, written, and let go.

use std::{io::Write, mem, sync::Arc};

use ::parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type as Node,
};
use rusqlite::{Connection, types::ValueRef};

use super::{Error, Select};
use crate::{
    schema::{Column, Type},
    time,
};

/// A group ends with so many rows, or with so many bytes of texts.
const ROWS_MAX: usize = 64 << 10;
const BYTES_MAX: usize = 16 << 20;

/// Writes a Parquet file; answers how many rows there were. A value that its column's type cannot hold is null.
pub fn parquet(
    connection: &Connection,
    select: &Select,
    writer: impl Write + Send,
) -> Result<u64, Error> {
    let fields = select.columns.iter().map(node).collect::<Result<_, _>>()?;
    let schema = Node::group_type_builder("rows").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW).build();
    let mut file = SerializedFileWriter::new(writer, Arc::new(schema), Arc::new(properties))?;
    let mut group = Group::new(&select.columns);
    let count = select.each_row(connection, |values| {
        group.push(values);
        if group.rows >= ROWS_MAX || group.bytes >= BYTES_MAX {
            group.write(&mut file)?;
        }
        Ok(())
    })?;
    if group.rows > 0 {
        group.write(&mut file)?;
    }
    file.close()?;
    Ok(count)
}

fn node(column: &Column) -> Result<Arc<Node>, Error> {
    let (physical, logical) = match column.kind {
        Type::Bool => (Physical::BOOLEAN, None),
        Type::Int => (Physical::INT32, None),
        Type::Long => (Physical::INT64, None),
        Type::Real => (Physical::DOUBLE, None),
        Type::Datetime => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Type::String | Type::Timespan => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Dynamic => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
    };
    let node = Node::primitive_type_builder(&column.name, physical)
        .with_logical_type(logical)
        .with_repetition(Repetition::OPTIONAL)
        .build()?;
    Ok(Arc::new(node))
}

struct Group {
    columns: Vec<Buffer>,
    rows: usize,
    bytes: usize,
}

/// The values of a column that are not null, and for each row whether it has one.
struct Buffer {
    kind: Type,
    present: Vec<i16>,
    values: Values,
}

enum Values {
    Bool(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Group {
    fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.iter().map(|column| Buffer::new(column.kind)).collect(),
            rows: 0,
            bytes: 0,
        }
    }

    fn push(&mut self, values: &[ValueRef<'_>]) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            self.bytes += column.push(*value);
        }
        self.rows += 1;
    }

    fn write<W: Write + Send>(&mut self, file: &mut SerializedFileWriter<W>) -> Result<(), Error> {
        let mut group = file.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Buffer {
    fn new(kind: Type) -> Self {
        let values = match kind {
            Type::Bool => Values::Bool(Vec::new()),
            Type::Int => Values::Int(Vec::new()),
            Type::Long | Type::Datetime => Values::Long(Vec::new()),
            Type::Real => Values::Real(Vec::new()),
            Type::String | Type::Timespan | Type::Dynamic => Values::Text(Vec::new()),
        };
        Self { kind, present: Vec::new(), values }
    }

    /// Takes a value; answers with the bytes of its text.
    fn push(&mut self, value: ValueRef<'_>) -> usize {
        let before = self.values.len();
        let mut bytes = 0;
        match (&mut self.values, value) {
            (Values::Bool(values), ValueRef::Integer(value)) => values.push(value != 0),
            (Values::Int(values), ValueRef::Integer(value)) => values.extend(i32::try_from(value)),
            (Values::Long(values), ValueRef::Integer(value)) => values.push(value),
            (Values::Long(values), ValueRef::Text(text)) => values.extend(
                std::str::from_utf8(text)
                    .ok()
                    .and_then(time::parse)
                    .map(|moment| moment - time::EPOCH_MS),
            ),
            (Values::Real(values), value) => values.extend(real(value)),
            (Values::Text(values), value) => {
                if let Some(text) = text(value, self.kind) {
                    bytes = text.len();
                    values.push(ByteArray::from(text));
                }
            }
            _ => {}
        }
        self.present.push(i16::from(self.values.len() > before));
        bytes
    }

    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), Error> {
        let present = mem::take(&mut self.present);
        match &mut self.values {
            Values::Bool(values) => column::<BoolType, W>(group, values, &present),
            Values::Int(values) => column::<Int32Type, W>(group, values, &present),
            Values::Long(values) => column::<Int64Type, W>(group, values, &present),
            Values::Real(values) => column::<DoubleType, W>(group, values, &present),
            Values::Text(values) => column::<ByteArrayType, W>(group, values, &present),
        }
    }
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &mut Vec<T::T>,
    present: &[i16],
) -> Result<(), Error> {
    let mut column = group.next_column()?.expect("a group has as many columns as the schema");
    column.typed::<T>().write_batch(values, Some(present), None)?;
    column.close()?;
    values.clear();
    Ok(())
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Long(values) => values.len(),
            Self::Real(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the column is real")]
fn real(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        _ => None,
    }
}

/// The text of a value in a column of texts.
fn text(value: ValueRef<'_>, kind: Type) -> Option<Vec<u8>> {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => None,
        ValueRef::Integer(ticks) if kind == Type::Timespan => {
            Some(time::timespan_text(ticks).into_bytes())
        }
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => Some(number.to_string().into_bytes()),
        ValueRef::Text(text) => Some(text.to_vec()),
    }
}
