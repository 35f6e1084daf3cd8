//! Activities: what they are told, and how one attempt runs.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use everstep_model::{EventId, ExecutionId, Failure, InstanceId, Outcome, TraceContext, Value};
use everstep_worker::{ActivityCall, BoxFuture};

use crate::{BoxError, Payload, codec, failure};

/// What an activity knows of the call it answers.
#[derive(Debug, Clone)]
pub struct ActivityContext {
    name: Arc<str>,
    instance: InstanceId,
    execution_id: ExecutionId,
    task: EventId,
    attempt: u32,
    trace: Option<TraceContext>,
}

impl ActivityContext {
    /// The name it was called by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The orchestration that called.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance
    }

    /// 1 for the first attempt of a call that is retried.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same whenever this attempt runs again, and different for every other: a key for services that take one.
    ///
    /// ```
    /// # use everstep::{ActivityContext, Failure};
    /// async fn charge(ctx: ActivityContext, amount: u64) -> Result<String, Failure> {
    ///     let key = ctx.idempotency_key();
    ///     // send `amount` with `key` to the payment service
    ///     Ok(format!("{amount} charged once under {key}"))
    /// }
    /// ```
    pub fn idempotency_key(&self) -> String {
        format!("{}:{}", self.execution_id, self.task.0)
    }

    /// The trace that the orchestration belongs to.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }
}

/// A registered activity.
pub(crate) type ActivityFn = dyn Fn(ActivityCall) -> BoxFuture<Outcome> + Send + Sync;

/// Code of an activity in the form in which it is kept.
pub(crate) fn activity_fn<I, O, E, F, Fut>(code: F) -> Arc<ActivityFn>
where
    I: Payload,
    O: Payload,
    E: Into<BoxError> + 'static,
    F: Fn(ActivityContext, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
{
    let code = Arc::new(code);
    Arc::new(move |call| {
        let code = Arc::clone(&code);
        Box::pin(async move { Outcome::from(guarded(attempt(code, call)).await) })
    })
}

async fn attempt<I, O, E, F, Fut>(code: Arc<F>, call: ActivityCall) -> Result<Value, Failure>
where
    I: Payload,
    O: Payload,
    E: Into<BoxError>,
    F: Fn(ActivityContext, I) -> Fut,
    Fut: Future<Output = Result<O, E>>,
{
    let ActivityCall { instance, name, input, task, execution_id, attempt, trace } = call;
    let input: I = codec::decode(&input)?;
    let context = ActivityContext { name, instance, execution_id, task, attempt, trace };
    let output = code(context, input).await.map_err(failure)?;
    codec::encode(&output)
}

/// Runs a future; a panic inside is its failure.
pub(crate) async fn guarded(
    future: impl Future<Output = Result<Value, Failure>>,
) -> Result<Value, Failure> {
    let mut future = pin!(future);
    poll_fn(|task| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task)))
            .unwrap_or_else(|payload| Poll::Ready(Err(crate::failure::of_panic(payload.as_ref()))))
    })
    .await
}
