//! From a command line to a host that runs, and from there to its end.
//!
//! T1  Whatever is wrong is said before anything listens; a person reads what, where, and what to do.
//! T2  The address is bound first: it is the cheapest thing to fail, and the hub's links need its port.
//! T3  A stop has an order: no new triggers, the runs under way, the requests under way, then the hub. A second signal
//!     ends the process at once; nothing that was acknowledged is lost either way.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use everstep::{BoxError, Host, HostOptions, Worker};
use everstep_functions::{
    config::{
        self, HostConfig, Notice, NoticeKind,
        binding::{self, Bound, Trigger},
        function_json,
        host_json::{LogLevel, Overridable, Requests, TracingVersion},
    },
    program::{Function, Program},
    route::{Route, Table},
};
use everstep_http::{Api, ApiOptions, Base, Compat, Functions, Rpc};
use everstep_model::{Kind, ReusePolicy, Status, Timestamp};
use everstep_runtime::{Hold, partition};
use everstep_storage::service::ServiceOptions;
use everstep_store_embedded::Embedded;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{
    CompatArg, FunctionApp, Services, StartArgs,
    bindings::{self, Bindings},
    configuration::{self, Configured, Places},
    console::{Ready, Shown, What},
    cors::{self, Cors},
    custom::{self, CustomProgram, Handler},
    durable_http::WithHttp,
    durable_limits::Bounded,
    front,
    hub::{self, HubFolder, PARTITIONS},
    invoke::Invoker,
    keys::{self, Doorkeeper, Required},
    observe::{
        Watching,
        console::{Console, Form, Levels, Stderr},
        metrics::Metrics,
        otlp::{self, Collector, Exporter},
    },
    retention,
    secrets::{self, Vault},
    serve::{self, BindError, Limits},
    site::{Gate, Site},
    sql::{Files, HubSql},
    storage::{self, Ports, Storage},
    tls::{self, Https, Origin},
    triggers,
};

#[cfg(test)]
pub(crate) mod testing;

/// The port of the original.
const PORT: u16 = 7071;
/// The port for processes of other languages.
const RPC_PORT: u16 = 17071;

/// Why a host did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the app or a setting is not as it should be.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// Nothing can listen there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The hub cannot be used.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// An origin is none.
    #[error(transparent)]
    Cors(#[from] cors::Error),
    /// Queues and blobs cannot be had.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// HTTPS cannot be spoken.
    #[error(transparent)]
    Https(#[from] tls::Error),
    /// The collector is none.
    #[error(transparent)]
    Collector(#[from] otlp::Error),
    /// The app in Python cannot be started.
    #[error(transparent)]
    Python(#[from] everstep_python::Error),
    /// The custom handler does not work.
    #[error(transparent)]
    Handler(#[from] custom::Error),
    /// There is no code to run.
    #[error(
        "{0} has no app that this command can start: neither a Cargo.toml nor a function_app.py nor a customHandler in host.json was found; make one with `everstep new rust NAME` or `everstep new python NAME`"
    )]
    NoApp(PathBuf),
    /// The app does not want to run like this.
    #[error("{0}")]
    App(BoxError),
    /// A flag needs more.
    #[error("{0}")]
    Flag(String),
    /// The system refuses something that it always gives.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Builds an app in Rust.
type Build<'a> = dyn FnOnce(&Services) -> Result<FunctionApp, BoxError> + 'a;

/// Where the functions come from.
pub(crate) enum Code<'a> {
    /// A program in Rust that this host is part of.
    Rust(Box<Build<'a>>),
    /// The files of a folder.
    Folder,
}

/// Runs a host until it is told to stop, and says how it went.
pub(crate) fn run(args: &StartArgs, code: Code<'_>) -> ExitCode {
    let began = Instant::now();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            complain(&Error::System { doing: "starting threads", source }, args.json);
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(start_and_serve(args, code, began)) {
        Ok(()) => {
            runtime.shutdown_timeout(Duration::from_secs(1));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error, args.json);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &Error, json: bool) {
    let line = if json {
        serde_json::json!({ "event": "error", "message": error.to_string() }).to_string()
    } else {
        format!("error: {error}")
    };
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

async fn start_and_serve(args: &StartArgs, code: Code<'_>, began: Instant) -> Result<(), Error> {
    let places = Places::of(&script_root(args)?);
    let (local, _) = configuration::local(&places)?;
    let address = args.address.or(local.host.address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let listener = serve::bind(address, args.port.or(local.host.port).unwrap_or(PORT)).await?;
    let port = local_port(&listener)?;
    let configured = configuration::read(&places, &format!("localhost:{port}"))?;
    let cors = cors_of(args, &configured)?;
    listen_to_logs(args, &configured.host);
    configured.notices.iter().for_each(remark);
    let given = args.cert.as_deref().map(tls::given).transpose()?;
    let scheme = if args.use_https { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{port}");
    let storage = (Ports::USUAL, ServiceOptions::default());
    let start = Start { args, places: &places, configured, address, url, storage, began };
    let (site, tasks) = start.site(code).await?;
    let https = https(args, given, &site.folder, address)?;
    let acceptor = https.as_ref().map(|https| https.acceptor.clone());
    let router = front::router(&site, cors);
    let (stop, stopped) = watch::channel(false);
    let grace = Duration::from_secs(args.drain);
    let limits = Limits::default();
    let serving = tokio::spawn(serve::serve(listener, acceptor, router, limits, stopped, grace));
    let listeners = triggers::start(&site).await;
    announce(args, &site, https.as_ref(), address).await?;
    wait_for_signal().await?;
    say_stopping(args);
    tokio::spawn(end_at_once_on_a_second_signal());
    site.draining.store(true, Ordering::SeqCst);
    // It has ended already if nobody hears.
    let _ = stop.send(true);
    let ((), left) = tokio::join!(listeners.stop(grace), site.invoker.drain(grace));
    if left > 0 {
        tracing::warn!(target: "Host.General", left, "runs of functions were still under way when the time to drain was over");
    }
    drop(serving.await);
    tasks.finish(site, grace).await
}

/// What HTTPS is spoken with, if it is asked for.
fn https(
    args: &StartArgs,
    given: Option<Https>,
    folder: &Path,
    address: IpAddr,
) -> Result<Option<Https>, tls::Error> {
    match given {
        None if args.use_https => tls::own(folder, &address.to_string()).map(Some),
        given => Ok(given),
    }
}

fn script_root(args: &StartArgs) -> Result<PathBuf, Error> {
    let root = match &args.script_root {
        Some(root) => root.clone(),
        None => std::env::current_dir()
            .map_err(|source| Error::System { doing: "finding the current folder", source })?,
    };
    if root.is_dir() {
        return Ok(root);
    }
    Err(Error::Flag(format!(
        "there is no folder {}; --script-root is to name the app's folder",
        root.display()
    )))
}

fn local_port(listener: &TcpListener) -> Result<u16, Error> {
    let address = listener.local_addr();
    address
        .map(|address| address.port())
        .map_err(|source| Error::System { doing: "asking for the port", source })
}

fn cors_of(args: &StartArgs, configured: &Configured) -> Result<Cors, Error> {
    let origins = args.cors.clone().unwrap_or_else(|| configured.local.cors.join(","));
    let credentials = args.cors_credentials || configured.local.cors_credentials;
    Ok(Cors::parse(&origins, credentials)?)
}

fn remark(notice: &Notice) {
    match notice.kind {
        NoticeKind::Warning => tracing::warn!(target: "Host.Startup.Notice", "{notice}"),
        NoticeKind::Unknown | NoticeKind::NotApplied | NoticeKind::Deprecated => {
            tracing::warn!(target: "Host.Startup.Notice", "{notice}");
        }
    }
}

/// What is shown where host.json and the command line say nothing else.
struct Shows {
    config: everstep_functions::config::host_json::LogLevels,
    /// For everything that is not the user's own.
    system: LogLevel,
    user: LogLevel,
}

impl Levels for Shows {
    fn least(&self, category: &str) -> LogLevel {
        if category == "Host.Startup.Notice" {
            return LogLevel::Information;
        }
        self.config
            .find(category)
            .unwrap_or_else(|| if category.ends_with(".User") { self.user } else { self.system })
    }
}

fn listen_to_logs(args: &StartArgs, config: &HostConfig) {
    if config.logging.console == Some(false) {
        return;
    }
    let is_verbose = args.verbose || std::env::var_os("CI").is_some();
    let user = args.user_log_level.as_deref().and_then(LogLevel::parse);
    let levels = Shows {
        config: config.logging.levels.clone(),
        system: if is_verbose { LogLevel::Information } else { LogLevel::Warning },
        user: user.unwrap_or(LogLevel::Information),
    };
    let colored = std::io::stderr().is_terminal()
        && !config.logging.disable_colors
        && std::env::var_os("NO_COLOR").is_none();
    let form = match (args.json, colored) {
        (true, _) => Form::Json,
        (false, true) => Form::Colored,
        (false, false) => Form::Text,
    };
    let console = Console::new(Arc::new(levels), form, || now().to_string(), Stderr);
    // Whoever links this host may have a subscriber already; then theirs has the word.
    drop(tracing::subscriber::set_global_default(tracing_subscriber::registry().with(console)));
}

/// What a start has found out.
struct Start<'a> {
    args: &'a StartArgs,
    places: &'a Places,
    configured: Configured,
    address: IpAddr,
    url: String,
    /// How the storage service is opened, if it is.
    storage: (Ports, ServiceOptions),
    began: Instant,
}

/// What has to be ended with the host.
struct Tasks {
    hub: Host<Embedded>,
    exporter: Option<Exporter>,
    program: Arc<dyn Program>,
}

impl Tasks {
    async fn finish(self, site: Arc<Site>, grace: Duration) -> Result<(), Error> {
        let storage = Arc::clone(&site.storage);
        drop(site);
        self.hub.stop().await.map_err(|error| Error::Hub(error.into()))?;
        storage.stop().await;
        drop(self.program);
        if let Some(exporter) = self.exporter {
            exporter.finish(grace).await;
        }
        Ok(())
    }
}

impl Start<'_> {
    async fn site(self, code: Code<'_>) -> Result<(Arc<Site>, Tasks), Error> {
        let Self { args, places, configured, address, url, storage, began } = self;
        let Configured { host: config, settings, .. } = configured;
        let settings = Arc::new(settings);
        let services = Services::new(Arc::clone(&settings));
        let program = program(code, &services, places, &config, &settings, args.debug).await?;
        let (listed, bound, faults) = bind(program.as_ref(), &config, &settings, args);
        let (routes, faults) = routes(&config, &bound, faults);
        let required = required(args, address);

        let durable = &config.durable_task;
        let folder = HubFolder::of(&places.root, args.data.as_deref(), &durable.hub_name)?;
        if args.fresh {
            folder.begin_anew()?;
        }
        let partitions = durable.storage_provider.partition_count.unwrap_or(PARTITIONS);
        let store = folder.open(partitions)?;
        store.announce(&url).map_err(hub::Error::from)?;
        let names: Vec<&str> = bound.values().map(|bound| bound.name.as_str()).collect();
        let keys = Doorkeeper::open(&folder.path.join("keys.json"), required, &names)?;

        let (ports, service) = storage;
        let at = storage::Options { folder: folder.path.join("storage"), ports, service };
        let storage = Storage::new(Arc::clone(&settings), at);
        let (bound, faults) = connected(&storage, bound, faults).await?;

        let vault = Vault::open(&folder.path)?;
        let owners = secrets::owners(&vault);

        let metrics = Arc::new(Metrics::default());
        let collector =
            Collector::of(|name| settings.get(name).map(str::to_owned), &durable.hub_name)?;
        let exporter =
            collector.map(|collector| Exporter::start(collector, reqwest::Client::new()));
        let (ended, endings) = mpsc::unbounded_channel();
        let spans = exporter.as_ref().map(Exporter::sender);
        let spans = spans.filter(|_| durable.tracing != TracingVersion::None);
        let (told, turns) = mpsc::unbounded_channel();
        let told = durable.notifications.is_some().then_some(told);
        let listener =
            Watching::new(Arc::clone(&metrics), spans, &durable.hub_name, ended).telling(told);

        let worker = worker(program.as_ref(), &config)?;
        let options = HostOptions {
            listener: Some(Arc::new(listener)),
            running_file: Some(folder.path.join("running")),
            ..host_options(&config, args)
        };
        let hub = Host::start(store, worker, options).map_err(|error| Error::Hub(error.into()))?;
        let client = hub.client();
        secrets::sweep(&vault, owners, &client).await;
        let sql = HubSql { client: client.clone(), tables: folder.tables(), files: Files::InUse };
        let names = Arc::new(Names::of(&bound));
        let api = Arc::new(Api::new(ApiOptions {
            connection: durable.storage_provider.connection_name.clone(),
            compat: match args.compat {
                CompatArg::V2 => Compat::V2,
                CompatArg::V3 => Compat::V3,
            },
            use_forwarded_host: durable.use_forwarded_host,
            base: Base(url.clone()),
            public_host: public_host(&settings, &url),
            default_version: durable.default_version.clone().unwrap_or_default(),
            reuse: match durable.overridable_existing_instance_states {
                Overridable::NonRunningStates => ReusePolicy::ended(),
                Overridable::AnyState => ReusePolicy::any(),
            },
            sql: Some(Arc::new(sql)),
            ..ApiOptions::new(client.clone(), durable.hub_name.clone(), names, keys.clone())
        }));
        services.start(client.clone(), Arc::clone(&api), Arc::clone(&vault), storage.clone());
        let limits = config.everstep.limited().map(|(name, limits)| (name.to_owned(), limits));
        let encoding = triggers::queue::encoding(config.queues.message_encoding);
        let bindings = Bindings::new(Arc::clone(&storage), encoding, &bound);
        let invoker = Invoker::new(Arc::clone(&program), config.function_timeout, limits);
        let invoker = Arc::new(invoker.with_bindings(bindings));
        let rpc = rpc(&program, &api, durable.local_rpc_endpoint_enabled).await?;
        let site = Arc::new(Site {
            gate: Gate::new(
                config.http.max_outstanding_requests,
                config.http.max_concurrent_requests,
            ),
            hub_name: durable.hub_name.clone(),
            has_home: !settings.is_on("AzureWebJobsDisableHomepage"),
            script_root: places.root.clone(),
            language: program.language().to_owned(),
            folder: folder.path.clone(),
            settings,
            config,
            store: Arc::clone(hub.store()),
            listed,
            functions: bound,
            faults,
            routes,
            keys,
            invoker,
            storage,
            blob_hooks: triggers::blob::Hooks::default(),
            api,
            client,
            metrics,
            rpc,
            url,
            began,
            held: AtomicBool::new(args.hold),
            draining: AtomicBool::new(false),
        });
        if !args.hold {
            hub.release();
        }
        triggers::notifications::start(&site, turns);
        retention::start(&site);
        triggers::webhooks::start(&site, secrets::hear(&vault, endings));
        Ok((site, Tasks { hub, exporter, program }))
    }
}

/// The app's code.
async fn program(
    code: Code<'_>,
    services: &Services,
    places: &Places,
    config: &HostConfig,
    settings: &config::Settings,
    debug: Option<u16>,
) -> Result<Arc<dyn Program>, Error> {
    if debug.is_some() && (matches!(code, Code::Rust(_)) || config.custom_handler.is_some()) {
        return Err(Error::Flag(
            "--debug is for apps in Python; start a debugger of the app's own language".to_owned(),
        ));
    }
    match code {
        Code::Rust(build) => {
            let app = build(services).map_err(Error::App)?;
            Ok(app.into_program(services.clone()))
        }
        Code::Folder => {
            let Some(handler) = &config.custom_handler else {
                let app = python(places, config, settings)?;
                let show = |line: &str| drop(writeln!(std::io::stderr().lock(), "{line}"));
                let program = everstep_python::App { debug, ..app }.start(show).await?;
                if let Some(port) = debug {
                    show(&format!("A debugger can attach to 127.0.0.1:{port}"));
                }
                return Ok(program);
            };
            let loaded =
                function_json::load(&places.root, settings).map_err(config::Errors::from)?;
            loaded.notices.iter().for_each(remark);
            for (name, errors) in &loaded.failed {
                tracing::error!(target: "Host.Startup.Notice", "function `{name}` is left out: {errors}");
            }
            let folder = handler
                .working_directory
                .as_ref()
                .map_or_else(|| places.root.clone(), |folder| places.root.join(folder));
            let executable = executable(&folder, &handler.executable);
            let arguments = handler.worker.iter().chain(&handler.arguments).cloned().collect();
            let settings =
                settings.pairs().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let handler = Handler {
                executable,
                arguments,
                folder,
                settings: settings.collect(),
                forwards: handler.requests == Requests::Forwarded,
            };
            Ok(CustomProgram::start(handler, loaded.functions).await?)
        }
    }
}

/// An app in Python.
pub(crate) fn python<'a>(
    places: &'a Places,
    config: &HostConfig,
    settings: &'a config::Settings,
) -> Result<everstep_python::App<'a>, Error> {
    let app = everstep_python::App {
        root: &places.root,
        settings,
        function_timeout: config.function_timeout,
        active_environment: std::env::var_os("VIRTUAL_ENV").map(PathBuf::from),
        debug: None,
    };
    if app.is_there() { Ok(app) } else { Err(Error::NoApp(places.root.clone())) }
}

/// A path below the folder, if there is such a file; else a program that the system finds.
fn executable(folder: &Path, name: &str) -> PathBuf {
    let below = folder.join(name);
    if below.is_file() { below } else { PathBuf::from(name) }
}

type Faults = BTreeMap<String, Vec<String>>;

/// Checks the functions; the faulty ones are told of and left out.
fn bind(
    program: &dyn Program,
    config: &HostConfig,
    settings: &config::Settings,
    args: &StartArgs,
) -> (Vec<Function>, BTreeMap<String, Arc<Bound>>, Faults) {
    let only = if args.functions.is_empty() {
        config.functions.clone()
    } else {
        Some(args.functions.clone())
    };
    let is_chosen = |function: &Function| {
        only.as_ref()
            .is_none_or(|only| only.iter().any(|name| name.eq_ignore_ascii_case(&function.name)))
    };
    let listed: Vec<_> = program.functions().into_iter().filter(is_chosen).collect();
    let (mut bound, mut faults) = (BTreeMap::new(), Faults::new());
    for function in &listed {
        match binding::bind(function, settings) {
            Ok(function) if function.disabled => {}
            Ok(function) => drop(bound.insert(function.name.to_lowercase(), Arc::new(function))),
            Err(errors) => {
                let place = function
                    .source
                    .as_deref()
                    .map_or(String::new(), |source| format!("{}: ", source.display()));
                tracing::error!(target: "Host.Startup.Notice", "{place}function `{}` is left out: {errors}", function.name);
                let texts = errors.0.iter().map(ToString::to_string).collect();
                faults.insert(function.name.to_lowercase(), texts);
            }
        }
    }
    (listed, bound, faults)
}

fn routes(
    config: &HostConfig,
    bound: &BTreeMap<String, Arc<Bound>>,
    mut faults: Faults,
) -> (Table, Faults) {
    let routes = bound.values().filter_map(|bound| match &bound.trigger {
        Trigger::Http(http) => Some(Route {
            function: bound.name.clone(),
            template: http.route.clone(),
            methods: http.methods.clone(),
        }),
        _ => None,
    });
    let (table, conflicts) = Table::new(&config.http.route_prefix, routes);
    for conflict in conflicts {
        tracing::error!(target: "Host.Startup.Notice", "{conflict}");
        faults.entry(conflict.function().to_lowercase()).or_default().push(conflict.to_string());
    }
    (table, faults)
}

/// Finds the accounts of queues and blobs; functions whose account cannot be found are told of and left out.
async fn connected(
    storage: &Storage,
    mut bound: BTreeMap<String, Arc<Bound>>,
    mut faults: Faults,
) -> Result<(BTreeMap<String, Arc<Bound>>, Faults), storage::Error> {
    for (key, function) in bound.clone() {
        for (setting, what) in bindings::settings(&function) {
            let found = storage.connection(setting).await;
            let found = found.and_then(|connection| match what {
                bindings::What::Queue => connection.queues().map(drop),
                bindings::What::Blob => connection.blobs().map(drop),
            });
            match found {
                Ok(()) => {}
                Err(error @ (storage::Error::Open(_) | storage::Error::Listen(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    let name = &function.name;
                    tracing::error!(target: "Host.Startup.Notice", "function `{name}` is left out: {error}");
                    faults.entry(key.clone()).or_default().push(error.to_string());
                    bound.remove(&key);
                    break;
                }
            }
        }
    }
    Ok((bound, faults))
}

fn required(args: &StartArgs, address: IpAddr) -> Required {
    if args.enable_auth || (!address.is_loopback() && !args.no_auth) {
        Required::Yes
    } else {
        Required::No
    }
}

fn worker(program: &dyn Program, config: &HostConfig) -> Result<Arc<dyn Worker>, Error> {
    // Processes of Python have an eye on the time themselves: it counts from when a call runs, and begins again for one
    // that was lost to another.
    let timeout = config.function_timeout.filter(|_| program.language() != "python");
    let bounded = Arc::new(Bounded::new(program.worker(), config, timeout));
    let with_http = WithHttp::new(bounded, config.durable_task.async_request_sleep);
    with_http.map(|worker| Arc::new(worker) as Arc<dyn Worker>).map_err(|error| Error::System {
        doing: "making an HTTP client",
        source: std::io::Error::other(error),
    })
}

fn host_options(config: &HostConfig, args: &StartArgs) -> HostOptions {
    let defaults = HostOptions::default();
    let mut limits = partition::Options::default();
    let batch = config.durable_task.max_entity_operation_batch_size;
    limits.limits.entity_batch = batch.unwrap_or(limits.limits.entity_batch);
    HostOptions {
        activities: config
            .durable_task
            .max_concurrent_activity_functions
            .unwrap_or(defaults.activities),
        drain: Duration::from_secs(args.drain),
        // Earlier work goes on once everything that it may ask for is there.
        hold: Hold::UntilReleased,
        partition: limits,
        ..defaults
    }
}

/// Where clients reach the host, if a setting says it: the one that the host adds itself says no more than a request does.
fn public_host(settings: &config::Settings, url: &str) -> Option<String> {
    let name = settings.get("WEBSITE_HOSTNAME")?;
    let is_own = url.split_once("://").is_some_and(|(_, own)| own == name);
    (!is_own && !name.trim().is_empty()).then(|| name.trim().to_owned())
}

/// Where processes of other languages reach the API without a key; programs in Rust need no such place.
async fn rpc(
    program: &Arc<dyn Program>,
    api: &Arc<Api>,
    is_enabled: Option<bool>,
) -> Result<Rpc, Error> {
    if !is_enabled.unwrap_or(program.language() != "rust") {
        return Ok(Rpc::Http(String::new()));
    }
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listener = match serve::bind(address, RPC_PORT).await {
        Ok(listener) => listener,
        Err(_) => serve::bind(address, 0).await?,
    };
    let port = local_port(&listener)?;
    let router = api.rpc_router("/durabletask");
    // It lives as long as the process: the program's own processes end with it.
    let (keep, stop) = watch::channel(false);
    tokio::spawn(async move {
        serve::serve(listener, None, router, Limits::default(), stop, Duration::ZERO).await;
        drop(keep);
    });
    Ok(Rpc::Http(format!("http://127.0.0.1:{port}/durabletask/")))
}

/// The names that the API checks.
struct Names {
    orchestrators: Arc<[String]>,
    entities: Arc<[String]>,
}

impl Names {
    fn of(bound: &BTreeMap<String, Arc<Bound>>) -> Self {
        let names = |pick: fn(&Trigger) -> Option<&String>| {
            bound.values().filter_map(|bound| pick(&bound.trigger)).cloned().collect()
        };
        Self {
            orchestrators: names(|trigger| match trigger {
                Trigger::Orchestration(name) => Some(name),
                _ => None,
            }),
            entities: names(|trigger| match trigger {
                Trigger::Entity(name) => Some(name),
                _ => None,
            }),
        }
    }
}

impl Functions for Names {
    fn orchestrators(&self) -> Option<Arc<[String]>> {
        Some(Arc::clone(&self.orchestrators))
    }

    fn entities(&self) -> Option<Arc<[String]>> {
        Some(Arc::clone(&self.entities))
    }
}

/// Tells whoever started the host that it is ready.
async fn announce(
    args: &StartArgs,
    site: &Site,
    https: Option<&Https>,
    address: IpAddr,
) -> Result<(), Error> {
    let counts = site.client.counts().await.unwrap_or_default();
    let is_open = |kind: Kind, status: Status| kind == Kind::Orchestration && !status.is_terminal();
    let unfinished = counts.iter().filter(|(kind, _, status, _)| is_open(*kind, *status));
    let functions = shown(site);
    let certificate = https.map(|https| (certificate(https), https.fingerprint.as_str()));
    let storage = site.storage.shown().await;
    let ready = Ready {
        functions: &functions,
        url: &site.url,
        hub: &site.hub_name,
        data: &site.folder,
        keys: who_may_call(site.keys.required(), args, address),
        certificate: certificate.as_ref().map(|(text, print)| (text.as_str(), *print)),
        unfinished: unfinished.map(|(.., count)| count).sum(),
        held: args.hold,
        storage: storage.as_deref(),
        milliseconds: site.began.elapsed().as_millis(),
    };
    if args.quiet {
        return Ok(());
    }
    let text = if args.json { format!("{}\n", ready.json()) } else { ready.text() };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::System { doing: "writing to standard output", source })
}

/// The certificate, for whoever is asked to trust it.
fn certificate(https: &Https) -> String {
    let whose = match https.origin {
        Origin::Given => "",
        Origin::Made => "made by this host, vouched for by nobody: ",
    };
    format!("{whose}{}", https.file.display())
}

fn who_may_call(required: Required, args: &StartArgs, address: IpAddr) -> &'static str {
    match required {
        Required::Yes if args.enable_auth => "required, as --enableAuth says",
        Required::Yes => {
            "required: other machines can reach this address (--no-auth opens it to all)"
        }
        Required::No if address.is_loopback() => "not required: only this machine can connect",
        Required::No => {
            "NOT required, as --no-auth says: whoever reaches this address may do everything"
        }
    }
}

fn shown(site: &Site) -> Vec<Shown> {
    let prefix = site.routes.prefix();
    let what = |function: &Function| match site.function(&function.name).map(|bound| &bound.trigger)
    {
        None if site.faults.contains_key(&function.name.to_lowercase()) => None,
        None => Some(What::Disabled),
        Some(Trigger::Http(http)) => Some(What::Http {
            methods: http.methods.iter().map(ToString::to_string).collect(),
            url: format!("{}{prefix}/{}", site.url, http.route),
        }),
        Some(trigger) => Some(What::Trigger(trigger.kind().to_owned())),
    };
    let line =
        |function: &Function| Some(Shown { name: function.name.clone(), what: what(function)? });
    site.listed.iter().filter_map(line).collect()
}

async fn wait_for_signal() -> Result<(), Error> {
    let trouble = |source| Error::System { doing: "listening to signals", source };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(trouble)?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(trouble),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.map_err(trouble)
    }
}

async fn end_at_once_on_a_second_signal() {
    if wait_for_signal().await.is_ok() {
        // What was acknowledged is on disk; the rest is asked for again.
        std::process::exit(130);
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_unix(since.unwrap_or_default())
}

fn say_stopping(args: &StartArgs) {
    if !args.json && !args.quiet {
        let text = "Stopping: runs under way get their time; Ctrl-C again ends at once.";
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }
}
