//! Waiting for the first.
//!
//! The order is part of the meaning: of several that are ready in the same turn, the first in the list wins. A choice by
//! chance would differ in a replay.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context as Task, Poll},
};

/// One of two results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future ended.
    First(A),
    /// The second ended, and the first had not.
    Second(B),
}

/// Waits for either of two; the other is dropped. Pass `&mut future` to keep one.
///
/// ```
/// # use everstep::{Context, Either, Failure};
/// # use std::time::Duration;
/// async fn approval(ctx: Context, _: ()) -> Result<bool, Failure> {
///     let (answer, reminder) = (ctx.event::<bool>("Approved"), ctx.sleep(Duration::from_secs(60)));
///     match everstep::select((answer, reminder)).await {
///         Either::First(answer) => answer,
///         Either::Second(()) => Ok(false),
///     }
/// }
/// ```
pub async fn select<A: Future, B: Future>((a, b): (A, B)) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(move |task| {
        if let Poll::Ready(output) = a.as_mut().poll(task) {
            return Poll::Ready(Either::First(output));
        }
        b.as_mut().poll(task).map(Either::Second)
    })
    .await
}

/// Waits for the first of many; gives its result, its index, and the others in their order.
///
/// ```
/// # use everstep::{Activity, Context, Failure};
/// # const QUOTE: Activity<String, u64> = Activity::new("Quote");
/// async fn first_offer(ctx: Context, suppliers: Vec<String>) -> Result<u64, Failure> {
///     let calls = suppliers.into_iter().map(|name| ctx.call(QUOTE, name)).collect();
///     let (offer, _index, _others) = everstep::select_all(calls).await;
///     offer
/// }
/// ```
///
/// # Panics
/// Without any future there is nothing to wait for.
pub fn select_all<F: Future + Unpin>(futures: Vec<F>) -> SelectAll<F> {
    assert!(!futures.is_empty(), "`select_all` needs at least one future");
    SelectAll { futures }
}

/// The future of [`select_all`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SelectAll<F> {
    futures: Vec<F>,
}

impl<F: Future + Unpin> Future for SelectAll<F> {
    type Output = (F::Output, usize, Vec<F>);

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let ended =
            self.futures.iter_mut().enumerate().find_map(|(index, future)| {
                match Pin::new(future).poll(task) {
                    Poll::Ready(output) => Some((output, index)),
                    Poll::Pending => None,
                }
            });
        match ended {
            None => Poll::Pending,
            Some((output, index)) => {
                drop(self.futures.remove(index));
                Poll::Ready((output, index, std::mem::take(&mut self.futures)))
            }
        }
    }
}
