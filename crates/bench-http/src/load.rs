//! The load generator: a process of its own, so that its CPU time is told apart from the server's.
//!
//! Each connection sends a request, reads the whole response, and sends the next. The parser knows as much HTTP/1.1 as
//! the servers here speak: a status line, headers, and a body of a stated length or in chunks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::machine;

/// What to send.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub(crate) struct Load {
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// `{n}` is replaced by a number that no other request has.
    #[arg(long)]
    pub(crate) path: String,
    #[arg(long, default_value = "")]
    pub(crate) body: String,
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 3_000)]
    pub(crate) milliseconds: u64,
    /// One request for each connection, and no more.
    #[arg(long)]
    pub(crate) once: bool,
}

/// What came back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) seconds: f64,
    /// Of requests that were answered with 2xx, in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    pub(crate) cpu: f64,
}

impl Heard {
    pub(crate) fn succeeded(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    pub(crate) fn refused(&self) -> u64 {
        [429, 503].iter().filter_map(|status| self.statuses.get(status)).sum()
    }

    pub(crate) fn others(&self) -> u64 {
        self.statuses.values().sum::<u64>() - self.succeeded() - self.refused()
    }

    pub(crate) fn rate(&self) -> f64 {
        self.succeeded() as f64 / self.seconds
    }
}

/// Runs the load in this process.
pub(crate) async fn run(load: &Load) -> anyhow::Result<Heard> {
    let began = Instant::now();
    let end = began + Duration::from_millis(load.milliseconds);
    let tasks: Vec<_> = (0..load.connections)
        .map(|number| tokio::spawn(connection(load.clone(), number, end)))
        .collect();
    let mut heard = Heard::default();
    let mut times = Vec::new();
    for task in tasks {
        for (status, time) in task.await?? {
            *heard.statuses.entry(status).or_default() += 1;
            if (200..300).contains(&status) {
                times.push(time);
            }
        }
    }
    heard.seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |thousandths: usize| times.get(times.len() * thousandths / 1000).copied().unwrap_or(0);
    (heard.p50, heard.p99) = (at(500), at(990));
    heard.max = times.last().copied().unwrap_or(0);
    heard.cpu = machine::cpu_seconds("self")?;
    Ok(heard)
}

async fn connection(load: Load, number: usize, end: Instant) -> anyhow::Result<Vec<(u16, u64)>> {
    let stream = TcpStream::connect(("127.0.0.1", load.port)).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut heard = Vec::new();
    let mut count = 0;
    while heard.is_empty() || (!load.once && Instant::now() < end) {
        let began = Instant::now();
        stream.get_mut().write_all(request(&load, number, count).as_bytes()).await?;
        let status = response(&mut stream).await?;
        heard.push((status, u64::try_from(began.elapsed().as_micros())?));
        count += 1;
    }
    Ok(heard)
}

fn request(load: &Load, connection: usize, count: u64) -> String {
    let path = load.path.replace("{n}", &format!("{connection}-{count}"));
    let Load { method, body, .. } = load;
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

async fn response(stream: &mut BufReader<TcpStream>) -> anyhow::Result<u16> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        bail!("the server closed the connection");
    }
    let status: u16 =
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status line")?;
    let (mut length, mut chunked) = (0_usize, false);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        chunked |= header.starts_with("transfer-encoding:") && header.ends_with("chunked");
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    while chunked {
        line.clear();
        stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim(), 16).context("no chunk size")?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        chunked = size > 0;
    }
    Ok(status)
}
