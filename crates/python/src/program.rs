//! An app in Python as a program of the host.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use everstep_functions::{
    config::{self, Settings, function_json},
    program::{Answer, Binding, Direction, Function, Invocation, Program},
};
use everstep_model::{Failure, kinds};
use everstep_worker::{BoxFuture, Worker};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    activity::unsaid,
    environment::{self, Named},
    failure::Role,
    frame::{CallEnded, Frame, Head, Listed, Model, Ready, Typed},
    process::{Early, Launch, Loss, Pool, Refusal, Reply, Stream},
    rehearsal::Rehearsal,
    values,
    worker::{PythonWorker, Shared, Table},
};

/// The file of an app whose functions are declared by decorators.
const SCRIPT: &str = "function_app.py";
/// Threads of a process for code that is not asynchronous, as in the original.
const THREADS: usize = 1000;

/// Why an app in Python cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no interpreter for it.
    #[error(transparent)]
    Environment(#[from] environment::Error),
    /// The functions' files are not as they should be.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// A setting is not as it should be.
    #[error("the setting {name} is `{value}`; {remedy}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What to write.
        remedy: &'static str,
    },
    /// The interpreter does not run.
    #[error("{python} cannot be started: {source}")]
    Start {
        /// The interpreter.
        python: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended before the app was loaded.
    #[error("{python} ended ({how}) before the app in {root} was loaded; its last lines say why")]
    Ended {
        /// The interpreter.
        python: PathBuf,
        /// The app.
        root: PathBuf,
        /// How it ended.
        how: String,
    },
    /// A module was not found.
    #[error(
        "the app in {root} cannot be loaded: {python} has no module `{module}`; {remedy}\n{trace}"
    )]
    Missing {
        /// The app.
        root: PathBuf,
        /// The interpreter.
        python: String,
        /// The module.
        module: String,
        /// What to do.
        remedy: String,
        /// The traceback.
        trace: String,
    },
    /// There is no debugger.
    #[error(
        "{python} has no module `debugpy`, which --debug needs; run `{python} -m pip install debugpy`, or start without --debug"
    )]
    Debugger {
        /// The interpreter.
        python: PathBuf,
    },
    /// Its code failed.
    #[error("the app in {root} cannot be loaded:\n{trace}")]
    Load {
        /// The app.
        root: PathBuf,
        /// The traceback.
        trace: String,
    },
}

/// What there is to know of an app before it is started.
#[derive(Debug)]
pub struct App<'a> {
    /// Its folder.
    pub root: &'a Path,
    /// Its settings; those of the process among them.
    pub settings: &'a Settings,
    /// The time of one call, if there is a limit.
    pub function_timeout: Option<Duration>,
    /// `VIRTUAL_ENV` of the process that starts it.
    pub active_environment: Option<PathBuf>,
    /// The port for a debugger, which has one process for everything and all the time that it wants.
    pub debug: Option<u16>,
}

/// An app in Python whose functions can be run.
pub struct PythonProgram {
    functions: Vec<Function>,
    /// Why some could not be loaded, by the lower-case name.
    faults: BTreeMap<String, String>,
    shared: Arc<Shared>,
}

impl App<'_> {
    /// Whether a folder holds an app in Python: the file with its functions, or folders with a `function.json` for code
    /// in Python. Another language in the settings has the last word.
    pub fn is_there(&self) -> bool {
        let runtime = self.settings.get("FUNCTIONS_WORKER_RUNTIME").unwrap_or_default();
        match runtime {
            "" => self.script().is_file() || has_folder_of_python(self.root),
            runtime if runtime.eq_ignore_ascii_case("python") => {
                self.script().is_file() || has_function_json(self.root)
            }
            _ => false,
        }
    }

    fn script(&self) -> PathBuf {
        let name = self.settings.get("PYTHON_SCRIPT_FILE_NAME").filter(|name| !name.is_empty());
        self.root.join(name.unwrap_or(SCRIPT))
    }

    /// Starts the app's processes and reads its functions. `show` is told what takes its time.
    pub async fn start(
        self,
        show: impl FnMut(&str) + Send + 'static,
    ) -> Result<Arc<PythonProgram>, Error> {
        let callers = self.number("FUNCTIONS_WORKER_PROCESS_COUNT", 1, 10)?.unwrap_or(1) as usize;
        let (callers, thinkers) = if self.debug.is_some() { (1, 0) } else { (callers, callers) };
        let (mut pool, ready) = self.pool(show, callers, thinkers).await?;
        tracing::info!(
            target: "Worker",
            "Python {} ({}), azure-functions {}, azure-functions-durable {}",
            ready.py, ready.executable, ready.sdk.as_deref().unwrap_or("is not installed"),
            ready.durable.as_deref().unwrap_or("is not installed")
        );
        let (functions, faults) = self.functions(&ready)?;
        let table = Table::of(
            functions
                .iter()
                .map(|function| (function, faults.contains_key(&function.name.to_lowercase()))),
        );
        if table.has(Role::Orchestrator) || table.has(Role::Entity) {
            pool.think();
        }
        let identity = identity(self.root);
        let limit = self.function_timeout.filter(|_| self.debug.is_none());
        let shared = Arc::new(Shared::new(pool, table, identity, limit));
        Ok(Arc::new(PythonProgram { functions, faults, shared }))
    }

    /// Loads the code to try histories on it.
    pub async fn rehearse(
        self,
        show: impl FnMut(&str) + Send + 'static,
    ) -> Result<Rehearsal, Error> {
        let (pool, ready) = self.pool(show, 1, 0).await?;
        let (functions, faults) = self.functions(&ready)?;
        let is_broken = |function: &Function| faults.contains_key(&function.name.to_lowercase());
        Ok(Rehearsal::new(pool, functions.iter().map(|function| (function, is_broken(function)))))
    }

    async fn pool(
        &self,
        show: impl FnMut(&str) + Send + 'static,
        callers: usize,
        thinkers: usize,
    ) -> Result<(Pool, Ready), Error> {
        let python = self.interpreter(show).await?;
        let launch = self.launch(python.clone())?;
        let started = Pool::start(launch, callers, thinkers).await;
        started.map_err(|refusal| self.refused(refusal, &python))
    }

    async fn interpreter(
        &self,
        mut show: impl FnMut(&str) + Send + 'static,
    ) -> Result<PathBuf, Error> {
        let names = [
            "languageWorkers__python__defaultExecutablePath",
            "languageWorkers:python:defaultExecutablePath",
        ];
        let setting = names.iter().find_map(|name| self.settings.get(name));
        let named = Named {
            setting: setting.filter(|path| !path.is_empty()).map(PathBuf::from),
            active: self.active_environment.clone(),
        };
        let root = self.root.to_owned();
        let found =
            tokio::task::spawn_blocking(move || environment::interpreter(&root, &named, &mut show));
        Ok(found.await.expect("looking for an interpreter does not panic")?)
    }

    fn launch(&self, python: PathBuf) -> Result<Launch, Error> {
        let mut settings: BTreeMap<_, _> = self
            .settings
            .pairs()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.to_owned());
        let folder = root.display().to_string();
        let worker = python.parent().unwrap_or(&root).display().to_string();
        for (name, value) in [
            ("AzureWebJobsScriptRoot", folder.as_str()),
            ("FUNCTIONS_APPLICATION_DIRECTORY", &folder),
            ("FUNCTIONS_WORKER_DIRECTORY", &worker),
            ("FUNCTIONS_WORKER_RUNTIME", "python"),
        ] {
            settings.insert(name.to_owned(), value.to_owned());
        }
        if let Some(port) = self.debug {
            settings.insert("EVERSTEP_PYTHON_DEBUG".to_owned(), port.to_string());
        }
        let slots = self.number("PYTHON_THREADPOOL_THREAD_COUNT", 1, 10_000)?;
        Ok(Launch {
            python,
            root,
            settings,
            slots: slots.map_or(THREADS, |slots| slots as usize),
            calls_max: self.number("EVERSTEP_PYTHON_MAX_CALLS", 1, u64::MAX)?,
            memory_max: self
                .number("EVERSTEP_PYTHON_MAX_MEMORY_MB", 16, 1 << 30)?
                .map(|megabytes| megabytes << 20),
        })
    }

    fn number(&self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Error> {
        let Some(text) = self.settings.get(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Error::Setting {
                name,
                value: text.to_owned(),
                remedy: match name {
                    "FUNCTIONS_WORKER_PROCESS_COUNT" => "write a number from 1 to 10",
                    "EVERSTEP_PYTHON_MAX_MEMORY_MB" => "write a number of megabytes, 16 or more",
                    _ => "write a number, 1 or more",
                },
            }),
        }
    }

    fn refused(&self, refusal: Refusal, python: &Path) -> Error {
        let root = self.root.to_owned();
        match refusal {
            Refusal::Spawn(source) => Error::Start { python: python.to_owned(), source },
            Refusal::Mute(how) => Error::Ended { python: python.to_owned(), root, how },
            Refusal::Said(ready) => {
                let Ready { error, missing, .. } = *ready;
                let trace = error.unwrap_or_default();
                match missing {
                    Some(module) if module == "debugpy" && self.debug.is_some() => {
                        Error::Debugger { python: python.to_owned() }
                    }
                    None => Error::Load { root, trace },
                    Some(module) => {
                        let python = python.display().to_string();
                        let remedy = environment::remedy(&module, &python, self.root);
                        Error::Missing { root, python, module, remedy, trace }
                    }
                }
            }
        }
    }

    /// The functions, and why some of them could not be loaded.
    fn functions(&self, ready: &Ready) -> Result<(Vec<Function>, BTreeMap<String, String>), Error> {
        let mut faults = BTreeMap::new();
        for listed in &ready.functions {
            let Some(error) = &listed.error else { continue };
            // What is wrong with the file is told with its place below.
            if listed.script_file.is_some() {
                let remedy = listed.missing.as_deref().map_or(String::new(), |module| {
                    format!("\n{}", environment::remedy(module, &ready.executable, self.root))
                });
                tracing::error!(target: "Host.Startup.Notice", "function `{}` cannot be loaded: {error}{remedy}", listed.name);
            }
            faults.insert(listed.name.to_lowercase(), error.clone());
        }
        let is_v1 = ready.functions.first().is_none_or(|listed| listed.model == Model::V1);
        if !is_v1 {
            return Ok((
                ready.functions.iter().map(|listed| function(listed, self.root)).collect(),
                faults,
            ));
        }
        let loaded = function_json::load(self.root, self.settings).map_err(config::Errors::from)?;
        for notice in &loaded.notices {
            tracing::warn!(target: "Host.Startup.Notice", "{notice}");
        }
        for (name, errors) in &loaded.failed {
            tracing::error!(target: "Host.Startup.Notice", "function `{name}` is left out: {errors}");
        }
        Ok((loaded.functions, faults))
    }
}

fn has_function_json(root: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(root) else { return false };
    entries.flatten().any(|entry| entry.path().join(function_json::FILE).is_file())
}

fn has_folder_of_python(root: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(root) else { return false };
    let is_python = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join(function_json::FILE)).unwrap_or_default();
        let config: Value = serde_json::from_str(&text).unwrap_or_default();
        let script = config["scriptFile"].as_str();
        !config.is_null()
            && script.map_or(folder.join("__init__.py").is_file(), |file| {
                Path::new(file).extension().is_some_and(|extension| extension == "py")
            })
    };
    entries.flatten().any(|entry| is_python(&entry.path()))
}

/// A function that was declared by decorators.
fn function(listed: &Listed, root: &Path) -> Function {
    Function {
        name: listed.name.clone(),
        bindings: listed.bindings.iter().map(binding).collect(),
        disabled: false,
        source: listed.script_file.as_ref().map(|file| place(&root.join(file), listed.line)),
        retry: listed.retry.as_ref().and_then(retry),
    }
}

/// A file as people and editors name a line in it.
fn place(file: &Path, line: Option<u32>) -> PathBuf {
    let file = file.display();
    line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}")).into()
}

fn binding(raw: &Map<String, Value>) -> Binding {
    let mut properties = raw.clone();
    let mut text = |key: &str| {
        let value = properties.remove(key);
        value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (kind, name, direction) = (text("type"), text("name"), text("direction"));
    let direction = match direction.to_ascii_lowercase().as_str() {
        "out" => Direction::Out,
        "inout" => Direction::InOut,
        _ => Direction::In,
    };
    // An ASGI app names its route with a slash.
    if let Some(Value::String(route)) = properties.get_mut("route") {
        *route = route.trim_start_matches('/').to_owned();
    }
    Binding { kind, direction, name, properties }
}

/// The decorator's settings in the words of `function.json`.
fn retry(raw: &Map<String, Value>) -> Option<Value> {
    let text = |key: &str| raw.get(key).and_then(Value::as_str);
    let mut retry = Map::new();
    let strategy = match text("strategy")? {
        "fixed_delay" => "fixedDelay",
        "exponential_backoff" => "exponentialBackoff",
        other => other,
    };
    retry.insert("strategy".to_owned(), strategy.into());
    if let Some(count) = text("max_retry_count").and_then(|count| count.parse::<i64>().ok()) {
        retry.insert("maxRetryCount".to_owned(), count.into());
    }
    for (from, to) in [
        ("delay_interval", "delayInterval"),
        ("minimum_interval", "minimumInterval"),
        ("maximum_interval", "maximumInterval"),
    ] {
        if let Some(interval) = text(from) {
            retry.insert(to.to_owned(), interval.into());
        }
    }
    Some(Value::Object(retry))
}

/// Changes when a file of the code does.
fn identity(root: &Path) -> String {
    let mut files = Vec::new();
    code_files(root, 0, &mut files);
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(std::fs::read(&file).unwrap_or_default());
    }
    environment::hex(&hash.finalize()[..8])
}

fn code_files(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_foreign = name.starts_with('.') || name == "venv" || name == "node_modules";
        if path.is_dir() && !is_foreign && depth < 8 && !path.join("pyvenv.cfg").is_file() {
            code_files(&path, depth + 1, files);
        } else if path.extension().is_some_and(|extension| extension == "py") {
            files.push(path);
        }
    }
}

impl PythonProgram {
    /// The processes that run the app at present.
    pub fn processes(&self) -> Vec<u32> {
        self.shared.pool.processes()
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }
}

impl Program for PythonProgram {
    fn language(&self) -> &'static str {
        "python"
    }

    fn functions(&self) -> Vec<Function> {
        self.functions.clone()
    }

    fn invoke(&self, call: Invocation) -> BoxFuture<Result<Answer, Failure>> {
        let Some(function) = self.function(&call.function).cloned() else {
            let text = format!("the app has no function `{}`", call.function);
            return Box::pin(std::future::ready(Err(Failure::new(kinds::NOT_FOUND, text))));
        };
        if let Some(fault) = self.faults.get(&function.name.to_lowercase()) {
            let text = format!("the function `{}` could not be loaded: {fault}", function.name);
            return Box::pin(std::future::ready(Err(Failure::new("LoadError", text))));
        }
        Box::pin(invoke(self.shared.clone(), function, call))
    }

    fn worker(&self) -> Arc<dyn Worker> {
        Arc::new(PythonWorker(self.shared.clone()))
    }
}

async fn invoke(
    shared: Arc<Shared>,
    function: Function,
    call: Invocation,
) -> Result<Answer, Failure> {
    let is_trigger = |binding: &&Binding| binding.kind.to_ascii_lowercase().ends_with("trigger");
    let trigger = function.bindings.iter().find(is_trigger).ok_or_else(|| {
        Failure::new(kinds::RULE, format!("the function `{}` has no trigger", function.name))
    })?;
    let mut inputs = Map::new();
    let value = values::trigger(call.trigger, &trigger.kind, &call.data).await?;
    inputs.insert(trigger.name.clone(), value.value());
    for (name, data) in call.inputs {
        inputs.insert(name, values::input(data).value());
    }
    let metadata: Map<_, _> = call
        .data
        .iter()
        .map(|(name, value)| (name.clone(), values::metadata(value).value()))
        .collect();
    let mut frame = json!({
        "t": "inv", "fn": function.name, "inv": call.id.to_string(), "in": inputs,
        "meta": metadata, "retry": { "count": call.retries, "max": 0 },
    });
    if let Some(trace) = &call.trace {
        frame["trace"] = json!({ "parent": &*trace.traceparent, "state": &*trace.tracestate });
    }
    let frame = Frame::of(&frame);
    // The host has its eye on the time.
    let mut stream = shared.pool.stream(|id| frame.numbered(id)).await;
    while let Some(early) = stream.next().await {
        if let Early::Head(head) = early {
            return streamed(&function, *head, stream);
        }
    }
    ended(&function, stream.end().await)
}

/// An answer whose body comes while the function still runs.
fn streamed(function: &Function, head: Head, stream: Stream) -> Result<Answer, Failure> {
    let mut answer = answer(function, None, head.out)?;
    let name = function.name.clone();
    let parts = futures_util::stream::unfold(Some(stream), move |stream| {
        let name = name.clone();
        async move {
            let mut stream = stream?;
            match stream.next().await {
                Some(Early::Part(bytes)) => return Some((Ok(bytes), Some(stream))),
                Some(Early::Head(_)) => return Some((Ok(Bytes::new()), Some(stream))),
                None => {}
            }
            let what = match stream.end().await {
                Ok(Reply::Call(CallEnded { ok: true, .. })) => return None,
                Ok(Reply::Call(CallEnded { err, .. })) => err.unwrap_or_else(unsaid).stack,
                Ok(Reply::Turn(_)) => "it answered something else".to_owned(),
                Err(loss) => format!("its process ended: {loss:?}"),
            };
            tracing::error!(target: "Host.Executor", "the response of `{name}` is cut off: {what}");
            Some((Err(std::io::Error::other("the function failed")), None))
        }
    });
    let response = values::response(&head.ret)?;
    answer.response = Some(response.map(|_| Body::from_stream(parts)));
    Ok(answer)
}

fn ended(function: &Function, ended: Result<Reply, Loss>) -> Result<Answer, Failure> {
    match ended {
        Ok(Reply::Call(CallEnded { ok: true, ret, out, .. })) => answer(function, ret, out),
        Ok(Reply::Call(CallEnded { err, .. })) => {
            let thrown = err.unwrap_or_else(unsaid);
            let message = format!("{}\n{}", thrown.message, thrown.stack);
            Err(Failure { kind: thrown.kind, message, stack: thrown.stack, ..Failure::default() })
        }
        Ok(Reply::Turn(_)) | Err(Loss::Swept | Loss::TooLong) => Err(lost(function, "was ended")),
        Err(Loss::Crashed(how)) => Err(lost(function, &format!("ended ({how})"))),
    }
}

fn lost(function: &Function, how: &str) -> Failure {
    let text = format!("the process that ran `{}` {how} before it answered", function.name);
    Failure::new("WorkerLost", text)
}

/// What a function gave back, sorted by binding.
fn answer(
    function: &Function,
    returned: Option<Typed>,
    out: Map<String, Value>,
) -> Result<Answer, Failure> {
    let kind = |name: &str| {
        let binding = function.bindings.iter().find(|binding| binding.name == name);
        binding.map(|binding| binding.kind.to_ascii_lowercase())
    };
    let mut answer = Answer::default();
    for (name, value) in out {
        let Ok(typed) = serde_json::from_value::<Typed>(value) else { continue };
        if kind(&name).as_deref() == Some("http") {
            answer.response = Some(values::response(&typed)?);
        } else {
            answer.outputs.push((name, values::output(&typed)));
        }
    }
    if let Some(typed) = returned {
        if kind("$return").as_deref() == Some("http") {
            answer.response = Some(values::response(&typed)?);
        } else {
            answer.value = Some(values::output(&typed));
        }
    }
    Ok(answer)
}
