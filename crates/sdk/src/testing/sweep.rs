//! One scenario many times: with a crash at each commit, or in another order.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{Crash, Moment, Options, TestHub};
use crate::App;

/// What a sweep found to be the same in all runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept<T> {
    /// What the scenario gave, each time.
    pub result: T,
    /// How often it ran, the first run without any disturbance included.
    pub runs: u64,
}

/// One run went another way than the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}, the scenario gave\n  {found}\nand undisturbed\n  {expected}")]
pub struct Difference {
    /// Which run: the commit point with its number of all, or the seed.
    pub place: String,
    /// What the first run gave.
    pub expected: String,
    /// What this one gave, or what it panicked with.
    pub found: String,
}

/// Runs a scenario, and again for every commit that it made with a crash right before and right after that commit: all
/// memory is lost, and the hub goes on from what is durable. Every run must give the same.
///
/// A request of the scenario that a crash cuts off is made again, as a careful client does, and counts once. An activity
/// that ran when the crash came runs again, as in any durable system; what it does outside shows up if the scenario
/// returns it.
///
/// ```
/// use everstep::{ActivityContext, App, Context, Failure, activity, orchestrator, testing};
///
/// #[activity]
/// async fn double(_: ActivityContext, n: u32) -> Result<u32, Failure> {
///     Ok(n * 2)
/// }
///
/// #[orchestrator]
/// async fn quadruple(ctx: Context, n: u32) -> Result<u32, Failure> {
///     let twice = ctx.call(double, n).await?;
///     ctx.call(double, twice).await
/// }
///
/// let app = App::new("1").add(double).add(quadruple);
/// let swept = testing::crash_everywhere(&app, |hub| {
///     let run = hub.start(quadruple, 5)?;
///     hub.result(&run)
/// })?;
/// assert_eq!(swept.result, Ok(20));
/// # Ok::<(), testing::Difference>(())
/// ```
pub fn crash_everywhere<T: PartialEq + fmt::Debug>(
    app: &App,
    scenario: impl Fn(&mut TestHub) -> T,
) -> Result<Swept<T>, Difference> {
    crash_everywhere_with(app, &Options::default(), scenario)
}

/// The same with options: another order, another number of partitions, a runtime.
pub fn crash_everywhere_with<T: PartialEq + fmt::Debug>(
    app: &App,
    options: &Options,
    scenario: impl Fn(&mut TestHub) -> T,
) -> Result<Swept<T>, Difference> {
    let mut hub = TestHub::with_options(app.clone(), options.clone());
    let result = scenario(&mut hub);
    let commits = hub.commits();
    let mut runs = 1;
    for commit in 1..=commits {
        for moment in [Moment::Before, Moment::After] {
            let mut hub = TestHub::with_options(app.clone(), options.clone());
            hub.plan = Some(Crash { commit, moment });
            let place = || {
                let side = match moment {
                    Moment::Before => "before",
                    Moment::After => "after",
                };
                format!("after a crash right {side} commit {commit} of {commits}")
            };
            compare(&result, &scenario, &mut hub, place)?;
            runs += 1;
        }
    }
    Ok(Swept { result, runs })
}

/// Runs a scenario in the order of arrival, and again for each seed in an order drawn from it: activities end, messages
/// arrive and partitions take their turns in another order. Every run must give the same.
///
/// ```
/// use everstep::{ActivityContext, App, Context, Failure, activity, orchestrator, testing};
///
/// #[activity]
/// async fn double(_: ActivityContext, n: u32) -> Result<u32, Failure> {
///     Ok(n * 2)
/// }
///
/// /// Gives whichever answer comes first: another one in another order.
/// #[orchestrator]
/// async fn race(ctx: Context, _: ()) -> Result<u32, Failure> {
///     let (first, ..) = everstep::select_all((1..5).map(|n| ctx.call(double, n)).collect()).await;
///     first
/// }
///
/// let app = App::new("1").add(double).add(race);
/// let explored = testing::explore(&app, 0..50, |hub| {
///     let run = hub.start(race, ())?;
///     hub.result(&run)
/// });
/// assert!(explored.unwrap_err().place.contains("seed"));
/// ```
pub fn explore<T: PartialEq + fmt::Debug>(
    app: &App,
    seeds: impl IntoIterator<Item = u64>,
    scenario: impl Fn(&mut TestHub) -> T,
) -> Result<Swept<T>, Difference> {
    explore_with(app, &Options::default(), seeds, scenario)
}

/// The same with options; their seed is that of the first run.
pub fn explore_with<T: PartialEq + fmt::Debug>(
    app: &App,
    options: &Options,
    seeds: impl IntoIterator<Item = u64>,
    scenario: impl Fn(&mut TestHub) -> T,
) -> Result<Swept<T>, Difference> {
    let result = scenario(&mut TestHub::with_options(app.clone(), options.clone()));
    let mut runs = 1;
    for seed in seeds {
        let options = Options { seed: Some(seed), ..options.clone() };
        let mut hub = TestHub::with_options(app.clone(), options);
        compare(&result, &scenario, &mut hub, || format!("in the order of seed {seed}"))?;
        runs += 1;
    }
    Ok(Swept { result, runs })
}

fn compare<T: PartialEq + fmt::Debug>(
    expected: &T,
    scenario: &impl Fn(&mut TestHub) -> T,
    hub: &mut TestHub,
    place: impl Fn() -> String,
) -> Result<(), Difference> {
    let found = match catch_unwind(AssertUnwindSafe(|| scenario(hub))) {
        Ok(found) if found == *expected => return Ok(()),
        Ok(found) => format!("{found:?}"),
        Err(panic) => format!("a panic: {}", text_of(&*panic)),
    };
    Err(Difference { place: place(), expected: format!("{expected:?}"), found })
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "with a value that is not a text".to_owned())
}
