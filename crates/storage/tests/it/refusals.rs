//! What the service refuses, in the words of the real one. Requests are signed here by a construction of their own.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use everstep_storage::{
    account::{Account, EMULATOR_ACCOUNT, EMULATOR_KEY, Kind},
    client::{Blobs, ClientOptions, Error, ListBlobs, PutBlob, PutMessage, Queues},
    service::Service,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use reqwest::{Client, Response};
use sha2::Sha256;
use tempfile::TempDir;

use crate::setup::{Hand, embedded, listen, serve};

/// Names and values of a query, or of headers.
type Pairs<'a> = &'a [(&'a str, &'a str)];

const DATE: &str = "Sat, 21 Nov 2026 01:21:48 GMT";

fn sign(text: &str) -> String {
    let key = BASE64_STANDARD.decode(EMULATOR_KEY).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// The service under a clock that stands at [`DATE`].
struct Served {
    service: Service,
    port: u16,
    _folder: TempDir,
}

async fn served(kind: Kind) -> Served {
    let (service, folder) = embedded(Hand::new().options());
    service.queues().create("orders").await.unwrap();
    service.blobs().create_container("orders").await.unwrap();
    let port = listen(service.router(kind)).await;
    Served { service, port, _folder: folder }
}

impl Served {
    /// Sends a request with a signature over `headers` in their order, the path, and `query` as signed lines.
    async fn signed(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut lines = vec![method.to_string(), String::new(), String::new()];
        lines.push(if body.is_empty() { String::new() } else { body.len().to_string() });
        lines.extend(std::iter::repeat_n(String::new(), 8));
        let mut headers = headers.to_vec();
        headers.extend([("x-ms-date", DATE), ("x-ms-version", "2021-12-02")]);
        headers.sort_unstable();
        lines.extend(headers.iter().map(|(name, value)| format!("{name}:{value}")));
        lines.push(format!("/{EMULATOR_ACCOUNT}/{EMULATOR_ACCOUNT}{path}"));
        let mut sorted = query.to_vec();
        sorted.sort_unstable();
        lines.extend(sorted.iter().map(|(name, value)| format!("{name}:{value}")));
        let authorization = format!("SharedKey {EMULATOR_ACCOUNT}:{}", sign(&lines.join("\n")));
        headers.push(("authorization", &authorization));
        self.send(method, path, query, &headers, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let address = format!("http://127.0.0.1:{}/{EMULATOR_ACCOUNT}{path}", self.port);
        let mut url = reqwest::Url::parse(&address).unwrap();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Client::new().request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

/// Status and code, which header and document have to agree on.
async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-ms-request-id"));
    assert!(response.headers().contains_key("date"));
    let code = response.headers()["x-ms-error-code"].to_str().unwrap().to_owned();
    let body = response.text().await.unwrap();
    let start = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error>";
    assert!(body.starts_with(&format!("{start}<Code>{code}</Code><Message>")), "{body}");
    assert!(
        body.contains("\nRequestId:") && body.contains("\nTime:2026-11-21T01:21:48.0000000Z"),
        "{body}"
    );
    (status, code)
}

async fn refused(response: Response, status: u16, code: &str) {
    assert_eq!(refusal(response).await, (status, code.to_owned()));
}

#[tokio::test]
async fn queue_requests_are_refused_in_the_words_of_the_real_service() {
    let served = served(Kind::Queue).await;
    let envelope =
        |text: &str| format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
    let (long, good) = (envelope(&"x".repeat(65_537)), envelope("x"));
    let cases: [(Method, &str, Pairs, &str, u16, &str); 18] = [
        (Method::GET, "/none/messages", &[], "", 404, "QueueNotFound"),
        (Method::PUT, "/Orders", &[], "", 400, "InvalidResourceName"),
        (Method::PUT, "/or", &[], "", 400, "OutOfRangeInput"),
        (
            Method::GET,
            "/orders/messages",
            &[("numofmessages", "33")],
            "",
            400,
            "OutOfRangeQueryParameterValue",
        ),
        (
            Method::GET,
            "/orders/messages",
            &[("numofmessages", "many")],
            "",
            400,
            "InvalidQueryParameterValue",
        ),
        (
            Method::GET,
            "/orders/messages",
            &[("visibilitytimeout", "0")],
            "",
            400,
            "OutOfRangeQueryParameterValue",
        ),
        (Method::POST, "/orders/messages", &[], &long, 413, "RequestBodyTooLarge"),
        (Method::POST, "/orders/messages", &[], "text", 400, "InvalidXmlDocument"),
        (Method::POST, "/orders/messages", &[], "<QueueMessage/>", 400, "InvalidXmlDocument"),
        (
            Method::POST,
            "/orders/messages",
            &[("messagettl", "-2")],
            &good,
            400,
            "OutOfRangeQueryParameterValue",
        ),
        (
            Method::POST,
            "/orders/messages",
            &[("messagettl", "0")],
            &good,
            400,
            "OutOfRangeQueryParameterValue",
        ),
        (
            Method::POST,
            "/orders/messages",
            &[("messagettl", "5"), ("visibilitytimeout", "5")],
            &good,
            400,
            "InvalidQueryParameterValue",
        ),
        (
            Method::POST,
            "/orders/messages",
            &[("visibilitytimeout", "604801")],
            &good,
            400,
            "OutOfRangeQueryParameterValue",
        ),
        (
            Method::PUT,
            "/orders/messages/x",
            &[("popreceipt", "x")],
            "",
            400,
            "MissingRequiredQueryParameter",
        ),
        (Method::DELETE, "/orders/messages/x", &[], "", 400, "MissingRequiredQueryParameter"),
        (Method::DELETE, "/orders/messages/x", &[("popreceipt", "x")], "", 404, "MessageNotFound"),
        (Method::GET, "/orders/other", &[], "", 400, "InvalidUri"),
        (Method::POST, "/orders", &[], "", 405, "UnsupportedHttpVerb"),
    ];
    for (method, path, query, body, status, code) in cases {
        let response = served.signed(method, path, query, &[], body).await;
        assert_eq!(refusal(response).await, (status, code.to_owned()), "{path} {query:?}");
    }
}

#[tokio::test]
async fn blob_requests_are_refused_in_the_words_of_the_real_service() {
    let served = served(Kind::Blob).await;
    let (container, list): (Pairs, Pairs) = (
        &[("restype", "container")],
        &[("restype", "container"), ("comp", "list"), ("marker", "!")],
    );
    let cases: [(Method, &str, Pairs, Pairs, u16, &str); 11] = [
        (Method::PUT, "/orders", container, &[], 409, "ContainerAlreadyExists"),
        (Method::DELETE, "/none", container, &[], 404, "ContainerNotFound"),
        (Method::GET, "/orders", list, &[], 400, "InvalidQueryParameterValue"),
        (Method::PUT, "/orders/a", &[], &[], 400, "MissingRequiredHeader"),
        (
            Method::PUT,
            "/orders/a",
            &[],
            &[("x-ms-blob-type", "AppendBlob")],
            400,
            "BlobTypeNotSupported",
        ),
        (
            Method::PUT,
            "/orders/a",
            &[],
            &[("x-ms-blob-type", "PageBlob")],
            400,
            "BlobTypeNotSupported",
        ),
        (
            Method::PUT,
            "/orders/a",
            &[],
            &[("x-ms-copy-source", "http://x/y"), ("x-ms-blob-type", "BlockBlob")],
            501,
            "NotImplemented",
        ),
        (Method::PUT, "/orders/a", &[("comp", "appendblock")], &[], 501, "NotImplemented"),
        (Method::PUT, "/none/a", &[], &[("x-ms-blob-type", "BlockBlob")], 404, "ContainerNotFound"),
        (Method::GET, "/orders/a", &[], &[], 404, "BlobNotFound"),
        (
            Method::PUT,
            "/orders/a",
            &[("comp", "block"), ("blockid", "!")],
            &[],
            400,
            "InvalidQueryParameterValue",
        ),
    ];
    for (method, path, query, headers, status, code) in cases {
        let response = served.signed(method, path, query, headers, "").await;
        assert_eq!(
            refusal(response).await,
            (status, code.to_owned()),
            "{path} {query:?} {headers:?}"
        );
    }
    let unknown = "<BlockList><Latest>YQ==</Latest></BlockList>";
    let response =
        served.signed(Method::PUT, "/orders/a", &[("comp", "blocklist")], &[], unknown).await;
    refused(response, 400, "InvalidBlockList").await;
}

#[tokio::test]
async fn a_wrong_key_a_wrong_account_an_old_date_and_no_signature_are_refused() {
    let served = served(Kind::Queue).await;
    let list: &[_] = &[("comp", "list")];
    let authorization = |value: &'static str| [("authorization", value), ("x-ms-date", DATE)];
    for (value, detail) in [
        ("SharedKey devstoreaccount1:AAAA", "Server used following string to sign: 'GET\\n\\n"),
        ("SharedKey other:AAAA", "The account of this service is devstoreaccount1."),
        ("Bearer token", "Only the scheme SharedKey is known here"),
    ] {
        let response = served.send(Method::GET, "", list, &authorization(value), "").await;
        assert_eq!(response.status(), 403);
        let body = response.text().await.unwrap();
        assert!(
            body.contains("<Code>AuthenticationFailed</Code>") && body.contains(detail),
            "{body}"
        );
    }
    let response = served.send(Method::GET, "", list, &[], "").await;
    refused(response, 401, "NoAuthenticationInformation").await;
    // This client's clock is not the service's.
    let late = Queues::new(&Account::local(1, served.port)).unwrap();
    let hand = Hand::new();
    let options = || ClientOptions { clock: hand.clock(), ..ClientOptions::default() };
    let queues = Queues::with_options(&Account::local(1, served.port), options()).unwrap();
    assert_eq!(queues.list("").await.unwrap(), ["orders"]);
    hand.advance(16 * 60);
    for queues in [late, queues] {
        let error = queues.list("").await.unwrap_err();
        assert!(matches!(&error, Error::Auth { code, .. } if code == "AuthenticationFailed"));
        assert_eq!(
            error.to_string(),
            "listing queues: the storage account refused the request (AuthenticationFailed); check the account's key or signature in the connection string, or the identity's tenant, and that this machine's clock is right"
        );
    }
}

#[tokio::test]
async fn pages_in_browsers_and_foreign_hosts_are_kept_out() {
    let served = served(Kind::Queue).await;
    for header in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let response = served.send(Method::GET, "", &[("comp", "list")], &[header], "").await;
        refused(response, 403, "CorsPreflightFailure").await;
    }
    let response =
        Client::new().get(format!("http://127.0.0.1:{}/other/orders", served.port)).send();
    refused(response.await.unwrap(), 400, "InvalidUri").await;
}

/// A connection string with a signature instead of a key.
fn with_signature(kind: &str, port: u16, signature: &str) -> Account {
    let text = format!(
        "{kind}Endpoint=http://127.0.0.1:{port}/{EMULATOR_ACCOUNT};SharedAccessSignature={signature}"
    );
    Account::parse(&text).unwrap()
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn a_signature_for_the_account_allows_what_its_letters_say_while_it_lasts() {
    let served = served(Kind::Queue).await;
    let signature = |letters: &str, services: &str, end: &str| {
        let text =
            format!("{EMULATOR_ACCOUNT}\n{letters}\n{services}\nsco\n\n{end}\n\n\n2021-12-02\n\n");
        let sig = escaped(&sign(&text));
        format!("sv=2021-12-02&ss={services}&srt=sco&sp={letters}&se={end}&sig={sig}")
    };
    let queues =
        |signature: &str| Queues::new(&with_signature("Queue", served.port, signature)).unwrap();
    let adder = queues(&signature("a", "bq", "2027-01-01"));
    adder.put("orders", "text", PutMessage::default()).await.unwrap();
    let error = adder.list("").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "listing queues: the storage account refused the request (AuthorizationPermissionMismatch); the shared access signature or the identity does not allow this; make a signature with more permissions, or give the identity the role `Storage Queue Data Contributor` or `Storage Blob Data Owner`"
    );
    let code = async |signature: &str| {
        queues(signature).list("").await.unwrap_err().code().unwrap().to_owned()
    };
    assert_eq!(code(&signature("l", "b", "2027-01-01")).await, "AuthorizationServiceMismatch");
    assert_eq!(code(&signature("l", "q", "2026-11-21T01:21:48Z")).await, "AuthenticationFailed");
    let forged = signature("a", "q", "2027-01-01").replace("sp=a", "sp=al");
    assert_eq!(code(&forged).await, "AuthenticationFailed");
}

#[tokio::test]
async fn a_signature_for_one_queue_container_or_blob_opens_only_that() {
    let served = served(Kind::Queue).await;
    served.service.queues().create("other").await.unwrap();
    let end = "2027-01-01T00:00:00Z";
    let sig = sign(&format!("ap\n\n{end}\n/queue/{EMULATOR_ACCOUNT}/orders\n\n\n\n2021-12-02"));
    let query = format!("sv=2021-12-02&sp=ap&se={end}&sig={}", escaped(&sig));
    let queues = Queues::new(&with_signature("Queue", served.port, &query)).unwrap();
    queues.put("orders", "text", PutMessage::default()).await.unwrap();
    assert!(matches!(
        queues.put("other", "text", PutMessage::default()).await,
        Err(Error::Auth { .. })
    ));
    assert!(matches!(queues.peek("orders", 1).await, Err(Error::Auth { .. })));

    let port = listen(served.service.router(Kind::Blob)).await;
    let blobs = |resource: &str, path: &str| {
        let lines = format!(
            "rwl\n\n{end}\n/blob/{EMULATOR_ACCOUNT}/{path}\n\n\n\n2021-12-02\n{resource}\n\n\n\n\n\n\n"
        );
        let sig = escaped(&sign(&lines));
        let query = format!("sv=2021-12-02&sp=rwl&se={end}&sr={resource}&sig={sig}");
        Blobs::new(&with_signature("Blob", port, &query)).unwrap()
    };
    let put = async |blobs: &Blobs, name: &str| {
        blobs.put("orders", name, "x".into(), &PutBlob::default()).await
    };
    let (whole, one) = (blobs("c", "orders"), blobs("b", "orders/a b"));
    put(&whole, "any/thing").await.unwrap();
    assert_eq!(whole.list("orders", &ListBlobs::default()).await.unwrap().blobs.len(), 1);
    put(&one, "a b").await.unwrap();
    assert!(matches!(put(&one, "c").await, Err(Error::Auth { .. })));
    assert!(matches!(one.list("orders", &ListBlobs::default()).await, Err(Error::Auth { .. })));
}

#[tokio::test]
async fn a_leased_blob_is_written_by_its_holder_only() {
    let served = served(Kind::Blob).await;
    let path = "/orders/lock";
    let put = async |headers: &[(&str, &str)]| {
        let mut all = vec![("x-ms-blob-type", "BlockBlob")];
        all.extend_from_slice(headers);
        served.signed(Method::PUT, path, &[], &all, "").await
    };
    let lease = async |headers: &[(&str, &str)]| {
        served.signed(Method::PUT, path, &[("comp", "lease")], headers, "").await
    };
    assert_eq!(put(&[]).await.status(), 201);
    let acquire: &[_] = &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "60")];
    let taken = lease(acquire).await;
    assert_eq!(taken.status(), 201);
    let id = taken.headers()["x-ms-lease-id"].to_str().unwrap().to_owned();
    refused(lease(acquire).await, 409, "LeaseAlreadyPresent").await;
    refused(put(&[]).await, 412, "LeaseIdMissing").await;
    refused(put(&[("x-ms-lease-id", "other")]).await, 412, "LeaseIdMismatchWithBlobOperation")
        .await;
    assert_eq!(put(&[("x-ms-lease-id", &id)]).await.status(), 201);
    let held: &[(&str, &str)] = &[("x-ms-lease-id", &id)];
    let action = |action| [("x-ms-lease-action", action), ("x-ms-lease-id", "other")];
    refused(lease(&action("release")).await, 409, "LeaseIdMismatchWithLeaseOperation").await;
    assert_eq!(lease(&[held, &[("x-ms-lease-action", "renew")]].concat()).await.status(), 200);
    assert_eq!(lease(&[held, &[("x-ms-lease-action", "release")]].concat()).await.status(), 200);
    refused(put(held).await, 412, "LeaseNotPresentWithBlobOperation").await;
    assert_eq!(put(&[]).await.status(), 201);
    refused(
        lease(&[("x-ms-lease-action", "break")]).await,
        409,
        "LeaseNotPresentWithLeaseOperation",
    )
    .await;
}

#[tokio::test]
async fn blocks_become_a_blob_and_stay_usable_for_the_next() {
    let served = served(Kind::Blob).await;
    let block = async |id: &str, body: &str| {
        served
            .signed(Method::PUT, "/orders/a", &[("comp", "block"), ("blockid", id)], &[], body)
            .await
    };
    let commit = async |list: &str| {
        let body = format!("<BlockList>{list}</BlockList>");
        served.signed(Method::PUT, "/orders/a", &[("comp", "blocklist")], &[], &body).await
    };
    let text =
        async || served.signed(Method::GET, "/orders/a", &[], &[], "").await.text().await.unwrap();
    for (id, body) in [("MQ==", "one "), ("Mg==", "two ")] {
        assert_eq!(block(id, body).await.status(), 201);
    }
    refused(served.signed(Method::GET, "/orders/a", &[], &[], "").await, 404, "BlobNotFound").await;
    refused(block("bG9uZ2Vy", "longer id").await, 400, "InvalidBlobOrBlock").await;
    assert_eq!(commit("<Latest>Mg==</Latest><Uncommitted>MQ==</Uncommitted>").await.status(), 201);
    assert_eq!(text().await, "two one ");
    assert_eq!(block("Mw==", "three").await.status(), 201);
    let lists = served.signed(
        Method::GET,
        "/orders/a",
        &[("comp", "blocklist"), ("blocklisttype", "all")],
        &[],
        "",
    );
    let shown = lists.await.text().await.unwrap();
    let part =
        |name: &str, size: usize| format!("<Block><Name>{name}</Name><Size>{size}</Size></Block>");
    assert!(shown.ends_with(&format!(
        "<BlockList><CommittedBlocks>{}{}</CommittedBlocks><UncommittedBlocks>{}</UncommittedBlocks></BlockList>",
        part("Mg==", 4), part("MQ==", 4), part("Mw==", 5)
    )), "{shown}");
    assert_eq!(commit("<Committed>MQ==</Committed><Latest>Mw==</Latest>").await.status(), 201);
    assert_eq!(text().await, "one three");
    refused(commit("<Committed>Mg==</Committed>").await, 400, "InvalidBlockList").await;
}

#[tokio::test]
async fn lists_fold_names_at_a_delimiter_page_by_page() {
    let served = served(Kind::Blob).await;
    for name in ["a/1", "a/2", "b", "c/1", "c\u{1}d"] {
        served.service.blobs().put("orders", name, "x".into(), &PutBlob::default()).await.unwrap();
    }
    let mut shown = Vec::new();
    let mut marker = String::new();
    loop {
        let mut query = vec![
            ("restype", "container"),
            ("comp", "list"),
            ("delimiter", "/"),
            ("maxresults", "1"),
        ];
        if !marker.is_empty() {
            query.push(("marker", &marker));
        }
        let body =
            served.signed(Method::GET, "/orders", &query, &[], "").await.text().await.unwrap();
        let between = |start: &str, end: &str| {
            body.split_once(start).map(|(_, rest)| rest.split_once(end).unwrap().0.to_owned())
        };
        shown.push(between("<Blobs>", "</Name>").unwrap());
        marker = between("<NextMarker>", "</NextMarker>").unwrap();
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(
        shown,
        [
            "<BlobPrefix><Name>a/",
            "<Blob><Name>b",
            "<Blob><Name Encoded=\"true\">c%01d",
            "<BlobPrefix><Name>c/"
        ]
    );
    let all = served.service.blobs().list("orders", &ListBlobs::default()).await.unwrap();
    assert_eq!(all.blobs[3].name, "c\u{1}d");
}

#[tokio::test]
async fn reads_have_conditions_too() {
    let served = served(Kind::Blob).await;
    let tag =
        served.service.blobs().put("orders", "a", "x".into(), &PutBlob::default()).await.unwrap();
    // Signed by hand: the header stands on its own line of the string.
    let text = format!(
        "GET\n\n\n\n\n\n\n\n\n{tag}\n\n\nx-ms-date:{DATE}\n/{EMULATOR_ACCOUNT}/{EMULATOR_ACCOUNT}/orders/a"
    );
    let authorization = format!("SharedKey {EMULATOR_ACCOUNT}:{}", sign(&text));
    let headers =
        [("if-none-match", tag.as_str()), ("x-ms-date", DATE), ("authorization", &authorization)];
    let response = served.send(Method::GET, "/orders/a", &[], &headers, "").await;
    assert_eq!(response.status(), 304);
}

#[tokio::test]
async fn service_properties_are_kept_as_they_are_set() {
    let served = served(Kind::Queue).await;
    let query: &[_] = &[("restype", "service"), ("comp", "properties")];
    let read = async || served.signed(Method::GET, "", query, &[], "").await.text().await.unwrap();
    assert!(read().await.contains("<StorageServiceProperties><Logging>"));
    let wanted = "<StorageServiceProperties><Cors></Cors></StorageServiceProperties>";
    assert_eq!(served.signed(Method::PUT, "", query, &[], wanted).await.status(), 202);
    assert!(read().await.ends_with(wanted));
    refused(
        served.signed(Method::PUT, "", query, &[], "<Other/>").await,
        400,
        "InvalidXmlDocument",
    )
    .await;
}

#[tokio::test]
async fn a_wrong_key_of_the_client_is_an_error_that_hides_it() {
    let (service, _folder) = embedded(everstep_storage::service::ServiceOptions::default());
    let account = serve(&service).await;
    let endpoint = account.endpoint(Kind::Blob).unwrap();
    let text =
        format!("AccountName={EMULATOR_ACCOUNT};AccountKey=c2VjcmV0;BlobEndpoint={endpoint}");
    let blobs = Blobs::new(&Account::parse(&text).unwrap()).unwrap();
    let error = blobs.get("abc", "b").await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {blobs:?}").contains("c2Vj"));
}
