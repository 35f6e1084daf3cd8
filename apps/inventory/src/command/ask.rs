//! `inventory query`, `export` and `report`: the local copy, with or without a host that runs.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use everstep_host::{OfflineOptions, StartArgs};
use everstep_kql::export;
use rusqlite::{Connection, types::Value as Cell};

use super::{FILE, Hub, print};
use crate::query::{self, Question};

/// The whole table.
const ALL: &str = "FileInventory_CL";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Query {
    /// KQL, or SQL that begins with SELECT
    #[arg(value_name = "QUERY")]
    text: String,
    /// Print one JSON object a row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    copy: Copy,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Export {
    /// What is exported: KQL, or SQL that begins with SELECT
    #[arg(value_name = "QUERY", default_value = ALL)]
    text: String,
    /// As what
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// The file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    copy: Copy,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Report {
    #[command(flatten)]
    copy: Copy,
}

#[derive(Debug, Clone, std::marker::Copy, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
    /// Needs a build with `--features parquet`
    Parquet,
}

/// Which copy is asked.
#[derive(Debug, Clone, clap::Args)]
struct Copy {
    /// The file with the rows [default: the one in the hub's folder]
    #[arg(long, value_name = "FILE", env = "LOCAL_INVENTORY_PATH")]
    inventory: Option<PathBuf>,
    #[command(flatten)]
    hub: Hub,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Host(#[from] everstep_host::Error),
    #[error("there is no inventory {0}; `inventory scan FOLDER` makes one")]
    Absent(PathBuf),
    #[error(transparent)]
    Spool(#[from] crate::spool::Error),
    #[error("{0}")]
    Query(String),
    #[error(transparent)]
    Export(#[from] export::Error),
    #[error("{path} cannot be written: {source}")]
    Output { path: PathBuf, source: io::Error },
    #[cfg(not(feature = "parquet"))]
    #[error(
        "this program was built without Parquet; build it with `--features parquet`, or export CSV or NDJSON"
    )]
    NoParquet,
}

impl Copy {
    fn open(&self) -> Result<Connection, Error> {
        let path = match &self.inventory {
            Some(path) => path.clone(),
            None => {
                let (script_root, data) = (self.hub.script_root.clone(), self.hub.data.clone());
                let hub = StartArgs { script_root, data, ..StartArgs::default() };
                everstep_host::hub_folder(&OfflineOptions::from(&hub))?.join(FILE)
            }
        };
        if !path.is_file() {
            return Err(Error::Absent(path));
        }
        Ok(query::open(&path)?)
    }
}

/// Runs `query`.
pub(crate) fn query(args: &Query) -> Result<(), Error> {
    let question = Question::parse(&args.text).map_err(Error::Query)?;
    let db = args.copy.open()?;
    if args.json {
        let select = question.select(&db).map_err(Error::Query)?;
        export::ndjson(&db, &select, io::stdout().lock())?;
        return Ok(());
    }
    let answer = question.answer(&db).map_err(Error::Query)?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(&answer.columns);
    for row in &answer.rows {
        table.add_row(row.iter().map(shown));
    }
    print(table);
    if answer.is_cut {
        print(format!("and more than {} rows; --json and export have them all", query::ROWS));
    }
    Ok(())
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null | Cell::Blob(_) => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// Runs `export`.
pub(crate) fn export(args: &Export) -> Result<(), Error> {
    let question = Question::parse(&args.text).map_err(Error::Query)?;
    let db = args.copy.open()?;
    let select = question.select(&db).map_err(Error::Query)?;
    let writer: Box<dyn Write + Send> = match &args.output {
        None => Box::new(io::stdout()),
        Some(path) => {
            let file = File::create(path)
                .map_err(|source| Error::Output { path: path.clone(), source })?;
            Box::new(file)
        }
    };
    let writer = BufWriter::new(writer);
    match args.format {
        Format::Csv => export::csv(&db, &select, writer)?,
        Format::Ndjson => export::ndjson(&db, &select, writer)?,
        #[cfg(feature = "parquet")]
        Format::Parquet => export::parquet(&db, &select, writer)?,
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => return Err(Error::NoParquet),
    };
    Ok(())
}

/// Runs `report`.
pub(crate) fn report(args: &Report) -> Result<(), Error> {
    print(everstep_kql::dashboard(&args.copy.open()?));
    Ok(())
}
