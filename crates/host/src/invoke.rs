//! Runs of functions that are not durable: limits, time, retries, and the two lines in the log.
//!
//! R1  A run goes on when the one who asked for it goes away: it ends by itself, by its time limit, or with the host.
//! R2  A run that is over its time has failed; its future is dropped.
//! R3  A panic is a failure of that run and of nothing else.
//! R4  A host that stops waits for the runs under way, for as long as it was given.
//!
//! Absent on purpose: orchestrators, activities and entities. The runtime runs those.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use everstep::{Failure, kinds};
use everstep_functions::config::host_json::FunctionLimits;
use everstep_functions::program::{Answer, Data, Invocation, Program, Trigger};
use everstep_model::{Guid, TraceContext};
use everstep_runtime::Pace;
use serde_json::{Map, Value};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::bindings::Bindings;

/// Runs functions of one program.
pub(crate) struct Invoker {
    program: Arc<dyn Program>,
    /// What runs are given and write beside the trigger.
    bindings: Option<Arc<Bindings>>,
    /// The time of one run, if there is a limit.
    timeout: Option<Duration>,
    /// Functions that may not run as they like, by their lower-case name.
    bounds: HashMap<String, Bounds>,
    running: AtomicUsize,
    idle: Notify,
    counts: Counts,
}

/// What holds one function back.
struct Bounds {
    slots: Option<Arc<Semaphore>>,
    pace: Option<Mutex<Pace>>,
    timeout: Option<Duration>,
}

impl Bounds {
    fn of(limits: &FunctionLimits) -> Self {
        Self {
            slots: limits.max_concurrency.map(|limit| Arc::new(Semaphore::new(limit))),
            pace: limits.interval().map(|interval| Mutex::new(Pace::new(interval))),
            timeout: limits.timeout,
        }
    }

    /// Waits until the function may run, and holds its place.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        let slot = match &self.slots {
            Some(slots) => Arc::clone(slots).acquire_owned().await.ok(),
            None => None,
        };
        if let Some(pace) = &self.pace {
            while let Err(later) = take(pace) {
                tokio::time::sleep_until(later).await;
            }
        }
        slot
    }
}

fn take(pace: &Mutex<Pace>) -> Result<(), tokio::time::Instant> {
    pace.lock().unwrap_or_else(PoisonError::into_inner).take(tokio::time::Instant::now())
}

/// How runs ended, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// A run to make.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: Arc<str>,
    pub(crate) trigger: Trigger,
    pub(crate) data: Map<String, Value>,
    pub(crate) inputs: Vec<(String, Data)>,
    pub(crate) trace: Option<TraceContext>,
    /// For the log.
    pub(crate) reason: String,
    pub(crate) retries: u32,
}

impl Call {
    pub(crate) fn new(function: &Arc<str>, trigger: Trigger, reason: impl Into<String>) -> Self {
        Self {
            function: Arc::clone(function),
            trigger,
            data: Map::new(),
            inputs: Vec::new(),
            trace: None,
            reason: reason.into(),
            retries: 0,
        }
    }
}

impl Call {
    fn into_invocation(self, id: Guid) -> Invocation {
        Invocation {
            id,
            function: self.function,
            trigger: self.trigger,
            data: self.data,
            inputs: self.inputs,
            trace: self.trace,
            retries: self.retries,
        }
    }
}

impl Invoker {
    /// `limits` are those of single functions.
    pub(crate) fn new(
        program: Arc<dyn Program>,
        timeout: Option<Duration>,
        limits: impl IntoIterator<Item = (String, FunctionLimits)>,
    ) -> Self {
        let limits = limits.into_iter();
        let bounds =
            limits.map(|(name, limits)| (name.to_lowercase(), Bounds::of(&limits))).collect();
        Self {
            program,
            bindings: None,
            timeout,
            bounds,
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            counts: Counts::default(),
        }
    }

    /// The same with the bindings of queues and blobs.
    pub(crate) fn with_bindings(self, bindings: Bindings) -> Self {
        Self { bindings: Some(Arc::new(bindings)), ..self }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Runs under way.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Makes a run and waits for it.
    pub(crate) async fn run(self: &Arc<Self>, call: Call) -> Result<Answer, Failure> {
        self.start(call).await.unwrap_or_else(|error| {
            Err(Failure::new(kinds::PANIC, format!("the function ended abruptly: {error}")))
        })
    }

    /// Makes a run; whoever drops the handle lets it go on.
    pub(crate) fn start(
        self: &Arc<Self>,
        call: Call,
    ) -> tokio::task::JoinHandle<Result<Answer, Failure>> {
        let guard = Running::new(self);
        tokio::spawn(async move {
            let invoker = &guard.0;
            let slot = match invoker.bounds.get(&call.function.to_lowercase()) {
                Some(bounds) => bounds.slot().await,
                None => None,
            };
            let answer = invoker.run_now(call).await;
            drop(slot);
            answer
        })
    }

    async fn run_now(self: &Arc<Self>, call: Call) -> Result<Answer, Failure> {
        let id = new_id();
        let function = Arc::clone(&call.function);
        tracing::info!(
            target: "Function", function = %function, invocation = %id,
            "Executing 'Functions.{function}' (Reason='{}', Id={id})", call.reason
        );
        let began = Instant::now();
        let answer = self.within_time(id, call).await;
        let milliseconds = began.elapsed().as_millis();
        match &answer {
            Ok(_) => {
                self.counts.succeeded.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    target: "Function", function = %function, invocation = %id,
                    "Executed 'Functions.{function}' (Succeeded, Id={id}, Duration={milliseconds}ms)"
                );
            }
            Err(failure) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    target: "Function", function = %function, invocation = %id,
                    "Executed 'Functions.{function}' (Failed, Id={id}, Duration={milliseconds}ms): {failure:?}"
                );
            }
        }
        answer
    }

    async fn within_time(&self, id: Guid, call: Call) -> Result<Answer, Failure> {
        let span = tracing::info_span!(target: "Function", "function", name = %call.function, invocation = %id);
        let function = Arc::clone(&call.function);
        let program = Arc::clone(&self.program);
        let bindings = self.bindings.clone().and_then(|bindings| {
            let bound = bindings.find(&function)?;
            Some((bindings, bound))
        });
        let run = async move {
            match bindings {
                None => program.invoke(call.into_invocation(id)).await,
                Some((bindings, bound)) => {
                    let mut call = call;
                    bindings.read(&bound, &mut call).await?;
                    let data = call.data.clone();
                    let mut answer = program.invoke(call.into_invocation(id)).await?;
                    bindings.write(&bound, &data, &mut answer).await?;
                    Ok(answer)
                }
            }
        };
        // In a task of its own a panic comes back as a value.
        let mut task = tokio::spawn(tracing::Instrument::instrument(run, span));
        let own = self.bounds.get(&function.to_lowercase()).and_then(|bounds| bounds.timeout);
        let ended = match own.or(self.timeout) {
            None => (&mut task).await,
            Some(limit) => match tokio::time::timeout(limit, &mut task).await {
                Ok(ended) => ended,
                Err(_) => {
                    task.abort();
                    return Err(timed_out(&function, limit));
                }
            },
        };
        ended.unwrap_or_else(|error| Err(panicked(error)))
    }

    /// Waits until nothing runs; tells how much still does when the time is over.
    pub(crate) async fn drain(&self, time: Duration) -> usize {
        let idle = async {
            loop {
                let notified = self.idle.notified();
                if self.running() == 0 {
                    return;
                }
                notified.await;
            }
        };
        drop(tokio::time::timeout(time, idle).await);
        self.running()
    }
}

/// Counts a run for as long as it is held.
struct Running(Arc<Invoker>);

impl Running {
    fn new(invoker: &Arc<Invoker>) -> Self {
        invoker.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(invoker))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

fn timed_out(function: &str, limit: Duration) -> Failure {
    let text = format!(
        "Timeout value of {limit:?} was exceeded by function 'Functions.{function}'; raise `functionTimeout` in host.json, or do long work in an orchestration"
    );
    Failure::new(kinds::TIMEOUT, text)
}

fn panicked(error: tokio::task::JoinError) -> Failure {
    let text = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned()),
        Err(error) => error.to_string(),
    };
    Failure::new(kinds::PANIC, text)
}

/// A random name of a run.
pub(crate) fn new_id() -> Guid {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Guid(bytes)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use everstep::{App, Worker};
    use everstep_functions::program::Function;
    use everstep_worker::BoxFuture;

    use super::*;

    /// `ok`, `fails`, `panics`, `hangs`.
    struct Odd;

    impl Program for Odd {
        fn language(&self) -> &'static str {
            "test"
        }

        fn functions(&self) -> Vec<Function> {
            Vec::new()
        }

        fn invoke(&self, call: Invocation) -> BoxFuture<Result<Answer, Failure>> {
            match &*call.function {
                "ok" => Box::pin(ready(Ok(Answer::default()))),
                "fails" => Box::pin(ready(Err(Failure::new("Wrong", "it went wrong")))),
                "panics" => Box::pin(async { panic!("out of luck") }),
                _ => Box::pin(pending()),
            }
        }

        fn worker(&self) -> Arc<dyn Worker> {
            Arc::new(App::new("1"))
        }
    }

    fn invoker(limits: &[(&str, FunctionLimits)]) -> Arc<Invoker> {
        let limits = limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit));
        Arc::new(Invoker::new(Arc::new(Odd), Some(Duration::from_secs(5)), limits))
    }

    fn call(function: &str) -> Call {
        Call::new(&function.into(), Trigger::Manual(String::new()), "a test")
    }

    async fn failure(function: &str) -> String {
        format!("{:?}", invoker(&[]).run(call(function)).await.unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn each_way_to_fail_is_a_failure_of_that_run() {
        assert_eq!(failure("fails").await, "Wrong: it went wrong");
        assert_eq!(failure("panics").await, "Panic: out of luck");
        assert_eq!(
            failure("hangs").await,
            "Timeout: Timeout value of 5s was exceeded by function 'Functions.hangs'; raise `functionTimeout` in host.json, or do long work in an orchestration"
        );
    }

    #[tokio::test]
    async fn runs_are_counted_by_how_they_end() {
        let invoker = invoker(&[]);
        invoker.run(call("ok")).await.unwrap();
        invoker.run(call("fails")).await.unwrap_err();
        invoker.run(call("panics")).await.unwrap_err();
        let counts = invoker.counts();
        assert_eq!(counts.succeeded.load(Ordering::Relaxed), 1);
        assert_eq!(counts.failed.load(Ordering::Relaxed), 2);
        assert_eq!(invoker.drain(Duration::ZERO).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_at_its_limit_waits_for_a_slot() {
        let one = FunctionLimits { max_concurrency: Some(1), ..FunctionLimits::default() };
        let invoker = invoker(&[("Hangs", one)]);
        let first = invoker.start(call("hangs"));
        let second = invoker.start(call("hangs"));
        let began = tokio::time::Instant::now();
        first.await.unwrap().unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        second.await.unwrap().unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_keeps_its_pace_and_its_own_time() {
        let paced = FunctionLimits { rate_per_second: Some(2.0), ..FunctionLimits::default() };
        let timeout = Some(Duration::from_millis(30));
        let short = FunctionLimits { timeout, ..FunctionLimits::default() };
        let invoker = invoker(&[("ok", paced), ("hangs", short)]);
        let began = tokio::time::Instant::now();
        for after in [0, 500, 1_000] {
            invoker.run(call("ok")).await.unwrap();
            assert_eq!(began.elapsed().as_millis() / 10 * 10, after);
        }
        let began = tokio::time::Instant::now();
        invoker.run(call("hangs")).await.unwrap_err();
        assert_eq!(began.elapsed().as_millis() / 10 * 10, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_what_runs_and_tells_what_still_does() {
        let invoker = invoker(&[]);
        let hangs = invoker.start(call("hangs"));
        assert_eq!(invoker.drain(Duration::from_secs(1)).await, 1);
        assert_eq!(invoker.drain(Duration::from_mins(1)).await, 0);
        hangs.await.unwrap().unwrap_err();
    }
}
