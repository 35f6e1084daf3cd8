//! Failures on demand.
//!
//! A rule says which requests it concerns, how many of those it lets pass first, how often it strikes, and what happens. The
//! first rule that strikes decides.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused and nothing is done.
    Refuse {
        /// The status of the answer.
        status: u16,
        /// The code in the answer.
        code: String,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// The connection ends without an answer, and nothing is done.
    Cut,
    /// It is done, and then the connection ends without an answer.
    LoseAnswer,
    /// It is done, and the answer's body breaks off after so many bytes.
    BreakBody(u64),
    /// It is done after a while.
    Delay(Duration),
}

impl Fault {
    /// Refused with a status and a code.
    pub fn refuse(status: u16, code: &str) -> Self {
        Self::Refuse { status, code: code.to_owned(), retry_after: None }
    }

    /// 503 `ServerBusy`, with a wait in seconds.
    pub fn busy(retry_after: u64) -> Self {
        Self::Refuse { status: 503, code: "ServerBusy".to_owned(), retry_after: Some(retry_after) }
    }

    /// 429 with a wait in seconds.
    pub fn throttle(retry_after: u64) -> Self {
        let code = "TooManyRequests".to_owned();
        Self::Refuse { status: 429, code, retry_after: Some(retry_after) }
    }
}

/// A fault and the requests that it strikes.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    on: String,
    after: u64,
    every: u64,
    left: Option<u64>,
    seen: u64,
}

impl Rule {
    /// Strikes the next request, once.
    pub fn new(fault: Fault) -> Self {
        Self { fault, on: String::new(), after: 0, every: 1, left: Some(1), seen: 0 }
    }

    /// Only requests whose description has this text in it: `Operation METHOD path?query`, as it was sent.
    #[must_use]
    pub fn on(mut self, text: &str) -> Self {
        text.clone_into(&mut self.on);
        self
    }

    /// Lets so many of those pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// Strikes each so-manieth of them only.
    #[must_use]
    pub fn every(mut self, nth: u64) -> Self {
        self.every = nth.max(1);
        self
    }

    /// Strikes so often and no more.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.left = Some(times);
        self
    }

    /// Strikes until it is taken away.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.left = None;
        self
    }

    fn strikes(&mut self, description: &str) -> bool {
        if self.left == Some(0) || !description.contains(&self.on) {
            return false;
        }
        self.seen += 1;
        let strikes = self.seen > self.after && (self.seen - self.after).is_multiple_of(self.every);
        if strikes && let Some(left) = &mut self.left {
            *left -= 1;
        }
        strikes
    }
}

/// The rules of one stand-in, and how slow it is. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    latency: Duration,
}

impl Faults {
    /// Adds a rule.
    pub fn add(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Takes all rules away; what is slow stays slow.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// Lets each request wait so long before it is done.
    pub fn latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// How long to wait, and what happens then.
    pub(crate) fn next(&self, description: &str) -> (Duration, Option<Fault>) {
        let mut state = self.state();
        let latency = state.latency;
        let rule = state.rules.iter_mut().find_map(|rule| {
            let strikes = rule.strikes(description);
            strikes.then(|| rule.fault.clone())
        });
        match rule {
            Some(Fault::Delay(delay)) => (latency + delay, None),
            fault => (latency, fault),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_what_they_concern_as_often_as_they_say() {
        let faults = Faults::default();
        faults.add(Rule::new(Fault::Cut).on("GET").after(1).times(2));
        faults.add(Rule::new(Fault::busy(1)).every(3).always());
        let strike = |text: &str| match faults.next(text).1 {
            None => '.',
            Some(Fault::Cut) => 'c',
            Some(_) => 'b',
        };
        let requests = ["GET", "GET", "PUT", "GET", "GET", "GET", "GET", "GET"];
        // The second rule sees only what the first lets pass.
        assert_eq!(requests.map(strike).iter().collect::<String>(), ".c.cb..b");
        faults.clear();
        assert_eq!(strike("GET"), '.');
    }
}
