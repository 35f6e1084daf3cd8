//! What stands in queues and blobs beside the trigger: read before a run, written after it.
//!
//! V1  A run that cannot be given its inputs, or whose outputs cannot be written, has failed.
//! V2  Outputs are written once the function has returned, one after the other. If one fails, those before it stay: a run
//!     that is made again writes them again.
//! V3  An output that is `$return` takes what the function returned, and a response has it no more.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use everstep::Failure;
use everstep_functions::{
    config::{
        binding::{Bound, Other, Trigger as BoundTrigger},
        expression::{System, Template},
    },
    program::{Answer, Data, Trigger},
};
use everstep_storage::client::{self, Encoding, PutBlob};
use serde_json::{Map, Value};

use crate::{
    answer,
    invoke::{Call, new_id},
    start::now,
    storage::Storage,
    triggers,
};

/// The kind of a failure that comes from a binding.
const BINDING: &str = "Binding";
const RETURN: &str = "$return";

/// The bindings of an app's functions.
pub(crate) struct Bindings {
    storage: Arc<Storage>,
    encoding: Encoding,
    /// Those that have any, by lower-case name.
    functions: BTreeMap<String, Arc<Bound>>,
}

impl Bindings {
    pub(crate) fn new(
        storage: Arc<Storage>,
        encoding: Encoding,
        functions: &BTreeMap<String, Arc<Bound>>,
    ) -> Self {
        let of_ours = functions.iter().filter(|(_, bound)| settings(bound).next().is_some());
        let functions = of_ours.map(|(name, bound)| (name.clone(), Arc::clone(bound))).collect();
        Self { storage, encoding, functions }
    }

    /// A function that has such bindings.
    pub(crate) fn find(&self, function: &str) -> Option<Arc<Bound>> {
        self.functions.get(&function.to_lowercase()).cloned()
    }

    /// Completes a call: what a person wrote becomes what the trigger would have brought, and inputs are read.
    pub(crate) async fn read(&self, bound: &Bound, call: &mut Call) -> Result<(), Failure> {
        if let Trigger::Manual(text) = &call.trigger {
            let text = text.clone();
            self.by_hand(bound, &text, call).await?;
        }
        for (name, other) in &bound.others {
            let (Other::BlobInput(blob) | Other::BlobInOut(blob)) = other else { continue };
            let wrong = |error: &dyn std::fmt::Display| failure(bound, name, error);
            let path = expand(&blob.path, bound, &call.data).map_err(|error| wrong(&error))?;
            let connection = self.storage.connection(&blob.connection).await;
            let connection = connection.map_err(|error| wrong(&error))?;
            let (container, blob) = split(&path).ok_or_else(|| wrong(&no_blob(&path)))?;
            let blobs = connection.blobs().map_err(|error| wrong(&error))?;
            let value = match blobs.get(container, blob).await {
                Ok((_, content)) => Data::Bytes(content),
                Err(client::Error::NotFound { .. }) => Data::Json(Value::Null),
                Err(error) => return Err(wrong(&error)),
            };
            call.inputs.push((name.clone(), value));
        }
        Ok(())
    }

    /// Somebody runs the function by hand: with the content of a message, or the path of a blob.
    async fn by_hand(&self, bound: &Bound, text: &str, call: &mut Call) -> Result<(), Failure> {
        match &bound.trigger {
            BoundTrigger::Queue(_) => {
                call.data.extend(triggers::queue::properties(text.as_bytes()));
                call.data.insert("QueueTrigger".to_owned(), Value::from(text));
                call.trigger = Trigger::Queue(Bytes::copy_from_slice(text.as_bytes()));
            }
            BoundTrigger::Blob(trigger) => {
                let wrong = |error: &dyn std::fmt::Display| failure(bound, &bound.parameter, error);
                let path = text.trim().trim_start_matches('/');
                let parts = trigger.path.matcher().map_err(|error| wrong(&error))?.find(path);
                let (Some(parts), Some((container, name))) = (parts, split(path)) else {
                    let problem = format!(
                        "`{path}` is no path of `{}`; run it with the path of a blob, such as `{}/name`",
                        trigger.path, trigger.container
                    );
                    return Err(wrong(&problem));
                };
                let connection = self.storage.connection(&trigger.connection).await;
                let connection = connection.map_err(|error| wrong(&error))?;
                let blobs = connection.blobs().map_err(|error| wrong(&error))?;
                let (properties, content) =
                    blobs.get(container, name).await.map_err(|error| wrong(&error))?;
                call.data.extend(parts);
                let known = triggers::blob::data_of(&connection, container, name, &properties);
                call.data.extend(known);
                call.trigger = Trigger::Blob(content);
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the outputs, which are then no longer part of the answer. `data` is that of the trigger.
    pub(crate) async fn write(
        &self,
        bound: &Bound,
        data: &Map<String, Value>,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        for (name, other) in &bound.others {
            if !matches!(other, Other::QueueOutput(_) | Other::BlobOutput(_) | Other::BlobInOut(_))
            {
                continue;
            }
            let Some(value) = taken(answer, name) else { continue };
            let written = match other {
                Other::QueueOutput(queue) => {
                    self.send(bound, data, &queue.name, &queue.connection, value).await
                }
                Other::BlobOutput(blob) | Other::BlobInOut(blob) => {
                    self.put(bound, data, &blob.path, &blob.connection, value).await
                }
                _ => Ok(()),
            };
            written.map_err(|problem| failure(bound, name, &problem))?;
        }
        Ok(())
    }

    async fn send(
        &self,
        bound: &Bound,
        data: &Map<String, Value>,
        queue: &Template,
        connection: &str,
        value: Data,
    ) -> Result<(), String> {
        let queue = expand(queue, bound, data).map_err(|error| error.to_string())?.to_lowercase();
        let connection =
            self.storage.connection(connection).await.map_err(|error| error.to_string())?;
        for message in messages(value) {
            let message = self.encoding.encode_bytes(&message).map_err(|error| {
                format!("{error}: set `extensions.queues.messageEncoding` in host.json to `base64`")
            })?;
            connection.send(&queue, &message).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn put(
        &self,
        bound: &Bound,
        data: &Map<String, Value>,
        path: &Template,
        connection: &str,
        value: Data,
    ) -> Result<(), String> {
        let path = expand(path, bound, data).map_err(|error| error.to_string())?;
        let (container, blob) = split(&path).ok_or_else(|| no_blob(&path))?;
        let connection =
            self.storage.connection(connection).await.map_err(|error| error.to_string())?;
        let Some(content) = content(value) else { return Ok(()) };
        connection
            .write(container, blob, content, &PutBlob::default())
            .await
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// The settings that the queues and blobs of a function name, and which of the two each is for.
pub(crate) fn settings(bound: &Bound) -> impl Iterator<Item = (&str, What)> {
    let trigger = match &bound.trigger {
        BoundTrigger::Queue(queue) => Some((queue.connection.as_str(), What::Queue)),
        BoundTrigger::Blob(blob) => Some((blob.connection.as_str(), What::Blob)),
        _ => None,
    };
    let others = bound.others.iter().filter_map(|(_, other)| match other {
        Other::QueueOutput(queue) => Some((queue.connection.as_str(), What::Queue)),
        Other::BlobInput(blob) | Other::BlobOutput(blob) | Other::BlobInOut(blob) => {
            Some((blob.connection.as_str(), What::Blob))
        }
        Other::HttpOutput | Other::DurableClient(_) | Other::Unknown(_) => None,
    });
    trigger.into_iter().chain(others)
}

/// What a binding wants of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Queue,
    Blob,
}

/// The value of an output.
fn taken(answer: &mut Answer, name: &str) -> Option<Data> {
    if name.eq_ignore_ascii_case(RETURN) {
        return answer.value.take();
    }
    let at = answer.outputs.iter().position(|(given, _)| given.eq_ignore_ascii_case(name))?;
    Some(answer.outputs.remove(at).1)
}

fn expand(
    template: &Template,
    bound: &Bound,
    data: &Map<String, Value>,
) -> Result<String, everstep_functions::config::expression::Error> {
    let mut system = System { function: &bound.name, now: now(), guid: &mut new_id };
    template.expand(data, &mut system)
}

fn split(path: &str) -> Option<(&str, &str)> {
    path.split_once('/').filter(|(container, blob)| !container.is_empty() && !blob.is_empty())
}

fn no_blob(path: &str) -> String {
    format!("`{path}` names no blob; a path is a container, `/` and a name")
}

fn failure(bound: &Bound, binding: &str, problem: &dyn std::fmt::Display) -> Failure {
    Failure::new(BINDING, format!("the binding `{binding}` of `{}`: {problem}", bound.name))
}

/// The messages that a value stands for: a list has one for each of its elements.
fn messages(value: Data) -> Vec<Bytes> {
    match value {
        Data::Many(all) => all.into_iter().filter_map(content).collect(),
        Data::Json(Value::Array(all)) => {
            all.into_iter().filter_map(|one| content(Data::Json(one))).collect()
        }
        one => content(one).into_iter().collect(),
    }
}

/// The bytes of a value; nothing for null.
fn content(value: Data) -> Option<Bytes> {
    match value {
        Data::Json(Value::Null) => None,
        Data::Text(text) | Data::Json(Value::String(text)) => Some(Bytes::from(text)),
        Data::Bytes(bytes) => Some(bytes),
        other => Some(Bytes::from(answer::plain(other).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use everstep::{App, Worker};
    use everstep_functions::{
        config::{Settings, binding},
        program::{Binding, Direction, Function, Invocation, Program},
    };
    use everstep_storage::service::ServiceOptions;
    use everstep_worker::BoxFuture;
    use serde_json::json;

    use super::*;
    use crate::{
        invoke::Invoker,
        storage::{Options, Ports},
    };

    /// A program that answers with what is made of the call.
    struct Answers(fn(Invocation) -> Answer);

    impl Program for Answers {
        fn language(&self) -> &'static str {
            "test"
        }

        fn functions(&self) -> Vec<Function> {
            Vec::new()
        }

        fn invoke(&self, call: Invocation) -> BoxFuture<Result<Answer, Failure>> {
            let answer = (self.0)(call);
            Box::pin(std::future::ready(Ok(answer)))
        }

        fn worker(&self) -> Arc<dyn Worker> {
            Arc::new(App::new("1"))
        }
    }

    /// A function `Do` with a trigger and these bindings, and the storage it uses.
    struct Setup {
        invoker: Arc<Invoker>,
        storage: Arc<Storage>,
        _folder: tempfile::TempDir,
    }

    impl Setup {
        fn new(bindings: &Value, answer: fn(Invocation) -> Answer) -> Self {
            let bindings = bindings.as_array().unwrap().iter().map(|binding| {
                let mut properties = binding.as_object().unwrap().clone();
                let mut text = |key| properties.remove(key).unwrap().as_str().unwrap().to_owned();
                Binding {
                    kind: text("type"),
                    name: text("name"),
                    direction: match text("direction").as_str() {
                        "in" => Direction::In,
                        "inout" => Direction::InOut,
                        _ => Direction::Out,
                    },
                    properties,
                }
            });
            let function = Function {
                name: "Do".to_owned(),
                bindings: bindings.collect(),
                disabled: false,
                source: None,
                retry: None,
            };
            let bound = binding::bind(&function, &Settings::default()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let (ports, service) = (Ports::Any, ServiceOptions::default());
            let options = Options { folder: folder.path().join("storage"), ports, service };
            let storage = Storage::new(Arc::new(Settings::default()), options);
            let functions = BTreeMap::from([("do".to_owned(), Arc::new(bound))]);
            let bindings = Bindings::new(Arc::clone(&storage), Encoding::Base64, &functions);
            let invoker = Invoker::new(Arc::new(Answers(answer)), None, []);
            let invoker = Arc::new(invoker.with_bindings(bindings));
            Self { invoker, storage, _folder: folder }
        }

        async fn run(&self, text: &str) -> Result<Answer, Failure> {
            let trigger = Trigger::Manual(text.to_owned());
            self.invoker.run(Call::new(&"Do".into(), trigger, "a test")).await
        }

        async fn messages(&self, queue: &str) -> Vec<String> {
            let connection = self.storage.connection("").await.unwrap();
            let messages = connection.queues().unwrap().peek(queue, 32).await.unwrap();
            let text = |text: &str| Encoding::Base64.decode(text).unwrap();
            let texts =
                messages.iter().map(|message| String::from_utf8(text(&message.text)).unwrap());
            texts.collect()
        }

        async fn blob(&self, path: &str) -> String {
            let connection = self.storage.connection("").await.unwrap();
            let (container, blob) = split(path).unwrap();
            let (_, content) = connection.blobs().unwrap().get(container, blob).await.unwrap();
            String::from_utf8(content.to_vec()).unwrap()
        }
    }

    #[tokio::test]
    async fn outputs_are_written_where_their_expressions_say() {
        let setup = Setup::new(
            &json!([
                { "type": "queueTrigger", "name": "m", "direction": "in", "queueName": "orders" },
                { "type": "queue", "name": "$return", "direction": "out", "queueName": "Done-{kind}" },
                { "type": "queue", "name": "many", "direction": "out", "queueName": "many" },
                { "type": "blob", "name": "copy", "direction": "out", "path": "copies/{kind}/{QueueTrigger}.json" },
            ]),
            |call| {
                assert!(matches!(&call.trigger, Trigger::Queue(bytes) if bytes.starts_with(b"{")));
                Answer {
                    value: Some(Data::Json(json!({ "done": true }))),
                    outputs: vec![
                        ("MANY".to_owned(), Data::Json(json!(["a", 2]))),
                        ("copy".to_owned(), Data::Text("text".to_owned())),
                    ],
                    response: None,
                }
            },
        );
        let answer = setup.run(r#"{"kind":"Big"}"#).await.unwrap();
        assert!(answer.value.is_none() && answer.outputs.is_empty());
        assert_eq!(setup.messages("done-big").await, [r#"{"done":true}"#]);
        assert_eq!(setup.messages("many").await, ["a", "2"]);
        assert_eq!(setup.blob(r#"copies/Big/{"kind":"Big"}.json"#).await, "text");
        setup.storage.stop().await;
    }

    #[tokio::test]
    async fn inputs_are_read_before_the_run_and_what_is_missing_is_null() {
        let setup = Setup::new(
            &json!([
                { "type": "queueTrigger", "name": "m", "direction": "in", "queueName": "orders" },
                { "type": "blob", "name": "there", "direction": "in", "path": "inputs/{id}" },
                { "type": "blob", "name": "not", "direction": "in", "path": "inputs/not-{id}" },
                { "type": "blob", "name": "both", "direction": "inout", "path": "inputs/{id}" },
            ]),
            |call| {
                let found = |wanted: &str| {
                    call.inputs.iter().find(|(name, _)| name == wanted).unwrap().1.clone()
                };
                assert_eq!(found("not"), Data::Json(Value::Null));
                assert_eq!(found("there"), found("both"));
                let Data::Bytes(content) = found("there") else { panic!("it is a blob") };
                let twice = [&content[..], &content[..]].concat();
                let outputs = vec![("both".to_owned(), Data::Bytes(twice.into()))];
                Answer { outputs, ..Answer::default() }
            },
        );
        let connection = setup.storage.connection("").await.unwrap();
        let content = Bytes::from_static(b"ab");
        connection.write("inputs", "7", content, &PutBlob::default()).await.unwrap();
        setup.run(r#"{"id": 7}"#).await.unwrap();
        assert_eq!(setup.blob("inputs/7").await, "abab");
        setup.storage.stop().await;
    }

    #[tokio::test]
    async fn an_output_that_cannot_be_written_fails_the_run_and_says_which() {
        let setup = Setup::new(
            &json!([
                { "type": "queueTrigger", "name": "m", "direction": "in", "queueName": "orders" },
                { "type": "queue", "name": "a", "direction": "out", "queueName": "{nobody}" },
                { "type": "queue", "name": "b", "direction": "out", "queueName": "{id}" },
                { "type": "blob", "name": "c", "direction": "out", "path": "{id}/{id}" },
            ]),
            |call| {
                let outputs =
                    vec![(call.data["id"].as_str().unwrap().to_owned(), Data::Text("x".into()))];
                Answer { outputs, ..Answer::default() }
            },
        );
        let rule = "a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen";
        for (binding, problem) in [
            ("a", "`{nobody}` has no value; the trigger gives `QueueTrigger`, `id`".to_owned()),
            ("b", format!("putting a message into queue `b`: {rule}")),
            ("c", format!("writing blob `c/c`: of its container: {rule}")),
        ] {
            let failure = setup.run(&json!({ "id": binding }).to_string()).await.unwrap_err();
            assert_eq!(failure.message, format!("the binding `{binding}` of `Do`: {problem}"));
        }
        setup.storage.stop().await;
    }

    fn sent(value: Data) -> Vec<String> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        messages(value).into_iter().map(text).collect()
    }

    #[test]
    fn a_value_becomes_as_many_messages_as_it_has_elements() {
        assert_eq!(sent(Data::Text("[1]".into())), ["[1]"]);
        assert_eq!(sent(Data::Json(json!("a"))), ["a"]);
        assert_eq!(sent(Data::Json(json!({ "a": 1 }))), [r#"{"a":1}"#]);
        assert_eq!(sent(Data::Json(json!(["a", { "b": [2] }, null]))), ["a", r#"{"b":[2]}"#]);
        assert_eq!(
            sent(Data::Many(vec![Data::Text("a".into()), Data::Json(json!(1))])),
            ["a", "1"]
        );
        assert_eq!(sent(Data::Bytes(Bytes::from_static(b"raw"))), ["raw"]);
        assert_eq!(sent(Data::Json(Value::Null)), Vec::<String>::new());
        assert_eq!(sent(Data::Many(Vec::new())), Vec::<String>::new());
    }

    #[test]
    fn what_a_queue_takes_is_no_response_any_more() {
        let mut answer = Answer {
            value: Some(Data::Text("v".into())),
            outputs: vec![("Out".into(), Data::Text("o".into()))],
            ..Answer::default()
        };
        assert_eq!(taken(&mut answer, "$return"), Some(Data::Text("v".into())));
        assert_eq!(taken(&mut answer, "out"), Some(Data::Text("o".into())));
        assert_eq!(taken(&mut answer, "out"), None);
        assert!(answer.value.is_none() && answer.outputs.is_empty());
    }
}
