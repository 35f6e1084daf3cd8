//! Links for function code.

use std::time::Duration;

use everstep_http::{Access, Base, Keys, OnFailure, Rpc};

use crate::support::{Bed, head, named};

#[tokio::test]
async fn links_are_of_the_host_that_was_asked() {
    let mut bed = Bed::new();
    for (uri, headers) in [
        ("http://site.test:7071/api/start?x=1", &[("host", "other.test")][..]),
        ("https://site.test/api", &[]),
        ("/api/start", &[("host", "site.test")]),
        ("/api/start", &[]),
        (
            "/api",
            &[
                ("host", "localhost:7071"),
                ("x-forwarded-host", "front.test"),
                ("x-forwarded-proto", "https"),
            ],
        ),
    ] {
        bed.note(&format!("{uri} {headers:?}"));
        let response = bed.api.check_status(&head(uri, headers), "a b@c", OnFailure::Ok);
        bed.answer(response).await;
    }
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn forwarded_hosts_count_when_that_is_wanted_and_both_headers_are_there() {
    let bed = Bed::with(|options| options.use_forwarded_host = true);
    let link = |uri: &str, headers: &[(&str, &str)]| {
        let payload = bed.api.management_payload(Some(&head(uri, headers)), "a");
        let link = payload["statusQueryGetUri"].as_str().expect("a link").to_owned();
        link.split("/runtime").next().expect("an origin").to_owned()
    };
    let host = ("x-forwarded-host", "front.test");
    let proto = ("x-forwarded-proto", "https");
    assert_eq!(link("http://in.test/api", &[host, proto]), "https://front.test");
    assert_eq!(link("http://in.test:7071/api", &[host, proto]), "https://front.test:7071");
    assert_eq!(
        link("http://in.test:7071/api", &[("x-forwarded-host", "front.test:443, b"), proto]),
        "https://front.test:443"
    );
    assert_eq!(link("http://in.test/api", &[host]), "http://in.test");
    assert_eq!(link("http://in.test/api", &[proto]), "http://in.test");
    let old = Bed::with(|options| {
        options.use_forwarded_host = true;
        options.compat = everstep_http::Compat::V2;
    });
    let payload = old.api.management_payload(Some(&head("http://in.test/", &[host, proto])), "a");
    assert!(payload["id"] == "a" && payload.to_string().contains("http://in.test/"));
}

#[tokio::test]
async fn a_failure_link_asks_for_its_code() {
    let mut bed = Bed::with(|options| options.connection.clear());
    let request = head("http://site.test/", &[]);
    let response = bed.api.check_status(&request, "a", OnFailure::InternalServerError);
    bed.answer(response).await;
    insta::assert_snapshot!(bed.transcript());
}

#[tokio::test]
async fn payloads_for_function_code_look_so() {
    let bed = Bed::with(|options| options.base = Base("https://site.test".to_owned()));
    let pretty = |value| serde_json::to_string_pretty(&value).expect("JSON");
    insta::assert_snapshot!(
        [pretty(bed.api.management_payload(None, "a")), pretty(bed.api.creation_payload(None))]
            .join("\n")
    );
}

#[tokio::test]
async fn bindings_look_so() {
    let bed = Bed::with(|options| options.base = Base("http://localhost:7071".to_owned()));
    let http = Rpc::Http("http://127.0.0.1:17071/durabletask/".to_owned());
    let grpc = Rpc::Grpc("http://localhost:4001".to_owned());
    insta::assert_snapshot!(
        [bed.api.client_binding(&http), bed.api.client_binding(&grpc)].join("\n")
    );
}

#[tokio::test]
async fn without_a_key_links_carry_none() {
    struct Open;
    impl Keys for Open {
        fn check(&self, _: Option<&str>) -> Access {
            Access::Granted
        }
        fn system_key(&self) -> Option<String> {
            None
        }
    }
    let bed = Bed::with(|options| options.keys = std::sync::Arc::new(Open));
    let texts = [
        bed.api.management_payload(None, "a").to_string(),
        bed.api.creation_payload(None).to_string(),
        bed.api.client_binding(&Rpc::Http("http://127.0.0.1:17071/durabletask/".to_owned())),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[tokio::test]
async fn function_code_waits_for_the_end_or_answers_with_links() {
    let mut bed = Bed::new();
    bed.start("Echo", "done", "{\"x\":  1}").await;
    bed.start("Fail", "failed", "1").await;
    bed.start("Wait", "running", "1").await;
    let second = Duration::from_secs(1);
    let plain = head("http://site.test/api", &[]);
    let strict =
        head("http://site.test/api?returnInternalServerErrorOnFailure=true&showInput=false", &[]);
    for (request, id, timeout, interval) in [
        (&plain, "done", None, None),
        (&plain, "failed", Some(second), Some(second)),
        (&strict, "failed", None, None),
        (&plain, "running", Some(Duration::ZERO), Some(Duration::ZERO)),
        (&strict, "running", Some(Duration::ZERO), Some(Duration::ZERO)),
        (&plain, "done", Some(second), Some(2 * second)),
        (&plain, "missing", None, None),
        (&plain, "a/b", None, None),
    ] {
        bed.note(&format!("{} {id} {timeout:?} {interval:?}", request.uri));
        let response =
            bed.api.wait_for_completion_or_check_status(request, id, timeout, interval).await;
        bed.answer(response).await;
    }
    insta::assert_snapshot!(bed.transcript());
    assert!(bed.client().get(&named("running")).await.is_ok());
}
