//! What can be typed after `cargo xtask`.

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::{
    ci::{self, Step},
    counts::Counts,
    outside::{self, Outside},
    process::{self, Tool, say},
    python, tidy,
    tree::{self, Tree},
};

/// Build tasks of the Everstep repository.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that has to hold before a change lands: all steps in order, or only those named.
    Ci {
        /// Steps to run instead of all.
        steps: Vec<Step>,
    },
    /// The rules of the repository that no compiler knows: dependency arrows, module heads, links, decisions.
    Tidy,
    /// All tests, or those of one part.
    Test {
        /// A folder of crates/ or apps/, `xtask`, `doc` for the examples in the documentation, or `apps`: all apps, also
        /// against the official clients and emulators, which it installs. `python` runs apps with each version of their
        /// SDK, which it installs too.
        part: Option<String>,
        /// Handed to the test runner, for example a part of a test's name.
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// The deterministic simulator: `--seeds N --from S`, `--seed N`, `--planted`.
    #[command(disable_help_flag = true)]
    Sim {
        /// Handed to the simulator.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// The benchmarks: `--quick`, `--json FILE`, `--only W1,W2`, `--dir DIR`; `http` first for those of the host, `python`
    /// for those of apps in Python (with an environment from `PyPI`), `inventory` or `code42` for those of that app.
    #[command(disable_help_flag = true)]
    Bench {
        /// Handed to the benchmarks.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// The kill loop: `--minutes N`, `--dir DIR`.
    #[command(disable_help_flag = true)]
    Torture {
        /// Handed to the kill loop.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.task {
            Task::Ci { steps } => ci::run(&steps),
            Task::Tidy => tidy::run(),
            Task::Test { part, args } => test(part.as_deref(), &args),
            Task::Sim { args } => forward("everstep-sim", None, &args),
            Task::Bench { args } => bench(&args),
            Task::Torture { args } => forward("everstep-bench", Some("torture"), &args),
        }
    }
}

/// The engine's benchmarks, or those that the first word names.
fn bench(args: &[OsString]) -> anyhow::Result<()> {
    match args.split_first() {
        Some((first, rest)) if first == "http" => forward("everstep-bench-http", Some("run"), rest),
        Some((first, rest)) if first == "python" => bench_python(rest),
        Some((first, rest)) if first == "inventory" => forward("inventory", Some("bench"), rest),
        Some((first, rest)) if first == "code42" => forward("code42", Some("bench"), rest),
        _ => forward("everstep-bench", Some("run"), args),
    }
}

/// The SDK that apps in Python are measured with.
const PYTHON_SDK: [&str; 2] = ["azure-functions==1.26.0", "azure-functions-durable==1.7.0"];

fn bench_python(args: &[OsString]) -> anyhow::Result<()> {
    let python = outside::python(&outside::folder().join("bench-python"), &PYTHON_SDK)?;
    let args = [&["--python".into(), python.into_os_string()], args].concat();
    forward("everstep-bench-http", Some("python"), &args)
}

/// Builds a package's binary for speed and runs it where the caller stands, so that relative paths mean what they say.
fn forward(package: &str, subcommand: Option<&str>, args: &[OsString]) -> anyhow::Result<()> {
    let cargo = Tool::cargo(&["run", "--quiet", "--release", "--package", package, "--"]);
    cargo.args(subcommand).args(args).here().run()
}

fn test(part: Option<&str>, args: &[OsString]) -> anyhow::Result<()> {
    let counts = match part {
        None => {
            process::tests(&["--workspace"], args)? + process::doc_tests(&["--workspace"], args)?
        }
        Some("doc") => process::doc_tests(&["--workspace"], args)?,
        Some("apps") => test_apps(args)?,
        Some("python") => python::test(args)?,
        Some(part) => test_part(&package_of(part, &Tree::read(&tree::root())?)?, args)?,
    };
    say(&format!("tests: {counts}"));
    Ok(())
}

fn test_part(package: &Package, args: &[OsString]) -> anyhow::Result<Counts> {
    let select = ["--package", package.name.as_str()];
    let counts = process::tests(&select, args)?;
    match package.kind {
        PackageKind::Library => Ok(counts + process::doc_tests(&select, args)?),
        PackageKind::Binary => Ok(counts),
    }
}

/// What belongs to the apps, first alone, then beside other people's programs.
fn test_apps(args: &[OsString]) -> anyhow::Result<Counts> {
    let tree = Tree::read(&tree::root())?;
    let apps = tree.apps().map(tidy::manifest::package_name);
    let apps: Vec<&str> = apps.flatten().chain(BELOW_APPS).collect();
    let select: Vec<&str> = apps.iter().flat_map(|name| ["--package", name]).collect();
    let alone = process::tests(&select, args)?;
    let outside = Outside::start()?;
    Ok(alone + process::outside_tests(&select, args, &outside.variables)?)
}

/// Packages in crates/ whose tests have something from outside beside them.
const BELOW_APPS: [&str; 4] =
    ["everstep-azure", "everstep-host", "everstep-kql", "everstep-stand-ins"];

struct Package {
    name: String,
    kind: PackageKind,
}

enum PackageKind {
    Library,
    Binary,
}

/// The package in `crates/PART` or `apps/PART`, or the build tasks themselves.
fn package_of(part: &str, tree: &Tree) -> anyhow::Result<Package> {
    let folders = if part == "xtask" {
        vec![part.to_owned()]
    } else {
        vec![format!("crates/{part}"), format!("apps/{part}")]
    };
    let found = folders.into_iter().find_map(|folder| {
        let manifest = tree.text(&format!("{folder}/Cargo.toml"))?;
        Some((folder, manifest))
    });
    let Some((folder, manifest)) = found else {
        let parts: Vec<&str> = tree.crates().map(|manifest| manifest.folder).collect();
        bail!(
            "there is no part `{part}`; the parts are apps, doc, python, xtask, {}",
            parts.join(", ")
        );
    };
    let name = tidy::manifest::package_name(manifest)
        .with_context(|| format!("{folder}/Cargo.toml has no name"))?;
    let has_library = tree.text(&format!("{folder}/src/lib.rs")).is_some();
    let kind = if has_library { PackageKind::Library } else { PackageKind::Binary };
    Ok(Package { name: name.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_forwarded_commands_pass_through() {
        let cli = Cli::try_parse_from(["xtask", "bench", "--quick", "--json", "out.json"])
            .expect("parses");
        let Task::Bench { args } = cli.task else { panic!("another task: {cli:?}") };
        assert_eq!(args, ["--quick", "--json", "out.json"]);
    }

    #[test]
    fn an_unknown_part_is_told_the_known_ones() {
        let tree =
            Tree::of(&[("crates/model/Cargo.toml", "[package]\nname = \"everstep-model\"\n")]);
        let error =
            package_of("modle", &tree).map(|package| package.name).expect_err("no such part");
        assert_eq!(
            error.to_string(),
            "there is no part `modle`; the parts are apps, doc, python, xtask, model"
        );
        assert_eq!(package_of("model", &tree).expect("is there").name, "everstep-model");
    }
}
