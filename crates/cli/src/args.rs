//! What can be said on the command line.
//!
//! A1  The verbs and flags of `func` keep their spelling; where ours differ, `func`'s are accepted beside them.
//! A2  Each long help ends with a command that runs as it stands.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser,
    builder::TypedValueParser as _,
};
use clap_complete::engine::ArgValueCompleter;

use crate::{complete, door::StartArgs, fault::Exit, time};

/// Durable functions: start an app, and ask, steer and repair its instances.
#[derive(Debug, Parser)]
#[command(name = "everstep", version, disable_help_subcommand = true, after_help = Exit::TABLE, after_long_help = Exit::TABLE)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the app in a folder
    #[command(after_long_help = "Example:\n  everstep start ./shop --port 7072 --watch")]
    Start(Box<Start>),
    /// The same as `start`, under the name that func has for it
    #[command(hide = true, after_long_help = "Example:\n  everstep host start")]
    Host(HostCommand),
    /// Make a new app, in a folder of its name
    #[command(after_long_help = "Example:\n  everstep new rust shop\n  everstep new python shop")]
    New(New),
    /// Make a new app in a folder that is there, or in this one
    #[command(after_long_help = "Example:\n  everstep init . --worker-runtime rust")]
    Init(Init),
    /// The same as `new`, under the name that func has for it
    #[command(hide = true, after_long_help = "Example:\n  everstep function new --name Order")]
    Function(FunctionCommand),
    /// The durable verbs of func, with its flags and its output
    #[command(
        after_long_help = "Example:\n  everstep durable get-instances --runtime-status \"failed\" --top 5"
    )]
    Durable(DurableCommand),
    /// List instances
    #[command(
        visible_alias = "list",
        after_long_help = "Example:\n  everstep ls --status failed --since 1d"
    )]
    Ls(Ls),
    /// Count instances by name and status
    #[command(after_long_help = "Example:\n  everstep counts --since 1h --watch")]
    Counts(Counts),
    /// Show an instance
    #[command(after_long_help = "Example:\n  everstep show order-7 --input")]
    Show(Show),
    /// Show the events of an instance
    #[command(after_long_help = "Example:\n  everstep history order-7 -o json")]
    History(Look),
    /// Say why an instance does not go on
    #[command(after_long_help = "Example:\n  everstep why order-7")]
    Why(Why),
    /// Show an instance and its sub-orchestrations as a tree that grows as they do
    #[command(after_long_help = "Example:\n  everstep trace order-7")]
    Trace(Look),
    /// Show what happened to an instance as lines of a log
    #[command(after_long_help = "Example:\n  everstep logs -f order-7")]
    Logs(Logs),
    /// Wait until an instance has ended
    #[command(after_long_help = "Example:\n  everstep wait order-7 --timeout 5m")]
    Wait(Wait),
    /// Start an orchestration
    #[command(
        after_long_help = "Example:\n  everstep run order --input '{\"cents\": 4200}' --id order-7 --wait"
    )]
    Run(Run),
    /// Raise an event to an instance
    #[command(after_long_help = "Example:\n  everstep raise order-7 Approve --input true")]
    Raise(Raise),
    /// Signal an entity
    #[command(after_long_help = "Example:\n  everstep signal counter/a add --input 5")]
    Signal(Signal),
    /// End instances that are not at their end
    #[command(
        after_long_help = "Example:\n  everstep terminate --name order --before 7d --dry-run"
    )]
    Terminate(Terminate),
    /// Hold instances: they take part in nothing until they are resumed
    #[command(
        after_long_help = "Example:\n  everstep suspend order-7 --reason \"the warehouse is closed\""
    )]
    Suspend(Steer),
    /// Let suspended instances go on
    #[command(after_long_help = "Example:\n  everstep resume --name order --yes")]
    Resume(Steer),
    /// Run the failed part of instances again
    #[command(after_long_help = "Example:\n  everstep rewind --name order --since 1h --yes")]
    Rewind(Steer),
    /// Start instances again with their input
    #[command(after_long_help = "Example:\n  everstep restart order-7 --same-id")]
    Restart(Restart),
    /// Try again instances that are parked because their turn cannot be run
    #[command(after_long_help = "Example:\n  everstep unpark order-7")]
    Unpark(Unpark),
    /// Remove instances that have ended, with their history
    #[command(
        after_long_help = "Example:\n  everstep purge --status completed --before 30d --dry-run"
    )]
    Purge(Purge),
    /// Run a query in SQL, which only reads
    #[command(
        after_long_help = "Example:\n  everstep sql \"select name, count(*) as n from instances group by name\""
    )]
    Sql(Sql),
    /// Write an instance, its history and its sub-orchestrations as JSON
    #[command(after_long_help = "Example:\n  everstep export order-7 > order-7.json")]
    Export(Export),
    /// Put exported instances back, into a running host or a hub's files
    #[command(after_long_help = "Example:\n  everstep import order-7.json")]
    Import(Import),
    /// Run the present code of an app in Python against a history, and tell the first difference
    #[command(after_long_help = "Example:\n  everstep replay ./shop order-7.json")]
    Replay(Replay),
    /// Do that for all live instances of an app in Python, before it is started with changed code
    #[command(after_long_help = "Example:\n  everstep preflight ./shop && everstep start ./shop")]
    Preflight(Preflight),
    /// Copy a hub to a folder while its host runs
    #[command(after_long_help = "Example:\n  everstep backup /var/backups/shop")]
    Backup(Backup),
    /// Let go on what a start with --hold keeps from going on
    #[command(after_long_help = "Example:\n  everstep release")]
    Release(Common),
    /// The keys that callers need
    #[command(after_long_help = "Example:\n  everstep keys list --system")]
    Keys(Keys),
    /// Check this machine, the app's files and its hub
    #[command(after_long_help = "Example:\n  everstep doctor --app ./shop")]
    Doctor(Doctor),
    /// Print the script that completes commands and instance ids in a shell
    #[command(after_long_help = "Example:\n  source <(everstep completions bash)")]
    Completions(Completions),
}

/// Where the hub is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which hub")]
pub(crate) struct Connect {
    /// The address of a running host [default: the host that runs the app's hub, else the hub's files]
    #[arg(long, value_name = "URL", env = "EVERSTEP_URL")]
    pub(crate) url: Option<String>,
    /// A key of the host: the master key, or the system key of the durable extension
    #[arg(long, env = "EVERSTEP_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// The folder of the app
    #[arg(long, visible_aliases = ["script-root", "prefix"], value_name = "FOLDER", default_value = ".")]
    pub(crate) app: PathBuf,
    /// The folder for the hub's data [default: .everstep in the app's folder]
    #[arg(long, value_name = "FOLDER", env = "EVERSTEP_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The hub [default: what host.json says]
    #[arg(long, visible_alias = "hub", value_name = "NAME")]
    pub(crate) task_hub_name: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// How results are printed [default: table on a terminal, else jsonl]
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
    /// How tables show times
    #[arg(long, value_enum, default_value_t)]
    pub(crate) time: TimeStyle,
}

/// The forms of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One indented JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values under a header
    Csv,
    /// Only the instance ids, one a line
    Ids,
}

/// The forms of times in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TimeStyle {
    /// `3m ago`
    #[default]
    Relative,
    /// `2026-01-02T03:04:05Z`
    Iso,
}

/// What nearly every verb takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// Which instances.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Which instances")]
pub(crate) struct Filter {
    /// Only these statuses
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = statuses())]
    pub(crate) status: Vec<String>,
    /// Only this orchestrator
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only ids that begin so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) id_prefix: Option<String>,
    /// Only instances created since then: a time, or how long ago (15m, 7d)
    #[arg(long, value_name = "WHEN", value_parser = time::moment)]
    pub(crate) since: Option<jiff::Timestamp>,
    /// Only instances created before then: a time, or how long ago (15m, 7d)
    #[arg(long, value_name = "WHEN", value_parser = time::moment)]
    pub(crate) before: Option<jiff::Timestamp>,
    /// Only instances with this tag
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) tag: Vec<(String, String)>,
    /// Only sub-orchestrations of this instance
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,
    /// Only instances with this text in their id, name or custom status
    #[arg(short = 'q', long, alias = "q", value_name = "TEXT")]
    pub(crate) text: Option<String>,
}

fn statuses() -> impl clap::builder::TypedValueParser<Value = String> {
    PossibleValuesParser::new(STATUSES.map(|(written, _)| written)).map(|written| {
        let known = STATUSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&written));
        known.expect("the parser lets no other through").1.to_owned()
    })
}

/// The statuses as they are written here and as the API has them.
pub(crate) const STATUSES: [(&str, &str); 8] = [
    ("running", "Running"),
    ("completed", "Completed"),
    ("failed", "Failed"),
    ("terminated", "Terminated"),
    ("pending", "Pending"),
    ("suspended", "Suspended"),
    ("canceled", "Canceled"),
    ("continuedasnew", "ContinuedAsNew"),
];

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write a tag as KEY=VALUE, for example --tag customer=42".to_owned()),
    }
}

/// `everstep start`
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The folder of the app [default: --script-root, else this one]
    #[arg(value_name = "APP", conflicts_with = "script_root")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: StartArgs,
    /// Build for speed instead of a short build
    #[arg(long)]
    pub(crate) release: bool,
    /// The binary of the package, if it has several
    #[arg(long, value_name = "NAME")]
    pub(crate) bin: Option<String>,
    /// Build and start again whenever a source changes
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) unused: UnusedStart,
}

/// What `func start` takes and this host has no use for.
#[derive(Debug, Args)]
pub(crate) struct UnusedStart {
    #[arg(long, hide = true, value_name = "ARGS", allow_hyphen_values = true)]
    pub(crate) language_worker: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) dotnet_isolated_debug: bool,
    #[arg(long, hide = true)]
    pub(crate) runtime: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) json_output_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub(crate) offline: bool,
}

/// `everstep host start`
#[derive(Debug, Args)]
pub(crate) struct HostCommand {
    #[command(subcommand)]
    pub(crate) command: HostVerb,
}

/// What follows `host`.
#[derive(Debug, Subcommand)]
pub(crate) enum HostVerb {
    /// Start the app in a folder
    #[command(after_long_help = "Example:\n  everstep host start --port 7072")]
    Start(Box<Start>),
}

/// `everstep new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The language: rust or python
    #[arg(value_name = "LANGUAGE")]
    pub(crate) language: Option<String>,
    /// The name of the app and of its folder
    #[arg(value_name = "NAME")]
    pub(crate) app_name: Option<String>,
    /// A checkout of Everstep that the app is to be built with
    #[arg(long, value_name = "FOLDER")]
    pub(crate) everstep_path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) func: FuncNew,
}

/// What `func new` takes.
#[derive(Debug, Args)]
pub(crate) struct FuncNew {
    #[arg(short = 'l', long = "language", id = "func_language", hide = true)]
    pub(crate) language: Option<String>,
    #[arg(short = 't', long, hide = true)]
    pub(crate) template: Option<String>,
    #[arg(short = 'n', long, hide = true)]
    pub(crate) name: Option<String>,
    #[arg(short = 'f', long, hide = true)]
    pub(crate) file: Option<String>,
    #[arg(short = 'a', long, hide = true)]
    pub(crate) authlevel: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) csx: bool,
}

/// `everstep init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder [default: this one]
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// The language: rust or python
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) worker_runtime: Option<String>,
    /// A checkout of Everstep that the app is to be built with
    #[arg(long, value_name = "FOLDER")]
    pub(crate) everstep_path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) func: FuncInit,
}

/// What `func init` takes besides.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Args)]
pub(crate) struct FuncInit {
    #[arg(short = 'l', long, hide = true)]
    pub(crate) language: Option<String>,
    #[arg(short = 'm', long, hide = true)]
    pub(crate) model: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) source_control: bool,
    #[arg(long, hide = true)]
    pub(crate) docker: bool,
    #[arg(long, hide = true)]
    pub(crate) docker_only: bool,
    #[arg(long, hide = true)]
    pub(crate) no_bundle: bool,
    #[arg(short = 'c', long, hide = true)]
    pub(crate) bundles_channel: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) force: bool,
    #[arg(long, hide = true)]
    pub(crate) csx: bool,
    #[arg(long, hide = true)]
    pub(crate) target_framework: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) skip_npm_install: bool,
    #[arg(long, hide = true)]
    pub(crate) no_docs: bool,
    #[arg(long, hide = true)]
    pub(crate) managed_dependencies: bool,
    #[arg(long, hide = true)]
    pub(crate) configuration_profile: Option<String>,
}

/// `everstep function`
#[derive(Debug, Args)]
pub(crate) struct FunctionCommand {
    #[command(subcommand)]
    pub(crate) command: FunctionVerb,
}

/// What follows `function`.
#[derive(Debug, Subcommand)]
pub(crate) enum FunctionVerb {
    /// Make a new app
    #[command(
        visible_alias = "create",
        after_long_help = "Example:\n  everstep function new rust shop"
    )]
    New(New),
}

/// `everstep durable`
#[derive(Debug, Args)]
pub(crate) struct DurableCommand {
    #[command(subcommand)]
    pub(crate) verb: Durable,
}

/// The durable verbs of `func`.
#[derive(Debug, Subcommand)]
pub(crate) enum Durable {
    /// Start an orchestration
    #[command(
        after_long_help = "Example:\n  everstep durable start-new --function-name order --input 4200"
    )]
    StartNew {
        /// The orchestrator
        #[arg(long)]
        function_name: String,
        /// The instance's id [default: a new one]
        #[arg(long)]
        id: Option<String>,
        /// The input: JSON, or @ and the name of a file that holds it
        #[arg(long)]
        input: Option<String>,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// List instances
    #[command(
        after_long_help = "Example:\n  everstep durable get-instances --created-after 2026-01-01 --top 20"
    )]
    GetInstances {
        #[command(flatten)]
        range: DurableRange,
        /// At most so many
        #[arg(long, default_value_t = 10)]
        top: u32,
        /// Where an earlier list ended
        #[arg(long)]
        continuation_token: Option<String>,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// Show an instance
    #[command(
        after_long_help = "Example:\n  everstep durable get-runtime-status --id order-7 --show-output true"
    )]
    GetRuntimeStatus {
        #[command(flatten)]
        id: DurableId,
        /// With its input
        #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
        show_input: bool,
        /// With its output
        #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
        show_output: bool,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// Show the events of an instance
    #[command(after_long_help = "Example:\n  everstep durable get-history --id order-7")]
    GetHistory {
        #[command(flatten)]
        id: DurableId,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// Raise an event to an instance
    #[command(
        after_long_help = "Example:\n  everstep durable raise-event --id order-7 --event-name Approve --event-data true"
    )]
    RaiseEvent {
        #[command(flatten)]
        id: DurableId,
        /// The event's name [default: a new one]
        #[arg(long)]
        event_name: Option<String>,
        /// The event's data: JSON, or @ and the name of a file that holds it
        #[arg(long)]
        event_data: Option<String>,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// Run the failed part of an instance again
    #[command(
        after_long_help = "Example:\n  everstep durable rewind --id order-7 --reason \"the bank is back\""
    )]
    Rewind {
        #[command(flatten)]
        id: DurableId,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// End an instance
    #[command(
        after_long_help = "Example:\n  everstep durable terminate --id order-7 --reason \"not wanted any more\""
    )]
    Terminate {
        #[command(flatten)]
        id: DurableId,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// Remove instances that have ended
    #[command(
        after_long_help = "Example:\n  everstep durable purge-history --created-before 2026-01-01 --runtime-status completed"
    )]
    PurgeHistory {
        #[command(flatten)]
        range: DurableRange,
        #[command(flatten)]
        hub: DurableHub,
    },
    /// Remove a hub with all that is in it
    #[command(
        after_long_help = "Example:\n  everstep durable delete-task-hub --task-hub-name Scratch"
    )]
    DeleteTaskHub {
        #[command(flatten)]
        hub: DurableHub,
    },
}

/// What all durable verbs of `func` take.
#[derive(Debug, Clone, Args)]
pub(crate) struct DurableHub {
    /// The setting with the storage account's connection string [accepted; a hub is a folder here]
    #[arg(long, value_name = "NAME")]
    pub(crate) connection_string_setting: Option<String>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// Which instance.
#[derive(Debug, Clone, Args)]
pub(crate) struct DurableId {
    /// The instance
    #[arg(long, add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) id: String,
}

/// Which instances.
#[derive(Debug, Clone, Args)]
pub(crate) struct DurableRange {
    /// Created at this time or later
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    pub(crate) created_after: Option<jiff::Timestamp>,
    /// Created at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    pub(crate) created_before: Option<jiff::Timestamp>,
    /// Statuses with blanks between them
    #[arg(long, value_name = "STATUSES")]
    pub(crate) runtime_status: Option<String>,
}

/// `everstep ls`
#[derive(Debug, Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Orchestrations or entities [default: orchestrations]
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// At most so many
    #[arg(long, alias = "top", default_value_t = 100, conflicts_with = "all")]
    pub(crate) limit: u32,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// What the list is ordered by
    #[arg(long, value_enum, default_value_t)]
    pub(crate) order: Order,
    /// Oldest first, or by id upwards
    #[arg(long)]
    pub(crate) asc: bool,
    /// Go on where an earlier list ended
    #[arg(long, alias = "continuation-token", value_name = "TOKEN")]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// The two kinds of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Orchestrations
    Orchestration,
    /// Entities
    Entity,
}

/// The orders of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Order {
    /// By the time of creation
    #[default]
    Created,
    /// By the time of the last change
    Updated,
    /// By id
    Id,
}

/// `--watch`
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Watch {
    /// Show it again and again, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub(crate) watch: Option<std::time::Duration>,
}

fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err("write a number of seconds from 0.1 to 86400".to_owned());
    }
    Ok(std::time::Duration::from_secs_f64(seconds))
}

/// `everstep counts`
#[derive(Debug, Args)]
pub(crate) struct Counts {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Orchestrations or entities [default: both]
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// An instance of a hub, or of a file that `export` wrote.
#[derive(Debug, Clone, Args)]
pub(crate) struct Source {
    /// The instance
    #[arg(required_unless_present = "file", add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) id: Option<String>,
    /// Look into a file that `export` wrote instead of a hub
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
}

/// `everstep show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) source: Source,
    /// With its input
    #[arg(long)]
    pub(crate) input: bool,
    /// With its history
    #[arg(long)]
    pub(crate) history: bool,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A verb that looks at one instance.
#[derive(Debug, Args)]
pub(crate) struct Look {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep why`
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Go on until the instance has ended
    #[arg(short, long, conflicts_with = "file")]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep wait`
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) id: String,
    /// How long at most (30s, 5m) [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = time::span)]
    pub(crate) timeout: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The orchestrator
    pub(crate) name: String,
    /// The input: JSON, @ and the name of a file that holds it, or - for what comes in
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// The instance's id [default: a new one]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Wait until it has ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long at most (30s, 5m) [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = time::span, requires = "wait")]
    pub(crate) timeout: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep raise`
#[derive(Debug, Args)]
pub(crate) struct Raise {
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) id: String,
    /// The event's name
    pub(crate) event: String,
    /// The event's data: JSON, @ and the name of a file that holds it, or - for what comes in
    #[arg(long, visible_alias = "event-data", value_name = "JSON", default_value = "null")]
    pub(crate) input: String,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep signal`
#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// The entity: name/key, or @name@key
    pub(crate) entity: String,
    /// The operation
    pub(crate) operation: String,
    /// Its input: JSON, @ and the name of a file that holds it, or - for what comes in
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Some instances by id, or all that match.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Many {
    /// The instances; else all that match the filters
    #[arg(value_name = "ID", add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Every instance of the hub, where no filter is given
    #[arg(long)]
    pub(crate) all: bool,
    /// Only say how many and which
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A verb with a reason.
#[derive(Debug, Args)]
pub(crate) struct Steer {
    #[command(flatten)]
    pub(crate) many: Many,
    /// Why; it stands in the history
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

/// `everstep terminate`
#[derive(Debug, Args)]
pub(crate) struct Terminate {
    #[command(flatten)]
    pub(crate) many: Many,
    /// Why; it becomes the output
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Let sub-orchestrations go on
    #[arg(long)]
    pub(crate) no_recursive: bool,
}

/// `everstep restart`
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// The instances
    #[arg(value_name = "ID", required = true, add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) ids: Vec<String>,
    /// Under the id it has, instead of a new one
    #[arg(long)]
    pub(crate) same_id: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep unpark`
#[derive(Debug, Args)]
pub(crate) struct Unpark {
    /// The instances
    #[arg(value_name = "ID", required = true, add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep purge`
#[derive(Debug, Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    pub(crate) many: Many,
    /// Also instances that have not ended; only with ids
    #[arg(long)]
    pub(crate) force: bool,
}

/// `everstep sql`
#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The query, or - for what comes in
    pub(crate) query: String,
    /// At most so many rows
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The instances; several are written one a line
    #[arg(value_name = "ID", required = true, add = ArgValueCompleter::new(complete::instance_ids))]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// `everstep import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A file that `export` wrote, with one instance or many, or - for what comes in
    pub(crate) file: PathBuf,
    /// Put instances in the place of those that have their ids and have ended
    #[arg(long)]
    pub(crate) replace: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The folder of the app
    #[arg(value_name = "APP")]
    pub(crate) app: PathBuf,
    /// A file that `export` or `history -o json` wrote, or - for what comes in
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `everstep preflight`
#[derive(Debug, Args)]
pub(crate) struct Preflight {
    /// The folder of the app [default: --app, else this one]
    #[arg(value_name = "APP", conflicts_with = "app")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder to write, on the host's machine
    pub(crate) destination: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep keys`
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    pub(crate) command: KeysVerb,
}

/// What follows `keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// Show keys
    #[command(after_long_help = "Example:\n  everstep keys list --function StartOrder")]
    List {
        #[command(flatten)]
        scope: KeyScope,
        #[command(flatten)]
        common: Common,
    },
    /// Make a key, or give it a new value
    #[command(after_long_help = "Example:\n  everstep keys set partner")]
    Set {
        /// The key's name
        name: String,
        /// Its value [default: a new random one]
        #[arg(long)]
        value: Option<String>,
        #[command(flatten)]
        scope: KeyScope,
        #[command(flatten)]
        common: Common,
    },
    /// Remove a key
    #[command(after_long_help = "Example:\n  everstep keys delete partner")]
    Delete {
        /// The key's name
        name: String,
        #[command(flatten)]
        scope: KeyScope,
        #[command(flatten)]
        common: Common,
    },
}

/// Whose keys.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyScope {
    /// The keys of one function [default: those that open all functions]
    #[arg(long, value_name = "NAME", conflicts_with = "system")]
    pub(crate) function: Option<String>,
    /// The keys of extensions, such as the durable one
    #[arg(long)]
    pub(crate) system: bool,
}

/// `everstep doctor`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The port that `start` is to listen on
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `everstep completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// The shells that complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
    /// PowerShell
    #[value(alias = "pwsh")]
    Powershell,
}
