//! When timers run: schedules, time zones, and what is kept of a schedule between runs.
//!
//! C1  Nothing here reads the clock, waits or stores: the present is an argument, a [`Plan`] is the answer.
//! C2  An occurrence is an instant in UTC. Expressions are read in local time; [`Schedule`] says what happens where
//!     clocks are changed.
//! C3  Runs of one timer never overlap: a plan is made when a run has ended.
//!
//! Absent on purpose: the lock that keeps two hosts from running one timer, and where a status is stored. Both are the
//! host's. Start at [`Schedule::parse`], then [`Monitor`].

mod expression;
mod monitor;
mod schedule;
mod status;
mod zone;

pub use monitor::{Monitor, Plan, Reason, Timer, fired_at};
pub use schedule::Schedule;
pub use status::{NEVER, read_status, trigger_value, write_status};
pub use zone::Zone;

/// What can be wrong with a text about time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A schedule cannot be read; correct it where it is written.
    #[error(
        "The schedule expression was not recognized as a valid cron expression or timespan string. `{text}`: \
         {problem}. Write second, minute, hour, day, month and weekday, such as `0 */5 * * * *` for every five \
         minutes, or a span such as `00:05:00`"
    )]
    Schedule {
        /// What was written.
        text: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// A time zone is not known; correct the setting.
    #[error(
        "the setting `{key}` names the time zone `{name}`, which is not known; write a name such as `Europe/Berlin`, \
         `W. Europe Standard Time` or `UTC`"
    )]
    Zone {
        /// The setting.
        key: String,
        /// What it holds.
        name: String,
    },
    /// A stored status cannot be read; go on as if there were none.
    #[error(
        "the stored status of the schedule is not readable: {problem}; delete it, and the schedule starts afresh"
    )]
    Status {
        /// What is wrong.
        problem: String,
    },
}

/// The same instant for the calendar; `None` where the calendar ends.
fn calendar_instant(at: everstep_model::Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_nanosecond(i128::from(at.ticks()) * 100).ok()
}

/// The same instant in ticks.
fn timestamp(at: jiff::Timestamp) -> everstep_model::Timestamp {
    let ticks = at.as_nanosecond().div_euclid(100);
    everstep_model::Timestamp::from_ticks(
        i64::try_from(ticks).expect("the calendar ends before ticks do"),
    )
}
