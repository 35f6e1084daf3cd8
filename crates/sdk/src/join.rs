//! Waiting for all.
//!
//! G1  Results come in the order of the futures, not in that of their ends.
//! G2  A future is polled when it was woken, not when another one was: a fan-in of N costs N polls and some.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as Task, Poll, Wake, Waker},
};

/// Waits for all and gives their results in order.
///
/// ```
/// # use everstep::{Activity, Context, Failure};
/// const RESIZE: Activity<String, u64> = Activity::new("Resize");
///
/// async fn album(ctx: Context, images: Vec<String>) -> Result<u64, Failure> {
///     let calls = images.into_iter().map(|image| ctx.call(RESIZE, image)).collect();
///     let sizes: Vec<Result<u64, Failure>> = everstep::join_all(calls).await;
///     sizes.into_iter().sum()
/// }
/// ```
pub fn join_all<F: Future>(futures: Vec<F>) -> JoinAll<F> {
    let results = futures.iter().map(|_| None).collect();
    JoinAll { crowd: Crowd::new(futures), results }
}

/// Waits until all have succeeded, or one has failed; the others are dropped then.
///
/// ```
/// # use everstep::{Activity, Context, Failure};
/// # const RESIZE: Activity<String, u64> = Activity::new("Resize");
/// async fn album(ctx: Context, images: Vec<String>) -> Result<u64, Failure> {
///     let calls = images.into_iter().map(|image| ctx.call(RESIZE, image)).collect();
///     let sizes: Vec<u64> = everstep::try_join_all(calls).await?;
///     Ok(sizes.into_iter().sum())
/// }
/// ```
pub fn try_join_all<F: Future<Output = Result<T, E>>, T, E>(futures: Vec<F>) -> TryJoinAll<F, T> {
    let results = futures.iter().map(|_| None).collect();
    TryJoinAll { crowd: Crowd::new(futures), results }
}

/// The future of [`join_all`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct JoinAll<F: Future> {
    crowd: Crowd<F>,
    results: Vec<Option<F::Output>>,
}

// The results are moved, never pinned; the futures are pinned in boxes of their own.
impl<F: Future> Unpin for JoinAll<F> {}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        self.crowd.begin(task);
        while let Some((index, output)) = self.crowd.next() {
            self.results[index] = Some(output);
        }
        self.crowd
            .is_empty()
            .then(|| take_all(&mut self.results))
            .map_or(Poll::Pending, Poll::Ready)
    }
}

/// The future of [`try_join_all`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct TryJoinAll<F, T> {
    crowd: Crowd<F>,
    results: Vec<Option<T>>,
}

impl<F, T> Unpin for TryJoinAll<F, T> {}

impl<F: Future<Output = Result<T, E>>, T, E> Future for TryJoinAll<F, T> {
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        self.crowd.begin(task);
        while let Some((index, output)) = self.crowd.next() {
            match output {
                Ok(output) => self.results[index] = Some(output),
                Err(error) => {
                    self.crowd.clear();
                    return Poll::Ready(Err(error));
                }
            }
        }
        let done = self.crowd.is_empty();
        done.then(|| Ok(take_all(&mut self.results))).map_or(Poll::Pending, Poll::Ready)
    }
}

fn take_all<T>(results: &mut Vec<Option<T>>) -> Vec<T> {
    let all = std::mem::take(results).into_iter();
    all.map(|result| result.expect("every future has ended")).collect()
}

/// Many futures, each with a waker of its own.
#[derive(Debug)]
#[expect(clippy::type_complexity, reason = "a name would hide that the futures are pinned apart")]
pub(crate) struct Crowd<F> {
    /// `None` once they have ended.
    members: Vec<Option<(Pin<Box<F>>, Arc<Member>)>>,
    open: usize,
    shared: Arc<Shared>,
}

/// What all wakers of a crowd share.
#[derive(Debug, Default)]
struct Shared {
    woken: Mutex<Woken>,
}

#[derive(Debug, Default)]
struct Woken {
    /// Members to be polled, in the order in which they were woken.
    members: VecDeque<usize>,
    parent: Option<Waker>,
}

#[derive(Debug)]
struct Member {
    index: usize,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let parent = {
            let mut woken = self.shared.lock();
            if !self.queued.swap(true, Ordering::Relaxed) {
                woken.members.push_back(self.index);
            }
            woken.parent.clone()
        };
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

impl<F: Future> Crowd<F> {
    /// Each is polled once to begin with.
    pub(crate) fn new(futures: Vec<F>) -> Self {
        let shared = Arc::new(Shared::default());
        let member = |(index, future)| {
            let queued = AtomicBool::new(true);
            Some((Box::pin(future), Arc::new(Member { index, queued, shared: shared.clone() })))
        };
        let members: Vec<_> = futures.into_iter().enumerate().map(member).collect();
        shared.lock().members = (0..members.len()).collect();
        Self { open: members.len(), members, shared }
    }

    pub(crate) fn begin(&self, task: &Task<'_>) {
        let mut woken = self.shared.lock();
        if woken.parent.as_ref().is_none_or(|parent| !parent.will_wake(task.waker())) {
            woken.parent = Some(task.waker().clone());
        }
    }

    /// Polls members that were woken, until one ends.
    pub(crate) fn next(&mut self) -> Option<(usize, F::Output)> {
        loop {
            let index = self.shared.lock().members.pop_front()?;
            let Some((future, member)) = &mut self.members[index] else { continue };
            member.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(member));
            if let Poll::Ready(output) = future.as_mut().poll(&mut Task::from_waker(&waker)) {
                self.members[index] = None;
                self.open -= 1;
                return Some((index, output));
            }
        }
    }
}

impl<F> Crowd<F> {
    pub(crate) fn is_empty(&self) -> bool {
        self.open == 0
    }

    fn clear(&mut self) {
        self.members.clear();
    }
}

/// Waits for all of a tuple.
///
/// ```
/// # use everstep::{Activity, Context, Failure};
/// # const PACK: Activity<u32, bool> = Activity::new("Pack");
/// # const BILL: Activity<u32, String> = Activity::new("Bill");
/// async fn order(ctx: Context, number: u32) -> Result<String, Failure> {
///     let (packed, bill) = everstep::join((ctx.call(PACK, number), ctx.call(BILL, number))).await;
///     assert!(packed?);
///     bill
/// }
/// ```
pub fn join<J: Join>(futures: J) -> impl Future<Output = J::Output> + Send {
    futures.join()
}

/// Tuples of futures.
pub trait Join {
    /// The tuple of their results.
    type Output;
    /// Waits for all.
    fn join(self) -> impl Future<Output = Self::Output> + Send;
}

/// Writes `Join` for tuples.
macro_rules! join_tuple {
    ($($future:ident $value:ident),+) => {
        impl<$($future: Future<Output: Send> + Send),+> Join for ($($future,)+) {
            type Output = ($($future::Output,)+);

            async fn join(self) -> Self::Output {
                #[expect(non_snake_case, reason = "the names of the type parameters")]
                let ($($future,)+) = self;
                $(
                    let mut $value = (pin!($future), None);
                )+
                poll_fn(move |task| {
                    let mut all = true;
                    $(
                        if $value.1.is_none() {
                            match $value.0.as_mut().poll(task) {
                                Poll::Ready(output) => $value.1 = Some(output),
                                Poll::Pending => all = false,
                            }
                        }
                    )+
                    if !all {
                        return Poll::Pending;
                    }
                    Poll::Ready(($($value.1.take().expect("every future has ended"),)+))
                })
                .await
            }
        }
    };
}

join_tuple!(A a, B b);
join_tuple!(A a, B b, C c);
join_tuple!(A a, B b, C c, D d);
join_tuple!(A a, B b, C c, D d, E e);
join_tuple!(A a, B b, C c, D d, E e, F f);
