//! When the service or the network fails for a moment.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, http::Response};
use everstep_storage::{
    account::Account,
    client::{Backoff, ClientOptions, Error, Queues},
};

use crate::setup::listen;

/// Statuses, each with a wish for `Retry-After` or none.
type Script = Vec<(u16, Option<&'static str>)>;

/// A service that answers by a script, and the request ids it saw.
async fn scripted(script: Script) -> (Queues, Arc<Mutex<Vec<String>>>) {
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let router = Router::new().fallback(move |request: Request| {
        let id = request.headers()["x-ms-client-request-id"].to_str().unwrap().to_owned();
        log.lock().unwrap().push(id);
        let (status, after) = script.lock().unwrap().pop_front().unwrap();
        let mut response = Response::builder().status(status);
        if let Some(after) = after {
            response = response.header("retry-after", after);
        }
        async move {
            response
                .body(Body::from(
                    "<Error><Code>ServerBusy</Code><Message>Busy.\nTime:1</Message></Error>",
                ))
                .unwrap()
        }
    });
    (connect(listen(router).await), seen)
}

fn connect(port: u16) -> Queues {
    let quick = Duration::from_millis(1);
    let backoff = Backoff { attempts: 3, first: quick, longest: quick };
    let options = ClientOptions { backoff, ..ClientOptions::default() };
    Queues::with_options(&Account::local(port, port), options).unwrap()
}

#[tokio::test]
async fn a_busy_service_is_asked_again_with_the_same_id() {
    let (queues, seen) = scripted(vec![(503, Some("0")), (500, None), (204, None)]).await;
    queues.delete_queue("orders").await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|id| *id == seen[0]));
}

#[tokio::test]
async fn a_service_that_stays_busy_is_told_with_its_wish() {
    let (queues, seen) = scripted(vec![(429, None), (503, None), (503, Some("7"))]).await;
    let error = queues.delete_queue("orders").await.unwrap_err();
    assert!(matches!(error, Error::Throttled { after: Some(wish), .. } if wish.as_secs() == 7));
    assert_eq!(
        error.to_string(),
        "deleting queue `orders`: the storage service is busy; try again later"
    );
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_will_not_change_is_not_asked_again() {
    let (queues, seen) = scripted(vec![(400, None)]).await;
    let error = queues.delete_queue("orders").await.unwrap_err();
    assert_eq!(error.to_string(), "deleting queue `orders`: Busy. (400 ServerBusy)");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn no_answer_is_told_without_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text =
        format!("QueueEndpoint=http://127.0.0.1:{port}/a;SharedAccessSignature=sv=1&sig=c2VjcmV0");
    let quick = Duration::from_millis(1);
    let backoff = Backoff { attempts: 2, first: quick, longest: quick };
    let options = ClientOptions { backoff, ..ClientOptions::default() };
    let queues = Queues::with_options(&Account::parse(&text).unwrap(), options).unwrap();
    let error = queues.delete_queue("orders").await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    let shown = format!("{error} {error:?}");
    assert!(shown.starts_with("deleting queue `orders`: no answer from 127.0.0.1: "), "{shown}");
    assert!(!shown.contains("c2Vj") && !shown.contains("sig="), "{shown}");
}
