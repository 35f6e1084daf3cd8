//! The same against a program of other people that does as AWS does. `EVERSTEP_MOTO` says where it listens.

use code42::stand_in::StandIn;
use reqwest::Client;
use serde_json::{Value, json};

use crate::app::{Folder, gzip, lines, numbers};

fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

struct Moto {
    http: Client,
    url: String,
}

impl Moto {
    /// It looks at who is asked, and at no signature.
    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) {
        let scope = scope("s3");
        let request = self.http.put(format!("{}{path}", self.url)).header("authorization", scope);
        let response = request.body(body).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
    }

    async fn queue(&self, operation: &str, request: &Value) -> Value {
        let response = self
            .http
            .post(&self.url)
            .header("authorization", scope("sqs"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .body(request.to_string());
        let response = response.send().await.unwrap();
        assert!(response.status().is_success(), "{operation}: {}", response.status());
        response.json().await.unwrap_or_default()
    }

    async fn topic(&self, form: String) {
        let request = self.http.post(&self.url).header("authorization", scope("sns"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    }
}

#[tokio::test]
#[ignore = "needs moto"]
async fn a_run_against_moto_sends_what_its_notices_name() {
    let url = std::env::var("EVERSTEP_MOTO").expect("EVERSTEP_MOTO has the URL of a moto server");
    let moto = Moto { http: Client::new(), url: url.clone() };
    let bucket = format!("logs-{}", std::process::id());
    let made = moto.queue("CreateQueue", &json!({ "QueueName": bucket })).await;
    let queue = made["QueueUrl"].as_str().unwrap().to_owned();
    let asked = json!({ "QueueUrl": queue, "AttributeNames": ["QueueArn"] });
    let attributes = moto.queue("GetQueueAttributes", &asked).await;
    let arn = attributes["Attributes"]["QueueArn"].as_str().unwrap();
    moto.put(&format!("/{bucket}"), "").await;
    let notices = format!(
        "<NotificationConfiguration><QueueConfiguration><Id>n</Id><Queue>{arn}</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
    );
    moto.put(&format!("/{bucket}?notification"), notices).await;
    moto.put(&format!("/{bucket}/dir/new%20file%2B1.json.gz"), lines(0, 20)).await;
    moto.put(&format!("/{bucket}/%D1%97.json"), "[{\"n\":20},{\"n\":21}]").await;
    moto.put(&format!("/{bucket}/bad.gz"), gzip("{\"n\":22}\nno json\n")).await;

    // Another bucket tells of its objects by way of a topic.
    let other = format!("{bucket}-other");
    let topic = arn.replace(":sqs:", ":sns:");
    moto.topic(format!("Action=CreateTopic&Version=2010-03-31&Name={bucket}")).await;
    let subscription =
        format!("Action=Subscribe&Version=2010-03-31&TopicArn={topic}&Protocol=sqs&Endpoint={arn}");
    moto.topic(subscription).await;
    moto.put(&format!("/{other}"), "").await;
    let notices = format!(
        "<NotificationConfiguration><TopicConfiguration><Id>n</Id><Topic>{topic}</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration></NotificationConfiguration>"
    );
    moto.put(&format!("/{other}?notification"), notices).await;
    moto.put(&format!("/{other}/a%20b.json"), "{\"n\":23}").await;

    let stand_in = StandIn::start().await;
    let folder = Folder::of(&stand_in)
        .with("AWS_ENDPOINT_URL", &url)
        .with("C42_SQS_QUEUE_URL", &queue)
        .with("C42_RECEIVE_WAIT_SECONDS", 1)
        .with("LOG_ANALYTICS_CHUNK_SIZE", 7);
    let app = folder.start();
    let output = app.run().await;
    assert_eq!(
        (&output["records_sent"], &output["bad_lines"]),
        (&json!(24), &json!(1)),
        "{output}"
    );
    assert_eq!((&output["messages_deleted"], &output["failed_objects"]), (&json!(6), &json!(0)));
    assert_eq!(output["notices_without_objects"], 2);
    assert_eq!(numbers(&stand_in), (0..24).collect::<Vec<_>>());
    let left = json!({ "QueueUrl": queue, "AttributeNames": ["All"] });
    let left = moto.queue("GetQueueAttributes", &left).await;
    let number = |name: &str| left["Attributes"][name].as_str().unwrap().to_owned();
    assert_eq!(number("ApproximateNumberOfMessages"), "0");
    assert_eq!(number("ApproximateNumberOfMessagesNotVisible"), "0");
}
