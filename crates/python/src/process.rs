//! The processes that run an app's functions.
//!
//! A *station* is a place for one process. One or more stations think (orchestrators, entities), the others do the rest.
//!
//! P1  A call goes only to a process that is ready and has a free slot; until there is one it waits here, not there.
//! P2  A process that ends takes nothing with it: its calls are answered with [`Loss`], and whoever made them decides. The
//!     next process starts after a pause that grows while processes end early.
//! P3  A call under suspicion of having ended a process runs alone, so that no other is suspected with it.
//! P4  A call over its time ends its process. The others of that process are lost without blame.
//! P5  A process that has had its calls or its memory is replaced when nothing runs in it.
//! P6  The process sends a few parts of a body ahead of what was taken here, and no more.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};

use crate::frame::{CallEnded, Head, Incoming, LogLine, Ready, Turned};

/// What a process runs.
const WORKER: &str = include_str!("../worker/everstep_worker.py");
/// The first pause before a process that ended is started again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A process that lived this long did not end early.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a call that was given up may go on before its process ends.
const GRACE: Duration = Duration::from_secs(5);
/// After so many calls the memory of a process is looked at.
const LOOK_EVERY: u64 = 64;

/// How processes are started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) python: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) settings: BTreeMap<String, String>,
    /// Calls at once in one process.
    pub(crate) slots: usize,
    /// Calls until a process is replaced.
    pub(crate) calls_max: Option<u64>,
    /// Bytes that a process may hold.
    pub(crate) memory_max: Option<u64>,
}

/// Where a call is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// With the activities and triggers.
    Calls,
    /// In the process for orchestrators and entities with this number, counted around. Where none thinks, all do
    /// everything.
    Thinks(u64),
}

/// With what company a call may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Any.
    Others,
    /// None.
    Alone,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The process ended by itself while this ran.
    Crashed(String),
    /// The process was ended because of another call.
    Swept,
    /// The call took longer than it may.
    TooLong,
}

/// An answer.
#[derive(Debug)]
pub(crate) enum Reply {
    Call(CallEnded),
    Turn(Box<Turned>),
}

/// What a call tells before it ends.
#[derive(Debug)]
pub(crate) enum Early {
    /// Its response begins.
    Head(Box<Head>),
    /// More of the body.
    Part(Bytes),
}

/// A call whose response may come in parts. Dropping it gives the call up.
pub(crate) struct Stream {
    ticket: Ticket,
    early: mpsc::UnboundedReceiver<Early>,
}

impl Stream {
    /// What it tells next; `None` once it has ended.
    pub(crate) async fn next(&mut self) -> Option<Early> {
        let early = self.early.recv().await?;
        if let Early::Part(_) = early {
            self.ticket.tell("more");
        }
        Some(early)
    }

    /// How it ends.
    pub(crate) async fn end(mut self) -> Result<Reply, Loss> {
        self.ticket.wait().await
    }
}

/// All processes of an app.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    keepers: Vec<JoinHandle<()>>,
}

struct Shared {
    launch: Launch,
    stations: Vec<Mutex<Station>>,
    /// How many of the stations, the last ones, think.
    thinkers: usize,
    /// Something became free or ready.
    changed: Notify,
}

#[derive(Default)]
struct Station {
    link: Option<Link>,
    running: HashMap<u64, Running>,
    /// Names the next call.
    next: u64,
    /// Calls that the present process has had.
    had: u64,
    alone: bool,
    /// The present process gets no more calls.
    retires: bool,
    /// The call because of which the process was ended.
    guilty: Option<u64>,
}

struct Link {
    frames: mpsc::UnboundedSender<String>,
    kill: Arc<Notify>,
    process: Option<u32>,
}

struct Running {
    answer: oneshot::Sender<Result<Reply, Loss>>,
    /// For those who take an answer in parts.
    early: Option<mpsc::UnboundedSender<Early>>,
    company: Company,
}

/// A call that is under way. Dropping it gives the call up.
struct Ticket {
    shared: Arc<Shared>,
    station: usize,
    id: u64,
    answer: oneshot::Receiver<Result<Reply, Loss>>,
    is_over: bool,
}

/// Why the first process cannot be used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The system does not start it.
    Spawn(std::io::Error),
    /// It ended before it said anything.
    Mute(String),
    /// It says why it cannot load the app.
    Said(Box<Ready>),
}

impl Pool {
    /// Starts `callers` processes and waits for the first; those that think are started by [`Pool::think`].
    pub(crate) async fn start(
        launch: Launch,
        callers: usize,
        thinkers: usize,
    ) -> Result<(Self, Ready), Refusal> {
        let shared = Arc::new(Shared {
            launch,
            stations: (0..callers + thinkers).map(|_| Mutex::default()).collect(),
            thinkers,
            changed: Notify::new(),
        });
        let mut first = Process::spawn(&shared.launch).map_err(Refusal::Spawn)?;
        let ready = match first.ready().await {
            Some(ready) if ready.error.is_none() => ready,
            Some(ready) => return Err(Refusal::Said(Box::new(ready))),
            None => return Err(Refusal::Mute(first.end().await)),
        };
        let mut pool = Self { shared, keepers: Vec::new() };
        pool.keep(0, Some(first));
        (1..callers).for_each(|station| pool.keep(station, None));
        Ok((pool, ready))
    }

    /// Starts the processes for orchestrators and entities.
    pub(crate) fn think(&mut self) {
        let count = self.shared.stations.len();
        (count - self.shared.thinkers..count).for_each(|station| self.keep(station, None));
    }

    fn keep(&mut self, station: usize, process: Option<Process>) {
        self.keepers.push(tokio::spawn(keep(self.shared.clone(), station, process)));
    }

    /// Sends a frame, made from the number of the call, when a process is free for it, and waits for the answer.
    pub(crate) async fn call(
        &self,
        place: Place,
        company: Company,
        limit: Option<Duration>,
        frame: impl Fn(u64) -> String,
    ) -> Result<Reply, Loss> {
        let mut ticket = self.ticket(place, company, None, frame).await;
        let Some(limit) = limit else { return ticket.wait().await };
        match tokio::time::timeout(limit, ticket.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                ticket.condemn();
                Err(Loss::TooLong)
            }
        }
    }

    /// The same for a call of a trigger whose response may come in parts.
    pub(crate) async fn stream(&self, frame: impl Fn(u64) -> String) -> Stream {
        let (sender, early) = mpsc::unbounded_channel();
        let ticket = self.ticket(Place::Calls, Company::Others, Some(sender), frame).await;
        Stream { ticket, early }
    }

    async fn ticket(
        &self,
        place: Place,
        company: Company,
        early: Option<mpsc::UnboundedSender<Early>>,
        frame: impl Fn(u64) -> String,
    ) -> Ticket {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(ticket) = self.shared.begin(place, company, early.as_ref(), &frame) {
                return ticket;
            }
            changed.await;
        }
    }

    /// Tells a process something that has no answer.
    pub(crate) fn tell(&self, number: u64, frame: String) {
        let station = self.shared.lock(self.shared.thinker(number));
        if let Some(link) = &station.link {
            // A process that ended has forgotten it anyway.
            drop(link.frames.send(frame));
        }
    }

    /// Names the process that thinks for a number; another after each start.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let ids = (0..self.shared.stations.len())
            .filter_map(|station| self.shared.lock(station).link.as_ref()?.process);
        ids.collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Each child is killed with the task that keeps it.
        self.keepers.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn lock(&self, station: usize) -> MutexGuard<'_, Station> {
        self.stations[station].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn thinker(&self, number: u64) -> usize {
        let count = if self.thinkers == 0 { self.stations.len() } else { self.thinkers };
        self.stations.len() - count + (number % count as u64) as usize
    }

    /// Begins a call if a process is free for it.
    fn begin(
        self: &Arc<Self>,
        place: Place,
        company: Company,
        early: Option<&mpsc::UnboundedSender<Early>>,
        frame: &impl Fn(u64) -> String,
    ) -> Option<Ticket> {
        let candidates = match place {
            Place::Thinks(number) => {
                let station = self.thinker(number);
                station..station + 1
            }
            Place::Calls => 0..self.stations.len() - self.thinkers,
        };
        let free = candidates.filter_map(|station| {
            let room = self.lock(station).room(company, self.launch.slots)?;
            Some((room, station))
        });
        let (_, station) = free.min()?;
        let mut place = self.lock(station);
        // Somebody else may have been faster since.
        place.room(company, self.launch.slots)?;
        let id = place.next;
        place.next += 1;
        place.had += 1;
        let (answer, receiver) = oneshot::channel();
        place.running.insert(id, Running { answer, early: early.cloned(), company });
        place.alone |= company == Company::Alone;
        let link = place.link.as_ref().expect("a station with room has a process");
        // A process that ends meanwhile answers all of `running`.
        drop(link.frames.send(frame(id)));
        drop(place);
        Some(Ticket { shared: self.clone(), station, id, answer: receiver, is_over: false })
    }

    /// A call goes on and has told something.
    fn told_early(&self, station: usize, id: u64, early: Early) {
        let place = self.lock(station);
        if let Some(Running { early: Some(sender), .. }) = place.running.get(&id) {
            // Whoever asked may have gone.
            drop(sender.send(early));
        }
    }

    /// A process answered a call.
    fn answered(&self, station: usize, id: u64, reply: Reply) {
        let mut place = self.lock(station);
        let Some(running) = place.running.remove(&id) else { return };
        if running.company == Company::Alone {
            place.alone = false;
        }
        if let Some(link) = &place.link {
            let too_many = self.launch.calls_max.is_some_and(|most| place.had >= most);
            let looks = self.launch.memory_max.filter(|_| place.had.is_multiple_of(LOOK_EVERY));
            let too_big =
                looks.is_some_and(|most| link.process.and_then(memory).is_some_and(|b| b > most));
            place.retires |= too_many || too_big;
        }
        place.retire_if_idle();
        drop(place);
        // Whoever asked may have gone.
        drop(running.answer.send(Ok(reply)));
        self.changed.notify_waiters();
    }

    /// A process has ended; tells whether that was wanted.
    fn ended(&self, station: usize, how: &str) -> bool {
        let mut place = self.lock(station);
        place.link = None;
        place.alone = false;
        let (guilty, retired) = (place.guilty.take(), std::mem::take(&mut place.retires));
        for (id, running) in place.running.drain() {
            let loss = match guilty {
                Some(guilty) if guilty == id => Loss::TooLong,
                Some(_) => Loss::Swept,
                None => Loss::Crashed(how.to_owned()),
            };
            drop(running.answer.send(Err(loss)));
        }
        drop(place);
        self.changed.notify_waiters();
        guilty.is_some() || retired
    }
}

impl Station {
    /// How much runs there, if there is room for one more.
    fn room(&self, company: Company, slots: usize) -> Option<usize> {
        let busy = self.running.len();
        let is_open = self.link.is_some() && !self.retires && !self.alone;
        let fits = match company {
            Company::Others => busy < slots,
            Company::Alone => busy == 0,
        };
        (is_open && fits).then_some(busy)
    }

    fn retire_if_idle(&mut self) {
        if self.retires
            && self.running.is_empty()
            && let Some(link) = &self.link
        {
            drop(link.frames.send("{\"t\":\"stop\"}\n".to_owned()));
        }
    }
}

impl Ticket {
    async fn wait(&mut self) -> Result<Reply, Loss> {
        let ended = (&mut self.answer).await;
        self.is_over = true;
        ended.unwrap_or_else(|_| Err(Loss::Crashed("the host lost it".to_owned())))
    }

    /// Sends a frame about the call.
    fn tell(&self, kind: &str) {
        if let Some(link) = &self.shared.lock(self.station).link {
            // A process that has ended needs to know nothing.
            drop(link.frames.send(format!("{{\"t\":\"{kind}\",\"id\":{}}}\n", self.id)));
        }
    }

    /// Ends the process that it runs in.
    fn condemn(&mut self) {
        self.is_over = true;
        condemn(&self.shared, self.station, self.id);
    }
}

fn condemn(shared: &Shared, station: usize, id: u64) {
    let mut place = shared.lock(station);
    if place.running.contains_key(&id) {
        place.guilty = Some(id);
        if let Some(link) = &place.link {
            link.kill.notify_one();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.tell("cancel");
        let (shared, station, id) = (self.shared.clone(), self.station, self.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move {
                tokio::time::sleep(GRACE).await;
                condemn(&shared, station, id);
            }));
        }
    }
}

/// Keeps a station manned.
async fn keep(shared: Arc<Shared>, station: usize, first: Option<Process>) {
    let mut pause = PAUSE_MIN;
    let mut process = first;
    loop {
        let began = Instant::now();
        let present = match process.take() {
            Some(process) => Ok(process),
            None => ready_process(&shared.launch).await,
        };
        match present {
            Ok(process) => {
                let how = process.serve(&shared, station).await;
                if shared.ended(station, &how) {
                    continue;
                }
                tracing::error!(target: "Worker", "a Python process ended ({how}); what it ran is run again, and another is started");
            }
            Err(what) => {
                tracing::error!(target: "Worker", "a Python process does not start: {what}");
            }
        }
        if began.elapsed() > SETTLED {
            pause = PAUSE_MIN;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn ready_process(launch: &Launch) -> Result<Process, String> {
    let mut process = Process::spawn(launch).map_err(|error| error.to_string())?;
    match process.ready().await {
        Some(Ready { error: None, .. }) => Ok(process),
        Some(Ready { error: Some(error), .. }) => Err(error),
        None => Err(process.end().await),
    }
}

/// A process and its pipes.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: BufReader<tokio::process::ChildStdout>,
}

impl Process {
    fn spawn(launch: &Launch) -> std::io::Result<Self> {
        let mut child = Command::new(&launch.python)
            .args(["-u", "-c", WORKER])
            .arg(&launch.root)
            .current_dir(&launch.root)
            .envs(&launch.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        child.stderr.take().into_iter().for_each(|errors| drop(tokio::spawn(show(errors))));
        Ok(Self { child, input, lines: BufReader::with_capacity(1 << 16, output) })
    }

    /// What it says first; `None` if it ends before.
    async fn ready(&mut self) -> Option<Ready> {
        loop {
            match self.frame().await? {
                Incoming::Ready(ready) => return Some(ready),
                Incoming::Log(line) => told(&line),
                Incoming::Head(_) | Incoming::Part(_) | Incoming::Res(_) | Incoming::Turned(_) => {}
            }
        }
    }

    async fn frame(&mut self) -> Option<Incoming> {
        read(&mut self.lines).await
    }

    async fn end(mut self) -> String {
        how(self.child.wait().await)
    }

    /// Passes frames on until it ends; tells how it did.
    async fn serve(self, shared: &Arc<Shared>, station: usize) -> String {
        let Self { mut child, input, mut lines } = self;
        let (frames, outgoing) = mpsc::unbounded_channel();
        let kill = Arc::new(Notify::new());
        let writer = tokio::spawn(write(input, outgoing));
        {
            let mut place = shared.lock(station);
            place.link = Some(Link { frames, kill: kill.clone(), process: child.id() });
            place.had = 0;
        }
        shared.changed.notify_waiters();
        let reading = async {
            while let Some(frame) = read(&mut lines).await {
                match frame {
                    Incoming::Head(head) => {
                        shared.told_early(station, head.id, Early::Head(Box::new(head)));
                    }
                    Incoming::Part(part) => {
                        shared.told_early(station, part.id, Early::Part(part.to_bytes()));
                    }
                    Incoming::Res(ended) => {
                        shared.answered(station, ended.id, Reply::Call(ended));
                    }
                    Incoming::Turned(turned) => {
                        shared.answered(station, turned.id, Reply::Turn(Box::new(turned)));
                    }
                    Incoming::Log(line) => told(&line),
                    Incoming::Ready(_) => {}
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = kill.notified() => {}
        }
        // Without its pipes it is of no use, whether it has ended or not.
        drop(child.start_kill());
        let how = how(child.wait().await);
        writer.abort();
        how
    }
}

async fn read(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<Incoming> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        match serde_json::from_slice(&line) {
            Ok(frame) => return Some(frame),
            Err(error) => {
                tracing::error!(target: "Worker", %error, "a Python process sent a line that is no frame");
            }
        }
    }
}

/// Writes frames, as many at once as there are.
async fn write(mut input: ChildStdin, mut frames: mpsc::UnboundedReceiver<String>) {
    let mut batch = Vec::new();
    while frames.recv_many(&mut batch, 256).await > 0 {
        let bytes = batch.concat();
        batch.clear();
        if input.write_all(bytes.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What a process writes beside the protocol.
async fn show(errors: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(target: "Worker.User", "{line}");
    }
}

/// A line of user code or of its libraries.
fn told(line: &LogLine) {
    let LogLine { lvl, cat, msg, function, inv, inst } = line;
    let (invocation, instance) = (inv.as_deref(), inst.as_deref());
    let function = function.as_deref().unwrap_or("app");
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(target: "Function.User", function, invocation, instance, logger = %cat, "{msg}")
        };
    }
    match lvl {
        0 => tell!(trace),
        1 => tell!(debug),
        2 => tell!(info),
        3 => tell!(warn),
        _ => tell!(error),
    }
}

fn how(ended: std::io::Result<std::process::ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The resident memory of a process in bytes, where the system tells.
fn memory(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    let text = text.ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
