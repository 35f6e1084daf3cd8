//! What can be said on the command line of a host: the flags of `func start`, and ours.
//!
//! The binary `everstep` and every app in Rust take the same ones.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};

/// How to start an app.
#[derive(Debug, Clone, Args, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct StartArgs {
    /// The folder of the app: where host.json lies
    #[arg(long, visible_alias = "prefix", value_name = "FOLDER")]
    pub script_root: Option<PathBuf>,
    /// The port to listen on [default: Host.LocalHttpPort of local.settings.json, else 7071]
    #[arg(short, long)]
    pub port: Option<u16>,
    /// The address to listen on [default: Host.LocalHttpAddress, else 127.0.0.1]
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// Origins that browsers may call from, with commas between; * for all [default: Host.CORS]
    #[arg(long, value_name = "ORIGINS")]
    pub cors: Option<String>,
    /// Browsers may send credentials [default: Host.CORSCredentials]
    #[arg(long)]
    pub cors_credentials: bool,
    /// Load only these functions
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub functions: Vec<String>,
    /// Show everything that the host does
    #[arg(long)]
    pub verbose: bool,
    /// The least important line of the app's own that is shown
    #[arg(long, value_name = "LEVEL", env = "FUNCTIONS_USER_LOG_LEVEL")]
    pub user_log_level: Option<String>,
    /// Print one JSON object a line instead of text
    #[arg(long, visible_alias = "enable-json-output")]
    pub json: bool,
    /// Keys are required, as in the cloud
    #[arg(long = "enableAuth", visible_alias = "enable-auth")]
    pub enable_auth: bool,
    /// No keys are required, although other machines can reach the address
    #[arg(long, conflicts_with = "enable_auth")]
    pub no_auth: bool,
    /// Serve HTTPS
    #[arg(long = "useHttps", visible_alias = "use-https")]
    pub use_https: bool,
    /// The certificate and its key, PEM, in one file; one is made for localhost if not given
    #[arg(long, value_name = "FILE", requires = "use_https")]
    pub cert: Option<PathBuf>,
    /// The password of a certificate [accepted, not needed: PEM files have none]
    #[arg(long, hide = true, value_name = "TEXT")]
    pub password: Option<String>,
    /// The folder for the hub's data [default: .everstep in the app's folder]
    #[arg(long, value_name = "FOLDER", env = "EVERSTEP_DATA")]
    pub data: Option<PathBuf>,
    /// Throw away what earlier runs left, then start
    #[arg(long)]
    pub fresh: bool,
    /// Start, but let no earlier work go on until `everstep release`
    #[arg(long, conflicts_with = "fresh")]
    pub hold: bool,
    /// How long a stop waits for what runs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub drain: u64,
    /// Which version's habits the management API has
    #[arg(long, value_enum, default_value_t)]
    pub compat: CompatArg,
    /// Answer requests as if each function had this much time, in seconds, to start [accepted, not needed]
    #[arg(short, long, hide = true)]
    pub timeout: Option<u64>,
    /// For apps in Python: a debugger can attach here; needs the package debugpy in the app's environment
    #[arg(long, value_name = "PORT")]
    pub debug: Option<u16>,
    /// Build nothing before the start
    #[arg(long)]
    pub no_build: bool,
    /// Say nothing on standard output: for programs with a command line of their own
    #[arg(skip)]
    pub quiet: bool,
}

/// The two behaviours of the management API that are in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum CompatArg {
    /// Extension 2.13.
    V2,
    /// Extension 3.
    #[default]
    V3,
}
