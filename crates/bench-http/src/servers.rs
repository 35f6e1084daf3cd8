//! The processes of a measurement: a bare server, the host, the load generator.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use everstep::{App, Context, Failure, orchestrator};
use everstep_host::{FunctionApp, Services};
use serde_json::Value;

use crate::load::{self, Heard, Load};

#[orchestrator]
async fn finishes(_: Context, input: Option<u64>) -> Result<Option<u64>, Failure> {
    Ok(input)
}

#[orchestrator]
async fn waits(ctx: Context, (): ()) -> Result<(), Failure> {
    ctx.event::<()>("Go").await
}

/// The app that is measured.
pub(crate) fn app(_: &Services) -> FunctionApp {
    FunctionApp::new(App::new("1").add(finishes).add(waits))
}

/// Answers each request with a constant of the length of a status.
#[tokio::main]
pub(crate) async fn bare() -> anyhow::Result<()> {
    use axum::{Router, routing::any};
    let answer = || async {
        (
            [("content-type", "application/json; charset=utf-8")],
            r#"{"name":"finishes","instanceId":"bench-0-0","runtimeStatus":"Completed","input":1,"customStatus":null,"output":1,"createdTime":"2026-01-01T00:00:00Z","lastUpdatedTime":"2026-01-01T00:00:00Z"}"#,
        )
    };
    let router = Router::new().fallback(any(answer));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    say(&serde_json::json!({ "event": "ready", "url": format!("http://127.0.0.1:{port}") }))?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Runs a load and prints what was heard.
#[tokio::main]
pub(crate) async fn generate(load: &Load) -> anyhow::Result<()> {
    let heard = load::run(load).await?;
    say(&serde_json::to_value(&heard)?)
}

fn say(value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

/// A server in a process of its own; gone when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// From the start of the process until it said that it is ready.
    pub(crate) ready: Duration,
}

impl Server {
    pub(crate) fn bare() -> anyhow::Result<Self> {
        Self::start(&["bare"], &[])
    }

    /// The host, on a data folder, with an app's folder that is empty.
    pub(crate) fn host(app: &Path, data: &Path) -> anyhow::Result<Self> {
        let (app, data) = (app.to_string_lossy(), data.to_string_lossy());
        Self::start(
            &["app", "--json", "--port", "0", "--script-root", &app, "--data", &data],
            &[("AzureWebJobsStorage", None)],
        )
    }

    /// The host with an app in Python, with these settings.
    pub(crate) fn python(
        app: &Path,
        data: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (app, data) = (app.to_string_lossy(), data.to_string_lossy());
        let mut variables = vec![("AzureWebJobsStorage", None), ("VIRTUAL_ENV", None)];
        variables.extend(settings.iter().map(|(name, value)| (*name, Some(*value))));
        Self::start(
            &["folder", "--json", "--port", "0", "--script-root", &app, "--data", &data],
            &variables,
        )
    }

    /// Variables without a value are taken away.
    fn start(arguments: &[&str], variables: &[(&str, Option<&str>)]) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn().context("cannot start a server")?;
        let output = child.stdout.take().context("a pipe was asked for")?;
        let mut lines = BufReader::new(output).lines();
        let ready: Value = loop {
            let Some(line) = lines.next() else { bail!("the server ended before it was ready") };
            match serde_json::from_str::<Value>(&line?) {
                Ok(value) if value["event"] == "ready" => break value,
                Ok(_) | Err(_) => {}
            }
        };
        let ready_after = began.elapsed();
        std::thread::spawn(move || lines.for_each(drop));
        let port = ready["url"].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok());
        Ok(Self { child, port: port.context("the server told no port")?, ready: ready_after })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in an orderly way.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A load in a process of its own.
pub(crate) struct Generator(Child);

impl Generator {
    pub(crate) fn start(load: &Load) -> anyhow::Result<Self> {
        let Load { port, method, path, body, connections, milliseconds, once } = load;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("load").args(["--port", &port.to_string(), "--method", method, "--path", path]);
        command.args(["--body", body, "--connections", &connections.to_string()]);
        command.args(["--milliseconds", &milliseconds.to_string()]);
        if *once {
            command.arg("--once");
        }
        Ok(Self(command.stdout(Stdio::piped()).spawn().context("cannot start the load")?))
    }

    pub(crate) fn heard(self) -> anyhow::Result<Heard> {
        let output = self.0.wait_with_output()?;
        if !output.status.success() {
            bail!("the load generator ended with {}", output.status);
        }
        serde_json::from_slice(&output.stdout).context("the load generator said something else")
    }
}

/// One request, from this process.
pub(crate) fn ask(port: u16, method: &str, path: &str) -> anyhow::Result<Value> {
    ask_with(port, method, path, "null")
}

/// The same, with a body of JSON.
pub(crate) fn ask_with(port: u16, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    use std::{io::Read as _, net::TcpStream};
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    // In one piece: a server that has answered may close before it reads a body that comes later.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").context("no response")?;
    Ok(serde_json::from_str(body).unwrap_or(Value::Null))
}
