//! A queue: receive, delete, keep invisible.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Aws, Call, Error, Service, address, strange, whole};
use crate::settings::Receive;

/// One queue. A clone is the same.
#[derive(Clone)]
pub(crate) struct Queue {
    aws: Aws,
    /// Its name in requests.
    name: String,
    /// Where requests go.
    url: Url,
    region: String,
}

/// A message that nobody else sees for a while.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Message {
    #[serde(rename = "MessageId")]
    pub(crate) id: String,
    #[serde(rename = "ReceiptHandle")]
    pub(crate) receipt: String,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

impl Message {
    /// How often it was received, this time included.
    pub(crate) fn receives(&self) -> u32 {
        let count = self.attributes.get("ApproximateReceiveCount");
        count.and_then(|count| count.parse().ok()).unwrap_or(1)
    }
}

impl Queue {
    pub(crate) fn new(aws: Aws, name: &str) -> Result<Self, Error> {
        let own = address(name)?;
        let region = region(own.host_str().unwrap_or_default()).unwrap_or(&aws.region).to_owned();
        let mut url = aws.endpoint.clone().unwrap_or(own);
        url.set_path("/");
        url.set_query(None);
        Ok(Self { aws, name: name.to_owned(), url, region })
    }

    /// Messages, if there are any before the wait is over. `attempt` names the request: a queue that keeps order gives the
    /// same messages to the same name.
    pub(crate) async fn receive(
        &self,
        receive: &Receive,
        attempt: &str,
    ) -> Result<Vec<Message>, Error> {
        #[derive(Deserialize)]
        struct Received {
            #[serde(rename = "Messages", default)]
            messages: Vec<Message>,
        }
        let mut request = json!({
            "QueueUrl": self.name,
            "MaxNumberOfMessages": receive.messages,
            "WaitTimeSeconds": receive.wait_seconds,
            "VisibilityTimeout": receive.visibility_seconds,
            "MessageSystemAttributeNames": ["All"],
        });
        if self.keeps_order() {
            request["ReceiveRequestAttemptId"] = attempt.into();
        }
        let answer = self.call("ReceiveMessage", &request).await?;
        let received: Result<Received, _> = serde_json::from_slice(&answer);
        let received = received.map_err(|error| strange(Service::Queue, &error.to_string()))?;
        Ok(received.messages)
    }

    /// Whether requests to receive may have names: queues whose name ends so keep order.
    fn keeps_order(&self) -> bool {
        percent_decode_str(&self.name).decode_utf8_lossy().ends_with(".fifo")
    }

    pub(crate) async fn delete(&self, receipt: &str) -> Result<(), Error> {
        let request = json!({ "QueueUrl": self.name, "ReceiptHandle": receipt });
        self.call("DeleteMessage", &request).await.map(drop)
    }

    /// Nobody else sees the message for so long from now.
    pub(crate) async fn hide(&self, receipt: &str, seconds: u32) -> Result<(), Error> {
        let request = json!({
            "QueueUrl": self.name,
            "ReceiptHandle": receipt,
            "VisibilityTimeout": seconds,
        });
        self.call("ChangeMessageVisibility", &request).await.map(drop)
    }

    /// After how many receives the queue itself puts a message aside, if it does.
    pub(crate) async fn redrive_after(&self) -> Result<Option<u32>, Error> {
        let request = json!({ "QueueUrl": self.name, "AttributeNames": ["RedrivePolicy"] });
        let answer = self.call("GetQueueAttributes", &request).await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(answer["Attributes"]["RedrivePolicy"].as_str().and_then(redrive_after))
    }

    async fn call(&self, operation: &str, request: &Value) -> Result<Vec<u8>, Error> {
        let call = Call {
            service: Service::Queue,
            region: self.region.clone(),
            method: Method::POST,
            url: self.url.clone(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.0".to_owned()),
                ("x-amz-target", format!("AmazonSQS.{operation}")),
            ],
            body: request.to_string().into_bytes(),
        };
        whole(Service::Queue, self.aws.send(&call).await?).await
    }
}

/// The number in a redrive policy, which is JSON in a text; numbers in it are texts at times.
fn redrive_after(policy: &str) -> Option<u32> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let count = &policy["maxReceiveCount"];
    count.as_str().map_or_else(|| count.as_u64(), |text| text.parse().ok())?.try_into().ok()
}

/// The region in a queue's host, if it stands there.
fn region(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("sqs.").or_else(|| host.strip_prefix("sqs-fips."));
    rest.and_then(|rest| rest.split_once(".amazonaws.com").map(|(region, _)| region))
        .or_else(|| host.split_once(".queue.amazonaws.com").map(|(region, _)| region))
        .filter(|region| !region.is_empty() && !region.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_comes_from_the_queues_address() {
        assert_eq!(region("sqs.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region("sqs.cn-north-1.amazonaws.com.cn"), Some("cn-north-1"));
        assert_eq!(region("eu-west-1.queue.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region("127.0.0.1"), None);
    }

    #[test]
    fn a_redrive_policy_has_a_number_in_either_form() {
        assert_eq!(redrive_after(r#"{"maxReceiveCount":3,"deadLetterTargetArn":"a"}"#), Some(3));
        assert_eq!(redrive_after(r#"{"maxReceiveCount":"10"}"#), Some(10));
        assert_eq!(redrive_after("{}"), None);
    }
}
