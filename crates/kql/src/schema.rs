//! What a query may name: tables, their columns, and the types of Kusto.
//!
//! S1  A datetime is text, `YYYY-MM-DDTHH:MM:SS.mmmZ`, so that texts compare as moments do.
//! S2  A timespan is an integer of ticks (100 nanoseconds), a bool 0 or 1, a dynamic value JSON text.
//! S3  Names are compared with their case, as Kusto does and `SQLite` does not.

use std::fmt;

/// The name of the inventory's table.
pub const INVENTORY: &str = "FileInventory_CL";

/// A type of Kusto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A floating-point number.
    Real,
    /// Text.
    String,
    /// A moment, with milliseconds.
    Datetime,
    /// A length of time.
    Timespan,
    /// A JSON value.
    Dynamic,
}

impl Type {
    /// The name as Kusto writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Long => "long",
            Self::Real => "real",
            Self::String => "string",
            Self::Datetime => "datetime",
            Self::Timespan => "timespan",
            Self::Dynamic => "dynamic",
        }
    }

    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Long | Self::Real)
    }

    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::Int | Self::Long)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A column of a table or of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub kind: Type,
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, kind: Type) -> Self {
        Self { name: name.into(), kind }
    }
}

/// A table that queries may read. The database has a table or view of the same name and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// The tables that queries may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// The tables.
    pub tables: Vec<Table>,
}

impl Schema {
    /// The schema of the file inventory: the one table [`INVENTORY`] with its 21 columns.
    pub fn inventory() -> Self {
        let columns = INVENTORY_COLUMNS.map(|(name, kind)| Column::new(name, kind)).to_vec();
        Self { tables: vec![Table { name: INVENTORY.to_owned(), columns }] }
    }

    /// Finds a table by its name, with its case.
    pub fn find_table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

const INVENTORY_COLUMNS: [(&str, Type); 21] = [
    ("TimeGenerated", Type::Datetime),
    ("StorageAccount", Type::String),
    ("FileShare", Type::String),
    ("FilePath", Type::String),
    ("FileName", Type::String),
    ("FileExtension", Type::String),
    ("FileSizeBytes", Type::Long),
    ("FileSizeMB", Type::Real),
    ("FileSizeGB", Type::Real),
    ("LastModified", Type::Datetime),
    ("Created", Type::Datetime),
    ("AgeInDays", Type::Int),
    ("FileHash", Type::String),
    ("IsDuplicate", Type::String),
    ("DuplicateCount", Type::Int),
    ("DuplicateGroupId", Type::String),
    ("FileCategory", Type::String),
    ("AgeBucket", Type::String),
    ("SizeBucket", Type::String),
    ("ScanTimestamp", Type::String),
    ("ExecutionId", Type::String),
];
