//! What a timer does when, decided from its schedule, the present and what was stored.
//!
//! M1  A status is kept so that counting from `last` (from `last_updated` where it never ran) gives `next`. One that
//!     does not belongs to another schedule: it is replaced, and nothing of it is past due.
//! M2  Past due goes before running on start, and both before waiting.
//! M3  A timer that fires early counts from the time it was due, so no occurrence runs twice. One that fires late, or
//!     whose run before took long, runs once for all that passed.
//! M4  A schedule due more often than once in a minute is not monitored, whatever its settings say.

use everstep_model::Timestamp;

use super::{
    NEVER, Schedule, Zone,
    status::{Digits, print},
};
use crate::program::{ScheduleStatus, TimerEvent};

/// A timer as its binding describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Timer {
    /// When it is due.
    pub schedule: Schedule,
    /// The zone that the schedule is read in.
    pub zone: Zone,
    /// Whether its status is to be kept.
    pub use_monitor: bool,
    /// Whether it runs as soon as the host does.
    pub run_on_startup: bool,
}

/// What comes next. Whoever gets it stores `keep`, runs at once or waits, and tells [`Monitor::ran`] afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Why to run before anything is due.
    pub run_now: Option<Reason>,
    /// When to run by the schedule; a time that has passed means at once. `None` if that never comes.
    pub next: Option<Timestamp>,
    /// The status to store.
    pub keep: Option<ScheduleStatus>,
}

/// Why a timer's function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is time.
    Scheduled,
    /// The time passed while nobody was there.
    PastDue {
        /// When it was due.
        scheduled: Timestamp,
    },
    /// The host started.
    RunOnStartup,
}

impl Reason {
    /// The details that the log has of a run outside the schedule.
    pub fn details(self, zone: &Zone) -> Option<String> {
        match self {
            Self::Scheduled => None,
            Self::PastDue { scheduled } => Some(format!(
                "UnscheduledInvocationReason: IsPastDue, OriginalSchedule: {}",
                print(scheduled, zone, Digits::Seven)
            )),
            Self::RunOnStartup => Some("UnscheduledInvocationReason: RunOnStartup".to_owned()),
        }
    }
}

/// The reason that the log gives for every run of a timer.
pub fn fired_at(started: Timestamp, zone: &Zone) -> String {
    format!("Timer fired at {}", print(started, zone, Digits::Seven))
}

/// One timer between start and stop of its host.
#[derive(Debug, Clone)]
pub struct Monitor {
    timer: Timer,
    is_monitored: bool,
    status: ScheduleStatus,
}

impl Monitor {
    /// Takes a timer up. `stored` is the status that was kept, if any.
    pub fn start(timer: Timer, now: Timestamp, stored: Option<ScheduleStatus>) -> (Self, Plan) {
        let is_monitored = timer.use_monitor && !timer.schedule.is_frequent(now, &timer.zone);
        let stored = stored.filter(|_| is_monitored);
        let status = stored
            .filter(|status| is_of_schedule(&timer, now, status))
            .unwrap_or_else(|| first_status(&timer, now, stored));
        let changed = (stored != Some(status)).then_some(status);
        let run_now = if now > status.next {
            Some(Reason::PastDue { scheduled: status.next })
        } else {
            timer.run_on_startup.then_some(Reason::RunOnStartup)
        };
        let monitor = Self { timer, is_monitored, status };
        let keep = changed.filter(|_| is_monitored);
        let plan = Plan { run_now, next: monitor.next(), keep };
        (monitor, plan)
    }

    /// Whether the status is kept.
    pub fn is_monitored(&self) -> bool {
        self.is_monitored
    }

    /// What the function is told when it runs.
    pub fn event(&self, reason: Reason) -> TimerEvent {
        TimerEvent {
            is_past_due: matches!(reason, Reason::PastDue { .. }),
            adjust_for_dst: self.timer.schedule.adjusts_for_dst(),
            status: self.is_monitored.then_some(self.status),
        }
    }

    /// A run that began at `started` has ended, well or not.
    pub fn ran(&mut self, reason: Reason, started: Timestamp) -> Plan {
        let schedule = &self.timer.schedule;
        let last = match reason {
            Reason::RunOnStartup => started,
            Reason::Scheduled | Reason::PastDue { .. } => schedule.beat(self.status.next, started),
        };
        self.status =
            ScheduleStatus { last, next: next_or_max(&self.timer, last), last_updated: started };
        let keep = self.is_monitored.then_some(self.status);
        Plan { run_now: None, next: self.next(), keep }
    }

    fn next(&self) -> Option<Timestamp> {
        Some(self.status.next).filter(|next| *next != Timestamp::MAX)
    }
}

/// Whether a status was made by this schedule.
fn is_of_schedule(timer: &Timer, now: Timestamp, status: &ScheduleStatus) -> bool {
    status.next == next_or_max(timer, counted_from(now, status))
}

/// The time that a status counts from.
fn counted_from(now: Timestamp, status: &ScheduleStatus) -> Timestamp {
    [status.last, status.last_updated].into_iter().find(|at| *at > NEVER).unwrap_or(now)
}

/// The status of a schedule that has not run. One that replaces another counts from where that did, unless something
/// would be past due that nobody was told of.
fn first_status(timer: &Timer, now: Timestamp, replaced: Option<ScheduleStatus>) -> ScheduleStatus {
    let from = replaced.map_or(now, |status| counted_from(now, &status));
    let from = if next_or_max(timer, from) < now { now } else { from };
    ScheduleStatus { last: NEVER, next: next_or_max(timer, from), last_updated: from }
}

fn next_or_max(timer: &Timer, after: Timestamp) -> Timestamp {
    timer.schedule.next_after(after, &timer.zone).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cron::{read_status, write_status};

    fn at(text: &str) -> Timestamp {
        let json = format!(r#"{{"Last":"2026-03-02T{text}Z"}}"#);
        read_status(&json, &Zone::UTC).expect("readable").expect("a status").last
    }

    fn timer(schedule: &str) -> Timer {
        let schedule = Schedule::parse(schedule).expect("a schedule");
        Timer { schedule, zone: Zone::UTC, use_monitor: true, run_on_startup: false }
    }

    fn status(last: &str, next: &str) -> ScheduleStatus {
        ScheduleStatus { last: at(last), next: at(next), last_updated: at(last) }
    }

    fn plan(schedule: &str, now: &str, stored: Option<ScheduleStatus>) -> Plan {
        Monitor::start(timer(schedule), at(now), stored).1
    }

    const HOURLY: &str = "0 0 * * * *";

    #[test]
    fn a_timer_without_status_waits_and_keeps_when_it_is_due() {
        let plan = plan(HOURLY, "10:15:00", None);
        let kept =
            ScheduleStatus { last: NEVER, next: at("11:00:00"), last_updated: at("10:15:00") };
        assert_eq!(plan, Plan { run_now: None, next: Some(at("11:00:00")), keep: Some(kept) });
    }

    #[test]
    fn a_missed_time_runs_once_at_the_start_and_then_the_schedule_goes_on() {
        let stored = status("07:00:00", "08:00:00");
        let (mut monitor, plan) = Monitor::start(timer(HOURLY), at("10:15:00"), Some(stored));
        let reason = Reason::PastDue { scheduled: at("08:00:00") };
        assert_eq!(plan, Plan { run_now: Some(reason), next: Some(at("08:00:00")), keep: None });
        assert!(monitor.event(reason).is_past_due);
        assert_eq!(monitor.event(reason).status, Some(stored));
        let plan = monitor.ran(reason, at("10:15:01"));
        let kept = status("10:15:01", "11:00:00");
        assert_eq!(plan, Plan { run_now: None, next: Some(kept.next), keep: Some(kept) });
    }

    #[test]
    fn past_due_goes_before_running_on_start() {
        let timer = Timer { run_on_startup: true, ..timer(HOURLY) };
        let start = |now| {
            let stored = Some(status("07:00:00", "08:00:00"));
            Monitor::start(timer.clone(), at(now), stored).1.run_now
        };
        assert_eq!(start("08:00:01"), Some(Reason::PastDue { scheduled: at("08:00:00") }));
        assert_eq!(start("07:59:59"), Some(Reason::RunOnStartup));
    }

    #[test]
    fn a_time_that_comes_as_the_host_starts_is_not_past_due() {
        let plan = plan(HOURLY, "08:00:00", Some(status("07:00:00", "08:00:00")));
        assert_eq!(plan, Plan { run_now: None, next: Some(at("08:00:00")), keep: None });
    }

    #[test]
    fn a_changed_schedule_starts_afresh_and_is_not_past_due() {
        let of_another = Some(status("07:00:00", "07:30:00"));
        let kept =
            ScheduleStatus { last: NEVER, next: at("11:00:00"), last_updated: at("10:15:00") };
        assert_eq!(
            plan(HOURLY, "10:15:00", of_another),
            Plan { run_now: None, next: Some(kept.next), keep: Some(kept) }
        );
        let kept =
            ScheduleStatus { last: NEVER, next: at("08:00:00"), last_updated: at("07:00:00") };
        assert_eq!(
            plan(HOURLY, "07:45:00", of_another),
            Plan { run_now: None, next: Some(kept.next), keep: Some(kept) }
        );
    }

    #[test]
    fn a_timer_that_fires_early_does_not_run_for_the_same_time_twice() {
        let (mut monitor, _) = Monitor::start(timer(HOURLY), at("10:15:00"), None);
        let plan = monitor.ran(Reason::Scheduled, at("10:59:59.99"));
        assert_eq!(plan.next, Some(at("12:00:00")));
        assert_eq!(plan.keep.map(|status| status.last), Some(at("11:00:00")));
    }

    #[test]
    fn what_passes_during_a_long_run_is_made_up_for_once() {
        let (mut monitor, _) = Monitor::start(timer("0 */5 * * * *"), at("10:01:00"), None);
        assert_eq!(monitor.ran(Reason::Scheduled, at("10:05:00")).next, Some(at("10:10:00")));
        let after_it = monitor.ran(Reason::Scheduled, at("10:23:00"));
        assert_eq!(after_it.next, Some(at("10:25:00")));
    }

    #[test]
    fn an_interval_keeps_its_beat_and_skips_what_has_passed() {
        let (mut monitor, plan) = Monitor::start(timer("00:10:00"), at("10:01:00"), None);
        assert_eq!(plan.next, Some(at("10:11:00")));
        assert!(!monitor.event(Reason::Scheduled).adjust_for_dst);
        assert_eq!(monitor.ran(Reason::Scheduled, at("10:11:03")).next, Some(at("10:21:00")));
        let plan = monitor.ran(Reason::Scheduled, at("10:45:00"));
        assert_eq!(plan.next, Some(at("10:51:00")));
        let (_, restarted) = Monitor::start(timer("00:10:00"), at("10:52:00"), plan.keep);
        assert_eq!(restarted.run_now, Some(Reason::PastDue { scheduled: at("10:51:00") }));
    }

    #[test]
    fn a_status_that_was_kept_is_recognized_after_each_kind_of_run() {
        for schedule in [HOURLY, "0 */7 * * *", "00:07:30", "0 0 30 2 *"] {
            for reason in [Reason::Scheduled, Reason::RunOnStartup] {
                for started in ["10:16:00.5", "13:00:00", "13:00:00.0000001"] {
                    let (mut monitor, _) = Monitor::start(timer(schedule), at("10:15:00"), None);
                    let kept = monitor.ran(reason, at(started)).keep.expect("monitored");
                    let text = write_status(&kept, &Zone::UTC);
                    let stored = read_status(&text, &Zone::UTC).expect("readable");
                    let (_, plan) = Monitor::start(timer(schedule), at(started), stored);
                    assert_eq!((plan.keep, plan.run_now), (None, None), "{schedule} {started}");
                }
            }
        }
    }

    #[test]
    fn frequent_schedules_are_not_monitored() {
        let is_monitored =
            |schedule| Monitor::start(timer(schedule), at("10:00:00"), None).0.is_monitored();
        assert!(is_monitored("* * * * *"));
        assert!(is_monitored("00:01:00"));
        assert!(!is_monitored("*/30 * * * * *"));
        assert!(!is_monitored("00:00:59"));
        let off = Timer { use_monitor: false, ..timer(HOURLY) };
        let stored = Some(status("07:00:00", "08:00:00"));
        let (monitor, plan) = Monitor::start(off, at("10:15:00"), stored);
        assert_eq!(plan, Plan { run_now: None, next: Some(at("11:00:00")), keep: None });
        assert_eq!(monitor.event(Reason::Scheduled).status, None);
    }

    #[test]
    fn a_schedule_that_never_comes_has_no_next_time() {
        assert_eq!(plan("0 0 30 2 *", "10:00:00", None).next, None);
    }

    #[test]
    fn the_log_tells_runs_outside_the_schedule() {
        let zone = Zone::named("America/New_York").expect("known");
        let past = Reason::PastDue { scheduled: at("10:15:00.5") };
        assert_eq!(
            past.details(&zone).as_deref(),
            Some(
                "UnscheduledInvocationReason: IsPastDue, OriginalSchedule: 2026-03-02T05:15:00.5000000-05:00"
            )
        );
        assert_eq!(
            Reason::RunOnStartup.details(&zone).as_deref(),
            Some("UnscheduledInvocationReason: RunOnStartup")
        );
        assert_eq!(Reason::Scheduled.details(&zone), None);
        assert_eq!(
            fired_at(at("10:15:00"), &zone),
            "Timer fired at 2026-03-02T05:15:00.0000000-05:00"
        );
    }
}
