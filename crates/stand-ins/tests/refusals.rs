//! What the stand-ins refuse, as the services do. Requests are made by hand: the clients do not make such mistakes.

use std::time::Duration;

use everstep_stand_ins::{
    files::Files,
    identity::Identity,
    logs::{Logs, RULE, WORKSPACE},
    tokens,
    tree::{Share, Tree},
};

const STORAGE: &str = "https://storage.azure.com";
const MONITOR: &str = "https://monitor.azure.com";
const HOUR: Duration = Duration::from_hours(1);

/// Status and text of an answer.
async fn sent(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.expect("the stand-in answers");
    format!("{} {}", answer.status().as_u16(), answer.text().await.expect("its text follows"))
}

fn get(url: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let request = reqwest::Client::new().get(url);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

#[tokio::test]
async fn a_file_request_needs_a_version_a_proof_and_with_a_token_an_intent() {
    let files = Files::start(Tree::new().share("s", Share::built().file("a.", "1"))).await;
    let shares = format!("{}/?comp=list", files.url());
    let listing = format!("{}/s?restype=directory&comp=list", files.url());
    let bearer = |audience: &str| format!("Bearer {}", tokens::mint(audience, HOUR));
    let (right, wrong) = (bearer(STORAGE), bearer(MONITOR));
    let old = format!("Bearer {}", tokens::mint(STORAGE, Duration::ZERO));
    let new = ("x-ms-version", "2024-11-04");
    let intent = ("x-ms-file-request-intent", "backup");
    let by = |token| ("authorization", token);
    let cases = [
        (&shares, vec![], "400 ", "MissingRequiredHeader"),
        (&shares, vec![new], "401 ", "NoAuthenticationInformation"),
        (&shares, vec![new, by("SharedKey standin:AAAA")], "403 ", "no valid date"),
        (&shares, vec![new, by("SharedKey other:AAAA")], "403 ", "not the one of this service"),
        (&shares, vec![new, by(&right)], "400 ", "x-ms-file-request-intent"),
        (&shares, vec![new, intent, by(&wrong)], "401 ", "audience"),
        (&shares, vec![new, intent, by(&old)], "401 ", "expired"),
        (&shares, vec![("x-ms-version", "2022-11-02"), intent, by(&right)], "403 ", "2024-11-04"),
        (
            &listing,
            vec![("x-ms-version", "2022-11-02"), intent, by(&right)],
            "200 ",
            "<Name>a.</Name>",
        ),
    ];
    for (url, headers, status, text) in cases {
        let answer = sent(get(url, &headers)).await;
        assert!(answer.starts_with(status) && answer.contains(text), "{headers:?}: {answer}");
    }
    // Without the header that allows it, the dot is dropped and the file is not found.
    let file = format!("{}/s/a.", files.url());
    let headers = [new, intent, by(right.as_str())];
    assert!(sent(get(&file, &headers)).await.starts_with("404 "));
    let dots = [new, intent, by(right.as_str()), ("x-ms-allow-trailing-dot", "true")];
    assert_eq!(sent(get(&file, &dots)).await, "200 1");
}

#[tokio::test]
async fn an_upload_needs_a_token_a_known_version_and_json() {
    let logs = Logs::start().await;
    let path = format!("{}/dataCollectionRules/{RULE}/streams/Custom-Code42Logs_CL", logs.url());
    let token = tokens::mint(MONITOR, HOUR);
    let post = |query: &str, kind: &str, body: &'static str| {
        let request = reqwest::Client::new().post(format!("{path}{query}")).bearer_auth(&token);
        request.header("content-type", kind).body(body)
    };
    let (version, json) = ("?api-version=2023-01-01", "application/json");
    let unsigned = reqwest::Client::new().post(format!("{path}{version}")).body("[]");
    let cases = [
        (unsigned, "401 ", "no token"),
        (post("", json, "[]"), "400 ", "InvalidApiVersion"),
        (post(version, "text/plain", "[]"), "415 ", "JSON"),
        (post(version, json, "{}"), "400 ", "no array"),
        (post(version, json, "[1]"), "400 ", "no object"),
        (post(version, json, "[{"), "400 ", "no JSON"),
        (post(version, json, "[]").header("content-encoding", "gzip"), "400 ", "no gzip"),
        (post(version, json, "[]").header("content-encoding", "br"), "415 ", "gzip"),
        (post(version, json, "[{\"a\":1}]"), "204 ", ""),
    ];
    for (request, status, text) in cases {
        let answer = sent(request).await;
        assert!(answer.starts_with(status) && answer.contains(text), "{answer}");
    }
    assert_eq!(logs.count("Code42Logs_CL"), 1);
    assert_eq!(
        sent(get(&format!("{}/tables", logs.url()), &[])).await,
        "200 {\"Code42Logs_CL\":1}"
    );
    let rows = |query: &str| get(&format!("{}/tables/Code42Logs_CL?{query}", logs.url()), &[]);
    assert!(sent(rows("a=1")).await.starts_with("200 [{\"TimeGenerated\""));
    assert_eq!(sent(rows("a=2")).await, "200 []");
}

#[tokio::test]
async fn a_post_to_the_collector_is_told_what_it_lacks() {
    let logs = Logs::start().await;
    let post = |query: &str| reqwest::Client::new().post(format!("{}/api/logs{query}", logs.url()));
    let version = "?api-version=2016-04-01";
    let other = format!("SharedKey {WORKSPACE}:AAAA");
    let cases = [
        (post(""), "400 ", "MissingApiVersion"),
        (post("?api-version=1"), "400 ", "InvalidApiVersion"),
        (post(version), "403 ", "InvalidAuthorization"),
        (
            post(version).header("authorization", "SharedKey other:AAAA"),
            "400 ",
            "InvalidCustomerId",
        ),
        (post(version).header("authorization", &other), "403 ", "InvalidAuthorization"),
    ];
    for (request, status, text) in cases {
        let answer = sent(request).await;
        assert!(answer.starts_with(status) && answer.contains(text), "{answer}");
    }
}

#[tokio::test]
async fn tokens_are_given_to_those_who_ask_as_the_platform_tells_them() {
    let identity = Identity::start().await;
    let settings = identity.settings();
    let (endpoint, header) = (&settings[0].1, settings[1].1.as_str());
    let query = "?api-version=2019-08-01&resource=https%3A%2F%2Fmonitor.azure.com";
    let right = ("x-identity-header", header);
    let cases = [
        (query, vec![], "400 "),
        (query, vec![("x-identity-header", "wrong")], "400 "),
        ("?api-version=2017-09-01&resource=x", vec![right], "400 "),
        ("?api-version=2019-08-01", vec![right], "400 "),
        (query, vec![right], "200 "),
    ];
    for (query, headers, status) in cases {
        let answer = sent(get(&format!("{endpoint}{query}"), &headers)).await;
        assert!(answer.starts_with(status), "{query} {headers:?}: {answer}");
    }
}
