//! `inventory bench`: scans beside the tools that do a part of it, in one run, on files made for it.
//!
//! The other side of a figure is run right before and after the scan, and the faster of its runs counts. The last scan is
//! killed several times, goes on, and has to end with the rows of the one that was not.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use everstep_host::{OfflineOptions, StartArgs};
use serde_json::{Value, json};

use super::{FILE, print};
use crate::spool;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// 20,000 files instead of 1,000,000
    #[arg(long)]
    quick: bool,
    /// Only make the files, which takes minutes; the next run finds them and removes them at its end
    #[arg(long)]
    prepare: bool,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the files are made [default: the folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// How much is made.
struct Sizes {
    /// Files of one folder, for the first measure of memory.
    few: u32,
    /// For names, and the second measure of memory.
    many: u32,
    /// Folders with ten files each.
    folders: u32,
    /// Folders with nothing in them.
    empty: u32,
    /// Files to hash, and the bytes of each.
    contents: (u32, usize),
}

/// The folders.
const FEW: &str = "few";
const MANY: &str = "many";
const TREE: &str = "tree";
const EMPTY: &str = "empty";
const CONTENTS: &str = "contents";

/// How often the last scan is killed.
const KILLS: u64 = 5;

const FULL: Sizes = Sizes {
    few: 10_000,
    many: 1_000_000,
    folders: 20_000,
    empty: 1_000_000,
    contents: (512, 2 << 20),
};
const QUICK: Sizes =
    Sizes { few: 10_000, many: 20_000, folders: 1000, empty: 2000, contents: (64, 2 << 20) };

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error("{0} gave no figures: {1}")]
    Silent(&'static str, String),
    #[error("the scan that was killed has {killed} rows in {distinct} files, the other {whole}")]
    Differs { killed: u64, distinct: u64, whole: u64 },
    #[error("the rows of a scan cannot be counted: {0}")]
    Spool(#[from] spool::Error),
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    |source| Error::Io { doing, source }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let sizes = if args.quick { QUICK } else { FULL };
    let above = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let name = if args.quick { "inventory-bench-quick" } else { "inventory-bench" };
    let place = Place(above.join(name));
    place.make(&sizes)?;
    if args.prepare {
        print(format!("the files are in {}", place.0.display()));
        // Without the end that removes them.
        std::mem::forget(place);
        return Ok(());
    }
    let figures = measure(&place, &sizes)?;
    show(&figures);
    if let Some(file) = &args.json {
        fs::write(file, format!("{figures:#}\n"))
            .map_err(io_error(format!("writing {}", file.display())))?;
    }
    Ok(())
}

fn measure(place: &Place, sizes: &Sizes) -> Result<Value, Error> {
    let many = place.0.join(MANY);
    let small = place.scan(&place.0.join(FEW), &[])?;
    let names = beside(place, &many, Amount::Files, find)?;
    let folders = beside(place, &place.0.join(TREE), Amount::Files, find)?;
    let directories = beside(place, &place.0.join(EMPTY), Amount::Directories, find)?;
    let hashes = beside(place, &place.0.join(CONTENTS), Amount::Bytes, md5sum)?;
    let killed = place.killed(&many, sizes.many.into())?;
    Ok(json!({
        "names_in_one_folder": names,
        "names_in_many_folders": folders,
        "directories": directories,
        "md5": hashes,
        "killed": killed,
        "peak_memory": [
            { "of": format!("{} files", sizes.few), "bytes": small["peak_memory_bytes"] },
            { "of": format!("{} files", sizes.many), "bytes": names["peak_memory_bytes"] },
            { "of": format!("{} folders", sizes.empty), "bytes": directories["peak_memory_bytes"] },
        ],
    }))
}

fn show(figures: &Value) {
    let rate = |value: &Value| value.as_f64().unwrap_or_default();
    for (title, key, unit) in [
        ("names in one folder", "names_in_one_folder", "files/s"),
        ("names in many folders", "names_in_many_folders", "files/s"),
        ("folders", "directories", "folders/s"),
        ("MD5", "md5", "MB/s"),
    ] {
        let figure = &figures[key];
        print(format!(
            "{title:<22} {:>10.0} {unit} of {:>10.0} by {}: {:.0} %",
            rate(&figure["ours"]),
            rate(&figure["theirs"]),
            figure["beside"].as_str().unwrap_or_default(),
            rate(&figure["share"]) * 100.0
        ));
    }
    for figure in figures["peak_memory"].as_array().into_iter().flatten() {
        let megabytes = rate(&figure["bytes"]) / f64::from(1 << 20);
        let of = figure["of"].as_str().unwrap_or_default();
        print(format!("peak memory at {of}: {megabytes:.0} MB"));
    }
    let killed = &figures["killed"];
    print(format!(
        "killed {} times, the same {} files in {:.1} s",
        killed["kills"],
        killed["files"],
        rate(&killed["seconds"])
    ));
}

type Other = fn(&Path) -> Result<(f64, &'static str), Error>;

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Files,
    Directories,
    /// Megabytes, hashed.
    Bytes,
}

impl Amount {
    fn flags(self) -> &'static [&'static str] {
        if self == Self::Bytes { &["--hash"] } else { &[] }
    }

    fn of(self, scan: &Value) -> f64 {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        match self {
            Self::Files => number(&scan["total_files_processed"]),
            Self::Directories => number(&scan["share_results"][0]["directories_processed"]),
            Self::Bytes => number(&scan["total_bytes_processed"]) * 1e-6,
        }
    }
}

/// A scan between two runs of another tool.
fn beside(place: &Place, folder: &Path, amount: Amount, other: Other) -> Result<Value, Error> {
    let (before, tool) = other(folder)?;
    let scan = place.scan(folder, amount.flags())?;
    let (after, _) = other(folder)?;
    let done = amount.of(&scan);
    let ours = done / scan["seconds"].as_f64().unwrap_or(f64::NAN);
    let theirs = done / before.min(after);
    Ok(json!({
        "ours": ours,
        "theirs": theirs,
        "share": ours / theirs,
        "beside": tool,
        "peak_memory_bytes": scan["peak_memory_bytes"],
    }))
}

fn find(folder: &Path) -> Result<(f64, &'static str), Error> {
    let mut command = Command::new("find");
    command.arg(folder).args(["-printf", "%p\\t%s\\t%T@\\n"]);
    Ok((timed(command, "find")?, "find -printf"))
}

fn md5sum(folder: &Path) -> Result<(f64, &'static str), Error> {
    let mut command = Command::new("sh");
    command.args(["-c", "find \"$0\" -type f -print0 | xargs -0 md5sum"]).arg(folder);
    Ok((timed(command, "md5sum")?, "md5sum"))
}

fn timed(mut command: Command, tool: &'static str) -> Result<f64, Error> {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.map_err(io_error(format!("running {tool}")))?;
    if status.success() {
        Ok(began.elapsed().as_secs_f64())
    } else {
        Err(Error::Silent(tool, status.to_string()))
    }
}

/// The folder with everything that is made; it goes with the value.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed lies among temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Place {
    /// Makes what is not there from an earlier run.
    fn make(&self, sizes: &Sizes) -> Result<(), Error> {
        let mark = self.0.join("made");
        if mark.exists() {
            return Ok(());
        }
        let made = self
            .flat(FEW, sizes.few, 0)
            .and_then(|()| self.flat(MANY, sizes.many, 0))
            .and_then(|()| self.tree(TREE, sizes.folders, 10))
            .and_then(|()| self.tree(EMPTY, sizes.empty, 0))
            .and_then(|()| self.flat(CONTENTS, sizes.contents.0, sizes.contents.1))
            .and_then(|()| fs::write(mark, ""));
        made.map_err(io_error(format!("making files in {}", self.0.display())))
    }

    /// A folder with so many files of so many bytes.
    fn flat(&self, name: &str, files: u32, bytes: usize) -> io::Result<()> {
        Self::fill(&self.0.join(name), files, bytes)
    }

    fn fill(folder: &Path, files: u32, bytes: usize) -> io::Result<()> {
        const KINDS: [&str; 8] = ["pdf", "JPG", "mp4", "txt", "log", "zip", "rs", "bak"];
        fs::create_dir_all(folder)?;
        for (number, kind) in (0..files).zip(KINDS.iter().cycle()) {
            let content: Vec<u8> = (0..bytes).map(|at| (at as u32 ^ number) as u8).collect();
            fs::write(folder.join(format!("file-{number:07}.{kind}")), content)?;
        }
        Ok(())
    }

    /// Folders of a hundred folders with so many files each.
    fn tree(&self, name: &str, folders: u32, files: u32) -> io::Result<()> {
        let root = self.0.join(name);
        (0..folders).try_for_each(|number| {
            let above = root.join(format!("{:04}", number / 100));
            Self::fill(&above.join(format!("{number:06}")), files, 0)
        })
    }

    /// Runs a scan in a process and a hub of its own.
    fn scan(&self, folder: &Path, flags: &[&str]) -> Result<Value, Error> {
        self.anew()?;
        self.go_on(folder, flags)
    }

    /// A scan that is killed whenever it has come so much further; with the rows that it ends with.
    fn killed(&self, folder: &Path, files: u64) -> Result<Value, Error> {
        self.anew()?;
        let began = Instant::now();
        let mut kills = 0;
        for kill in 1..=KILLS {
            let mut child = self
                .command(folder, &[])?
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(io_error("running the scan"))?;
            while child.try_wait().map_err(io_error("waiting for the scan"))?.is_none() {
                if self.files().is_some_and(|done| done > files * kill / (KILLS + 1)) {
                    child.kill().map_err(io_error("killing the scan"))?;
                    kills += 1;
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            child.wait().map_err(io_error("waiting for the scan"))?;
        }
        self.go_on(folder, &[])?;
        let seconds = began.elapsed().as_secs_f64();
        match spool::report::count(&self.spool()?)? {
            (rows, distinct) if rows == files && distinct == files => {
                Ok(json!({ "kills": kills, "files": files, "seconds": seconds }))
            }
            (killed, distinct) => Err(Error::Differs { killed, distinct, whole: files }),
        }
    }

    /// How far the scan is.
    fn files(&self) -> Option<u64> {
        let scan = spool::report::progress(&self.spool().ok()?, None).ok()??;
        Some(scan.files)
    }

    fn spool(&self) -> Result<rusqlite::Connection, spool::Error> {
        let hub = StartArgs { script_root: Some(self.app()), ..StartArgs::default() };
        let folder = everstep_host::hub_folder(&OfflineOptions::from(&hub)).unwrap_or_default();
        spool::open_to_read(&folder.join(FILE))
    }

    fn app(&self) -> PathBuf {
        self.0.join("app")
    }

    /// An app without data.
    fn anew(&self) -> Result<(), Error> {
        drop(fs::remove_dir_all(self.app()));
        fs::create_dir_all(self.app()).map_err(io_error("making the app's folder"))
    }

    fn command(&self, folder: &Path, flags: &[&str]) -> Result<Command, Error> {
        let program = std::env::current_exe().map_err(io_error("finding this program"))?;
        let mut command = Command::new(program);
        command.args(["scan", "--json"]).args(flags).arg("--script-root").arg(self.app());
        command.arg(folder).env_remove("EVERSTEP_DATA");
        Ok(command)
    }

    fn go_on(&self, folder: &Path, flags: &[&str]) -> Result<Value, Error> {
        let output = self.command(folder, flags)?.output().map_err(io_error("running the scan"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            Error::Silent("the scan", String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }
}
