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
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use everstep::{Failure, kinds};
use everstep_functions::program::{Answer, Data, Invocation, Program, Trigger};
use everstep_model::{Guid, TraceContext};
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore};

/// Runs functions of one program.
pub(crate) struct Invoker {
    program: Arc<dyn Program>,
    /// The time of one run, if there is a limit.
    timeout: Option<Duration>,
    /// Functions that may not run as often at once as they like, by their lower-case name.
    slots: HashMap<String, Arc<Semaphore>>,
    running: AtomicUsize,
    idle: Notify,
    counts: Counts,
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

impl Invoker {
    /// `limits` are the functions that may run so often at once.
    pub(crate) fn new(
        program: Arc<dyn Program>,
        timeout: Option<Duration>,
        limits: impl IntoIterator<Item = (String, usize)>,
    ) -> Self {
        let slots = limits
            .into_iter()
            .map(|(name, limit)| (name.to_lowercase(), Arc::new(Semaphore::new(limit))))
            .collect();
        Self {
            program,
            timeout,
            slots,
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            counts: Counts::default(),
        }
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
            let slot = match invoker.slots.get(&call.function.to_lowercase()) {
                Some(slots) => Some(Arc::clone(slots).acquire_owned().await),
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
        let invocation = Invocation {
            id,
            function: call.function,
            trigger: call.trigger,
            data: call.data,
            inputs: call.inputs,
            trace: call.trace,
            retries: call.retries,
        };
        let program = Arc::clone(&self.program);
        let run = async move { program.invoke(invocation).await };
        // In a task of its own a panic comes back as a value.
        let mut task = tokio::spawn(tracing::Instrument::instrument(run, span));
        let ended = match self.timeout {
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

    fn invoker(limits: &[(&str, usize)]) -> Arc<Invoker> {
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
        let invoker = invoker(&[("Hangs", 1)]);
        let first = invoker.start(call("hangs"));
        let second = invoker.start(call("hangs"));
        let began = tokio::time::Instant::now();
        first.await.unwrap().unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        second.await.unwrap().unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(10));
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
