//! So many a second, on average.
//!
//! P1  A bucket fills evenly and holds a tenth of a second's worth, one at least: after a pause there is no flood.
//! P2  The present is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// What a bucket holds at most.
const HELD: Duration = Duration::from_millis(100);

/// A bucket of tokens.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two tokens.
    interval: Duration,
    /// When the bucket would be full.
    full: Option<Instant>,
}

impl Pace {
    /// One token each interval.
    pub fn new(interval: Duration) -> Self {
        Self { interval, full: None }
    }

    /// Takes a token, or says when there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full = self.full.map_or(now, |full| full.max(now));
        let ahead = HELD.saturating_sub(self.interval);
        if full > now + ahead {
            return Err(full - ahead);
        }
        self.full = Some(full + self.interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens there are in a time that begins now.
    fn taken(pace: &mut Pace, mut now: Instant, time: Duration) -> u32 {
        let end = now + time;
        let mut count = 0;
        while now < end {
            match pace.take(now) {
                Ok(()) => count += 1,
                Err(later) => now = later,
            }
        }
        count
    }

    #[test]
    fn a_second_has_as_many_as_were_said() {
        let now = Instant::now();
        for rate in [1_u32, 2, 7, 100, 5_000] {
            let mut pace = Pace::new(Duration::from_secs(1) / rate);
            taken(&mut pace, now, Duration::from_secs(1));
            let second = taken(&mut pace, now + Duration::from_secs(1), Duration::from_secs(1));
            assert!(second.abs_diff(rate) <= 1, "{second} of {rate}");
        }
    }

    #[test]
    fn less_than_one_a_second_is_a_pace_too() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(4));
        assert_eq!(pace.take(now), Ok(()));
        assert_eq!(pace.take(now), Err(now + Duration::from_secs(4)));
        assert_eq!(pace.take(now + Duration::from_secs(4)), Ok(()));
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(10));
        assert_eq!(pace.take(now), Ok(()));
        let later = now + Duration::from_hours(1);
        let at_once = std::iter::from_fn(|| pace.take(later).ok()).count();
        assert_eq!(at_once, 10);
    }
}
