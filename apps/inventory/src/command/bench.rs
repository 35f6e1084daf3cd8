//! `inventory bench`: scans beside the tools that do a part of it, in one run, on files made for it.
//!
//! The other side of a figure is run right before and after the scan, and the faster of its runs counts.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use super::print;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// 20,000 files instead of 1,000,000
    #[arg(long)]
    quick: bool,
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
    /// Files to hash, and the bytes of each.
    contents: (u32, usize),
}

const FULL: Sizes =
    Sizes { few: 10_000, many: 1_000_000, folders: 20_000, contents: (512, 2 << 20) };
const QUICK: Sizes = Sizes { few: 10_000, many: 20_000, folders: 1000, contents: (64, 2 << 20) };

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    #[error("{0} gave no figures: {1}")]
    Silent(&'static str, String),
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    |source| Error::Io { doing, source }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let sizes = if args.quick { QUICK } else { FULL };
    let above = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let place = Place::new(&above.join(format!("inventory-bench-{}", std::process::id())))?;
    let few = place.flat("few", sizes.few, 0)?;
    let many = place.flat("many", sizes.many, 0)?;
    let tree = place.tree("tree", sizes.folders)?;
    let contents = place.flat("contents", sizes.contents.0, sizes.contents.1)?;

    let small = place.scan(&few, &[])?;
    let names = beside(&place, &many, &[], find)?;
    let folders = beside(&place, &tree, &[], find)?;
    let hashes = beside(&place, &contents, &["--hash"], md5sum)?;
    let figures = json!({
        "names_in_one_folder": names,
        "names_in_many_folders": folders,
        "md5": hashes,
        "peak_memory": [
            { "files": sizes.few, "bytes": small["peak_memory_bytes"] },
            { "files": sizes.many, "bytes": names["peak_memory_bytes"] },
        ],
    });
    show(&figures);
    if let Some(file) = &args.json {
        fs::write(file, format!("{figures:#}\n"))
            .map_err(io_error(format!("writing {}", file.display())))?;
    }
    Ok(())
}

fn show(figures: &Value) {
    let rate = |value: &Value| value.as_f64().unwrap_or_default();
    for (title, key, unit) in [
        ("names in one folder", "names_in_one_folder", "files/s"),
        ("names in many folders", "names_in_many_folders", "files/s"),
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
        print(format!("peak memory at {} files: {megabytes:.0} MB", figure["files"]));
    }
}

type Other = fn(&Path) -> Result<(f64, &'static str), Error>;

/// A scan between two runs of another tool.
fn beside(place: &Place, folder: &Path, flags: &[&str], other: Other) -> Result<Value, Error> {
    let (before, tool) = other(folder)?;
    let ours = place.scan(folder, flags)?;
    let (after, _) = other(folder)?;
    let amount = if flags.is_empty() { "total_files_processed" } else { "total_bytes_processed" };
    let scale = if flags.is_empty() { 1.0 } else { 1e-6 };
    let number = |key: &str| ours[key].as_f64().unwrap_or(f64::NAN);
    let done = number(amount) * scale;
    let (ours_rate, theirs) = (done / number("seconds"), done / before.min(after));
    Ok(json!({
        "ours": ours_rate,
        "theirs": theirs,
        "share": ours_rate / theirs,
        "beside": tool,
        "peak_memory_bytes": ours["peak_memory_bytes"],
    }))
}

fn find(folder: &Path) -> Result<(f64, &'static str), Error> {
    let mut command = Command::new("find");
    command.arg(folder).args(["-type", "f", "-printf", "%p\\t%s\\t%T@\\n"]);
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
    fn new(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(io_error(format!("making {}", path.display())))?;
        Ok(Self(path.to_owned()))
    }

    /// A folder with so many files of so many bytes.
    fn flat(&self, name: &str, files: u32, bytes: usize) -> Result<PathBuf, Error> {
        let folder = self.0.join(name);
        Self::fill(&folder, files, bytes)
            .map_err(io_error(format!("filling {}", folder.display())))?;
        Ok(folder)
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

    /// Folders of a hundred folders with ten files each.
    fn tree(&self, name: &str, folders: u32) -> Result<PathBuf, Error> {
        let root = self.0.join(name);
        for number in 0..folders {
            let folder = root.join(format!("{:03}", number / 100)).join(format!("{number:06}"));
            Self::fill(&folder, 10, 0)
                .map_err(io_error(format!("filling {}", folder.display())))?;
        }
        Ok(root)
    }

    /// Runs a scan in a process and a hub of its own.
    fn scan(&self, folder: &Path, flags: &[&str]) -> Result<Value, Error> {
        let program = std::env::current_exe().map_err(io_error("finding this program"))?;
        let app = self.0.join("app");
        drop(fs::remove_dir_all(&app));
        fs::create_dir_all(&app).map_err(io_error("making the app's folder"))?;
        let output = Command::new(program)
            .args(["scan", "--json"])
            .args(flags)
            .arg("--script-root")
            .arg(&app)
            .arg(folder)
            .env_remove("EVERSTEP_DATA")
            .output()
            .map_err(io_error("running the scan"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            Error::Silent("the scan", String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }
}
