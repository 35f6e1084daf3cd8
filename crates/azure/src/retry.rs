//! Repeats of a call that failed for a moment.
//!
//! R1  Only what the error calls worth it is repeated.
//! R2  A wait is never shorter than what the service asked for. Who is asked to wait longer than the policy allows gets the
//!     error at once, with the time in it.
//! R3  Waits double up to a cap, and each is drawn between half and all of its length, so that many callers spread.

use std::{fmt, time::Duration};

/// What an error says about trying again.
pub trait Passing {
    /// Whether the same call may succeed a moment later.
    fn is_worth_retrying(&self) -> bool;

    /// How long the service wants to be left alone, if it said so.
    fn retry_after(&self) -> Option<Duration>;
}

/// When to give up and how long to wait in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often a call is made at most; at least once.
    pub attempts: u32,
    /// The first wait.
    pub first: Duration,
    /// The longest wait of our own.
    pub longest: Duration,
    /// The longest wait that a service may ask for.
    pub longest_asked: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first: Duration::from_secs(1),
            longest: Duration::from_mins(1),
            longest_asked: Duration::from_mins(5),
        }
    }
}

impl Policy {
    /// One attempt and no wait.
    pub const ONCE: Self = Self {
        attempts: 1,
        first: Duration::ZERO,
        longest: Duration::ZERO,
        longest_asked: Duration::ZERO,
    };

    /// How long to wait after the attempt of that number, counted from zero. `None`: give up.
    pub fn wait(&self, attempt: u32, error: &(impl Passing + ?Sized)) -> Option<Duration> {
        let [draw] = random();
        self.drawn_wait(attempt, error, draw)
    }

    fn drawn_wait(
        &self,
        attempt: u32,
        error: &(impl Passing + ?Sized),
        draw: u8,
    ) -> Option<Duration> {
        if !error.is_worth_retrying() || attempt.saturating_add(1) >= self.attempts {
            return None;
        }
        let full = self.first.saturating_mul(1 << attempt.min(20)).min(self.longest);
        let drawn = full / 2 + full / 2 * u32::from(draw) / 255;
        match error.retry_after() {
            None => Some(drawn),
            Some(asked) => (asked <= self.longest_asked).then(|| asked.max(drawn)),
        }
    }
}

/// Calls until it succeeds or the policy ends; the last error comes back.
pub async fn retry<T, E, F>(policy: &Policy, mut call: impl FnMut() -> F) -> Result<T, E>
where
    E: Passing + fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut attempt = 0;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(wait) = policy.wait(attempt, &error) else { return Err(error) };
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Trouble {
        #[error("for a moment")]
        Passing(Option<Duration>),
        #[error("for ever")]
        Lasting,
    }

    impl Passing for Trouble {
        fn is_worth_retrying(&self) -> bool {
            matches!(self, Self::Passing(_))
        }

        fn retry_after(&self) -> Option<Duration> {
            match self {
                Self::Passing(asked) => *asked,
                Self::Lasting => None,
            }
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_respect_what_the_service_asks_for() {
        let policy = Policy { attempts: 100, ..Policy::default() };
        let wait = |attempt, asked: Option<u64>, draw| {
            let error = Trouble::Passing(asked.map(Duration::from_secs));
            policy.drawn_wait(attempt, &error, draw).map(|wait| wait.as_millis())
        };
        assert_eq!((wait(0, None, 0), wait(0, None, 255)), (Some(500), Some(1_000)));
        assert_eq!((wait(3, None, 0), wait(3, None, 255)), (Some(4_000), Some(8_000)));
        assert_eq!(wait(60, None, 255), Some(60_000));
        assert_eq!(wait(0, Some(7), 0), Some(7_000));
        assert_eq!(wait(0, Some(90), 0), Some(90_000));
        assert_eq!(wait(0, Some(301), 0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_until_it_succeeds() {
        let mut calls = 0;
        let policy = Policy::default();
        let done = retry(&policy, || {
            calls += 1;
            std::future::ready(if calls < 4 { Err(Trouble::Passing(None)) } else { Ok(calls) })
        });
        assert_eq!(done.await, Ok(4));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_comes_back_and_a_lasting_one_at_once() {
        let mut calls = 0;
        let done: Result<(), _> = retry(&Policy::default(), || {
            calls += 1;
            std::future::ready(Err(Trouble::Passing(None)))
        })
        .await;
        assert_eq!((done, calls), (Err(Trouble::Passing(None)), 5));
        let mut calls = 0;
        let done: Result<(), _> = retry(&Policy::default(), || {
            calls += 1;
            std::future::ready(Err(Trouble::Lasting))
        })
        .await;
        assert_eq!((done, calls), (Err(Trouble::Lasting), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_policy_is_the_callers_to_make() {
        let asked = Trouble::Passing(Some(Duration::from_hours(1)));
        let started = tokio::time::Instant::now();
        let mut answers = vec![asked];
        let done: Result<(), _> = retry(&Policy::default(), || {
            std::future::ready(Err(answers.pop().expect("it is asked once")))
        })
        .await;
        assert_eq!(done, Err(Trouble::Passing(Some(Duration::from_hours(1)))));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
