//! Running a function again when it fails, as its retry policy says.

use std::time::Duration;

use everstep::Failure;
use everstep_functions::{config::binding::Bound, program::Answer};

use crate::{invoke::Call, site::Site};

/// Makes runs until one succeeds or the policy has no more. `call` is told how many there were before.
pub(super) async fn run(
    site: &Site,
    bound: &Bound,
    call: impl Fn(u32) -> Call,
) -> Result<Answer, Failure> {
    let mut retries = 0;
    loop {
        let failure = match site.invoker.run(call(retries)).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        retries += 1;
        match delay(site, bound, retries) {
            Some(delay) if !site.is_draining() => tokio::time::sleep(delay).await,
            Some(_) | None => return Err(failure),
        }
    }
}

/// How long to wait before a retry, counted from one; none if there is none.
fn delay(site: &Site, bound: &Bound, retry: u32) -> Option<Duration> {
    let policy = bound.retry.as_ref().or(site.config.retry.as_ref())?;
    policy.delay(retry, random())
}

/// Between 0 and 1, for the spread of retries.
fn random() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
