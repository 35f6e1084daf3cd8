//! Durable HTTP, with a host's answers made up.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use everstep::{
    Activity, App, Context, Failure, HTTP_ACTIVITY, HttpRequest, HttpResponse, RetryPolicy,
    orchestrator, testing::TestHub,
};

const HTTP: Activity<(HttpRequest,), HttpResponse> = Activity::new(HTTP_ACTIVITY);

#[orchestrator]
async fn fetch(ctx: Context, request: HttpRequest) -> Result<(u16, u64), Failure> {
    let began = ctx.now();
    let response = ctx.call_http(request).await?;
    Ok((response.status_code, ctx.now().since(began).as_secs()))
}

#[orchestrator]
async fn insist(ctx: Context, statuses: Vec<u16>) -> Result<u16, Failure> {
    let policy = RetryPolicy::fixed(Duration::from_secs(1), 3);
    let request = HttpRequest::new("GET", "http://localhost/flaky").retry(policy, statuses);
    Ok(ctx.call_http(request).await?.status_code)
}

fn response(status: u16, headers: &[(&str, &str)]) -> HttpResponse {
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HttpResponse { status_code: status, headers, content: None }
}

/// Accepts, is not done after what it said to wait, is done after the usual time.
fn slow_service(request: &HttpRequest, asked: usize) -> HttpResponse {
    match (request.uri.as_str(), asked) {
        ("http://localhost/work", 0) => {
            response(202, &[("location", "http://localhost/status"), ("retry-after", "5")])
        }
        ("http://localhost/status", 1) => response(202, &[("Location", "http://localhost/status")]),
        ("http://localhost/status", 2) => response(200, &[]),
        other => panic!("nobody asks for {other:?}"),
    }
}

fn hub() -> TestHub {
    TestHub::new(App::new("1.0").add(fetch).add(insist))
}

#[test]
fn an_accepted_request_is_asked_about_until_it_is_done() {
    let mut hub = hub();
    let asked = AtomicUsize::new(0);
    let calls = hub.mock(HTTP, move |(request,)| {
        Ok(slow_service(&request, asked.fetch_add(1, Ordering::Relaxed)))
    });
    let run = hub.start(fetch, HttpRequest::new("POST", "http://localhost/work")).unwrap();
    assert_eq!(hub.result(&run).unwrap(), (200, 35));
    assert_eq!(calls.count(), 3);
}

#[test]
fn an_accepted_request_is_the_answer_for_who_does_not_wait() {
    let mut hub = hub();
    hub.mock(HTTP, |(request,)| Ok(slow_service(&request, 0)));
    let request = HttpRequest::new("POST", "http://localhost/work").no_wait();
    let run = hub.start(fetch, request).unwrap();
    assert_eq!(hub.result(&run).unwrap(), (202, 0));
}

#[test]
fn what_the_host_reports_as_failed_is_tried_again() {
    let mut hub = hub();
    let asked = AtomicUsize::new(0);
    let calls = hub.mock(HTTP, move |(request,)| {
        assert_eq!(request.retry_options.unwrap().status_codes_to_retry, [503]);
        match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Failure::new("HttpRequestException", "503")),
            _ => Ok(response(200, &[])),
        }
    });
    let run = hub.start(insist, vec![503]).unwrap();
    assert_eq!(hub.result(&run).unwrap(), 200);
    assert_eq!(calls.count(), 2);
}
