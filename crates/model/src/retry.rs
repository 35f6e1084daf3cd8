//! When to try again: one pure function for every SDK.

use std::time::Duration;

use crate::{Failure, Timestamp};

/// How often and when a failed call is made again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The wait before the second attempt.
    pub first_interval: Duration,
    /// All attempts, the first included; at least 1.
    pub max_attempts: u32,
    /// Each wait is this many times the one before.
    pub coefficient: f64,
    /// No wait is longer.
    pub max_interval: Option<Duration>,
    /// No attempt is begun this long after the first.
    pub timeout: Option<Duration>,
    /// Kinds of failure that are final.
    pub non_retriable: Vec<String>,
}

impl RetryPolicy {
    /// At most `max_attempts`, with the same wait between any two.
    pub fn fixed(interval: Duration, max_attempts: u32) -> Self {
        Self {
            first_interval: interval,
            max_attempts,
            coefficient: 1.0,
            max_interval: None,
            timeout: None,
            non_retriable: Vec::new(),
        }
    }

    /// At most `max_attempts`, each wait twice the one before.
    pub fn exponential(first_interval: Duration, max_attempts: u32) -> Self {
        Self { coefficient: 2.0, ..Self::fixed(first_interval, max_attempts) }
    }

    /// When the next attempt is due after `attempts` of them failed, the last with `failure` at `now`; `None` if that
    /// was the last. `began` is when the first attempt was made.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_model::{Failure, RetryPolicy, Timestamp};
    /// let policy = RetryPolicy::exponential(Duration::from_secs(1), 3);
    /// let (now, failure) = (Timestamp::EPOCH, Failure::new("Io", "connection refused"));
    /// assert_eq!(policy.next(1, now, now, &failure), Some(now.after(Duration::from_secs(1))));
    /// assert_eq!(policy.next(2, now, now, &failure), Some(now.after(Duration::from_secs(2))));
    /// assert_eq!(policy.next(3, now, now, &failure), None);
    /// ```
    pub fn next(
        &self,
        attempts: u32,
        began: Timestamp,
        now: Timestamp,
        failure: &Failure,
    ) -> Option<Timestamp> {
        let is_final = attempts >= self.max_attempts
            || failure.non_retriable
            || self.non_retriable.contains(&failure.kind)
            || self.timeout.is_some_and(|timeout| now.since(began) >= timeout);
        if is_final {
            return None;
        }
        let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first_interval.as_secs_f64() * self.coefficient.max(0.0).powi(exponent);
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Some(now.after(self.max_interval.map_or(wait, |max| wait.min(max))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::EPOCH;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let policy = RetryPolicy {
            max_interval: Some(Duration::from_secs(5)),
            ..RetryPolicy::exponential(Duration::from_secs(1), 9)
        };
        let failure = Failure::new("E", "e");
        let waits: Vec<_> = (1..=5)
            .map(|n| policy.next(n, T0, T0, &failure).unwrap().since(T0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn what_is_final_is_not_tried_again() {
        let policy = RetryPolicy {
            non_retriable: vec!["Final".into()],
            timeout: Some(Duration::from_secs(10)),
            ..RetryPolicy::fixed(Duration::from_secs(1), u32::MAX)
        };
        assert_eq!(policy.next(1, T0, T0, &Failure::new("Final", "")), None);
        assert_eq!(policy.next(1, T0, T0, &Failure::new("E", "").fatal()), None);
        assert_eq!(
            policy.next(1, T0, T0.after(Duration::from_secs(10)), &Failure::new("E", "")),
            None
        );
        assert!(
            policy.next(1, T0, T0.after(Duration::from_secs(9)), &Failure::new("E", "")).is_some()
        );
    }

    #[test]
    fn a_wait_beyond_all_bounds_is_the_end_of_time() {
        let policy = RetryPolicy {
            coefficient: 1e300,
            ..RetryPolicy::fixed(Duration::from_secs(1), u32::MAX)
        };
        assert_eq!(policy.next(40, T0, T0, &Failure::new("E", "")), Some(Timestamp::MAX));
    }
}
