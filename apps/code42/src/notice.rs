//! What the body of a message says: which objects there are to read.
//!
//! N1  A body in none of the known shapes is an error with its reason; nothing is guessed.
//! N2  A body that asks for nothing (an empty list, the notice of a test, of something removed) is no error.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// What a body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// There are objects to read.
    Objects(Vec<Named>),
    /// There is nothing to do, for this reason.
    Nothing(&'static str),
}

/// An object that a notice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) bucket: String,
    /// As the notice has it.
    pub(crate) notice_key: String,
    /// What to ask for, in this order.
    pub(crate) keys: Vec<String>,
    /// When it happened, as the notice has it.
    pub(crate) time: Option<String>,
}

/// Wrappers around a body may be so many: a topic within a queue within a topic is one too many already.
const WRAPPERS: u32 = 3;

/// Reads a body. `own` is the bucket of notices that name none.
pub(crate) fn read(body: &str, own: Option<&str>) -> Result<Notice, String> {
    if body.trim().is_empty() {
        return Ok(Notice::Nothing("empty"));
    }
    let body =
        serde_json::from_str(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    of_value(&body, own, WRAPPERS)
}

fn of_value(body: &Value, own: Option<&str>, wrappers: u32) -> Result<Notice, String> {
    match body {
        Value::Null => Ok(Notice::Nothing("empty")),
        Value::Array(items) if items.is_empty() => Ok(Notice::Nothing("empty")),
        Value::Array(items) => items
            .iter()
            .map(|item| custom(item, own))
            .collect::<Result<_, _>>()
            .map(Notice::Objects),
        Value::Object(object) if object.is_empty() => Ok(Notice::Nothing("empty")),
        Value::Object(_) => of_object(body, own, wrappers),
        _ => Err("the body is neither an object nor an array".to_owned()),
    }
}

fn of_object(body: &Value, own: Option<&str>, wrappers: u32) -> Result<Notice, String> {
    if body.get("Object Key").is_some() || body.get("Bucket Name").is_some() {
        return Ok(Notice::Objects(vec![custom(body, own)?]));
    }
    if body["Event"] == "s3:TestEvent" {
        return Ok(Notice::Nothing("test notice"));
    }
    if let Some(records) = body["Records"].as_array() {
        return of_records(records);
    }
    if let (Some("Notification"), Some(inner)) = (body["Type"].as_str(), body["Message"].as_str()) {
        if wrappers == 0 {
            return Err("the body is wrapped too often".to_owned());
        }
        let inner = serde_json::from_str(inner)
            .map_err(|error| format!("the message in the notification is no JSON: {error}"))?;
        return of_value(&inner, own, wrappers - 1);
    }
    if body["source"] == "aws.s3" {
        return of_event(body);
    }
    Err("the body is no notice of an object: it has none of `Object Key`, `Records`, `Message`, `detail`".to_owned())
}

/// The shape of the original: a bucket, a key, a time.
fn custom(item: &Value, own: Option<&str>) -> Result<Named, String> {
    let text = |name: &str| item[name].as_str().filter(|text| !text.is_empty());
    let key = text("Object Key").ok_or("a notice lacks `Object Key`")?;
    let bucket = text("Bucket Name").or(own);
    let bucket = bucket.ok_or("a notice lacks `Bucket Name`, and C42_bucket_name is not set")?;
    let decoded = percent_decode_str(key).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let decoded = decoded.filter(|decoded| decoded != key);
    Ok(Named {
        bucket: bucket.to_owned(),
        notice_key: key.to_owned(),
        keys: std::iter::once(key.to_owned()).chain(decoded).collect(),
        time: text("Event Time").map(str::to_owned),
    })
}

/// Notifications of S3: keys are form-encoded.
fn of_records(records: &[Value]) -> Result<Notice, String> {
    let mut objects = Vec::new();
    for record in records {
        let name = record["eventName"].as_str().unwrap_or("ObjectCreated");
        let name = name.strip_prefix("s3:").unwrap_or(name);
        if name.starts_with("ObjectRemoved") || name.starts_with("LifecycleExpiration") {
            continue;
        }
        // Tags and rights of an object change as well; to read it again would double its records.
        if !name.starts_with("ObjectCreated") {
            return Err(format!("the event `{name}` creates no object"));
        }
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let bucket =
            text(&record["s3"]["bucket"]["name"]).ok_or("a record lacks `s3.bucket.name`")?;
        let key = text(&record["s3"]["object"]["key"]).ok_or("a record lacks `s3.object.key`")?;
        let spaced = key.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8();
        let decoded = decoded.map_err(|_| format!("the key `{key}` is not UTF-8"))?.into_owned();
        let time = text(&record["eventTime"]);
        objects.push(Named { bucket, notice_key: key, keys: vec![decoded], time });
    }
    Ok(if objects.is_empty() { Notice::Nothing("removed") } else { Notice::Objects(objects) })
}

/// An event of `EventBridge`: keys are as they are.
fn of_event(event: &Value) -> Result<Notice, String> {
    match event["detail-type"].as_str() {
        Some("Object Created") => {}
        Some("Object Deleted") => return Ok(Notice::Nothing("removed")),
        kind => {
            return Err(format!("the event `{}` creates no object", kind.unwrap_or_default()));
        }
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let bucket =
        text(&event["detail"]["bucket"]["name"]).ok_or("an event lacks `detail.bucket.name`")?;
    let key =
        text(&event["detail"]["object"]["key"]).ok_or("an event lacks `detail.object.key`")?;
    let (keys, time) = (vec![key.clone()], text(&event["time"]));
    Ok(Notice::Objects(vec![Named { bucket, notice_key: key, keys, time }]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Notice, String> {
        super::read(&body.to_string(), None)
    }

    fn one(body: &Value) -> Named {
        match read(body) {
            Ok(Notice::Objects(objects)) => objects.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn s3(event: &str, key: &str) -> Value {
        json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2026-11-21T01:02:03.456Z",
            "eventName": event, "s3": { "bucket": { "name": "b" }, "object": { "key": key, "size": 1 } },
        }] })
    }

    fn event(detail: &Value) -> Value {
        json!({ "source": "aws.s3", "detail-type": "Object Created", "detail": detail })
    }

    #[test]
    fn the_original_shape_names_one_object_or_many() {
        let notice =
            json!({ "Bucket Name": "b", "Object Key": "a/x%20y.gz", "Event Time": "2026-11-21" });
        let named = one(&notice);
        assert_eq!(named.keys, ["a/x%20y.gz", "a/x y.gz"]);
        assert_eq!(
            (named.notice_key.as_str(), named.time.as_deref()),
            ("a/x%20y.gz", Some("2026-11-21"))
        );
        assert_eq!(one(&json!([{ "Bucket Name": "b", "Object Key": "a+b.gz" }])).keys, ["a+b.gz"]);
        let own = super::read(r#"{"Object Key":"k"}"#, Some("own"));
        assert!(matches!(own, Ok(Notice::Objects(objects)) if objects[0].bucket == "own"));
    }

    #[test]
    fn notices_of_s3_come_raw_through_a_topic_and_as_events() {
        let raw = s3("ObjectCreated:Put", "dir%2Fnew+file%2B1.json.gz");
        let named = one(&raw);
        assert_eq!(named.keys, ["dir/new file+1.json.gz"]);
        assert_eq!(named.notice_key, "dir%2Fnew+file%2B1.json.gz");
        assert_eq!(named.time.as_deref(), Some("2026-11-21T01:02:03.456Z"));
        let topic = json!({ "Type": "Notification", "MessageId": "m", "Message": raw.to_string() });
        assert_eq!(one(&topic), named);
        let event = json!({
            "source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-21T01:02:03Z",
            "detail": { "bucket": { "name": "b" }, "object": { "key": "a+b%20c.gz" } },
        });
        assert_eq!(one(&event).keys, ["a+b%20c.gz"]);
    }

    #[test]
    fn what_asks_for_nothing_is_no_error() {
        assert_eq!(super::read("  ", None), Ok(Notice::Nothing("empty")));
        for empty in [json!(null), json!([]), json!({})] {
            assert_eq!(read(&empty), Ok(Notice::Nothing("empty")));
        }
        let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b" });
        assert_eq!(read(&test), Ok(Notice::Nothing("test notice")));
        for removed in ["ObjectRemoved:Delete", "s3:ObjectRemoved:*", "LifecycleExpiration:Delete"]
        {
            assert_eq!(read(&s3(removed, "k")), Ok(Notice::Nothing("removed")));
        }
    }

    #[test]
    fn a_body_may_be_wrapped_a_few_times() {
        let wrap = |inner: &Value| json!({ "Type": "Notification", "Message": inner.to_string() });
        let thrice = wrap(&wrap(&wrap(&s3("ObjectCreated:Put", "k"))));
        assert_eq!(one(&thrice).keys, ["k"]);
        assert_eq!(read(&wrap(&thrice)).unwrap_err(), "the body is wrapped too often");
    }

    #[test]
    fn other_bodies_are_refused_with_their_reason() {
        for (body, reason) in [
            (
                json!({ "hello": 1 }),
                "the body is no notice of an object: it has none of `Object Key`, `Records`, `Message`, `detail`",
            ),
            (json!("text"), "the body is neither an object nor an array"),
            (json!({ "Bucket Name": "b" }), "a notice lacks `Object Key`"),
            (
                json!({ "Object Key": "k" }),
                "a notice lacks `Bucket Name`, and C42_bucket_name is not set",
            ),
            (json!([1]), "a notice lacks `Object Key`"),
            (json!({ "Records": [{}] }), "a record lacks `s3.bucket.name`"),
            (
                json!({ "Records": [{ "s3": { "bucket": { "name": "b" } } }] }),
                "a record lacks `s3.object.key`",
            ),
            (s3("ObjectTagging:Put", "k"), "the event `ObjectTagging:Put` creates no object"),
            (s3("ObjectCreated:Put", "%ff"), "the key `%ff` is not UTF-8"),
            (
                json!({ "Type": "Notification", "Message": "{" }),
                "the message in the notification is no JSON: EOF while parsing an object at line 1 column 1",
            ),
            (event(&json!({})), "an event lacks `detail.bucket.name`"),
            (event(&json!({ "bucket": { "name": "b" } })), "an event lacks `detail.object.key`"),
            (
                json!({ "source": "aws.s3", "detail-type": "Other" }),
                "the event `Other` creates no object",
            ),
        ] {
            assert_eq!(read(&body).unwrap_err(), reason);
        }
        assert!(super::read("{", None).unwrap_err().starts_with("the body is no JSON: "));
    }
}
