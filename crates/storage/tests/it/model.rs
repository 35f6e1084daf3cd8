//! Random operations on the service beside a plain model of it, under a clock that the test moves.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use everstep_storage::{
    client::{Condition, Error, ListBlobs, PutBlob, PutMessage, Queues, TimeToLive},
    service::Service,
};
use proptest::prelude::*;

use crate::setup::Hand;

#[derive(Debug, Clone)]
enum Step {
    Put {
        hidden: u64,
        lives: u64,
    },
    Get {
        count: usize,
        hidden: u64,
    },
    Peek {
        count: usize,
    },
    /// Of the messages that were ever put or got, by number; with a new text or the old one.
    Update {
        which: usize,
        hidden: u64,
        text: Option<u8>,
    },
    Delete {
        which: usize,
    },
    Clear,
    Advance {
        seconds: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let few = 0..8_u64;
    prop_oneof![
        4 => (few.clone(), 8..30_u64).prop_map(|(hidden, lives)| Step::Put { hidden, lives }),
        4 => (1..5_usize, 1..8_u64).prop_map(|(count, hidden)| Step::Get { count, hidden }),
        1 => (1..5_usize).prop_map(|count| Step::Peek { count }),
        3 => (any::<usize>(), few.clone(), any::<Option<u8>>())
            .prop_map(|(which, hidden, text)| Step::Update { which, hidden, text }),
        3 => any::<usize>().prop_map(|which| Step::Delete { which }),
        1 => Just(Step::Clear),
        4 => few.prop_map(|seconds| Step::Advance { seconds }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Clone)]
struct Expected {
    number: usize,
    id: String,
    receipt: String,
    text: String,
    visible: u64,
    expires: u64,
    dequeued: u32,
}

/// What the queue should be, and every receipt that was ever given.
#[derive(Default)]
struct Model {
    messages: Vec<Expected>,
    receipts: Vec<(String, String)>,
    put: usize,
}

impl Model {
    fn visible(&mut self, now: u64, count: usize) -> Vec<&mut Expected> {
        let seen = |message: &&mut Expected| message.visible <= now && message.expires > now;
        let mut seen: Vec<_> = self.messages.iter_mut().filter(seen).collect();
        seen.sort_by_key(|message| (message.visible, message.number));
        seen.truncate(count);
        seen
    }

    /// The place of a message, or the code of the refusal.
    fn owned(&self, id: &str, receipt: &str, now: u64) -> Result<usize, &'static str> {
        let is_it = |message: &Expected| message.id == id && message.expires > now;
        let place = self.messages.iter().position(is_it).ok_or("MessageNotFound")?;
        let is_last = self.messages[place].receipt == receipt;
        is_last.then_some(place).ok_or("PopReceiptMismatch")
    }
}

fn check<T: std::fmt::Debug>(result: &Result<T, Error>, expected: Result<(), &str>) {
    let code = result.as_ref().map(|_| ()).map_err(|error| error.code().unwrap().to_owned());
    assert_eq!(code, expected.map_err(str::to_owned), "{result:?}");
}

async fn run(queues: &Queues, model: &mut Model, step: Step, now: u64) {
    const QUEUE: &str = "model";
    let seconds = Duration::from_secs;
    match step {
        Step::Put { hidden, lives } => {
            let (number, text) = (model.put, format!("text {}", model.put));
            let time_to_live = TimeToLive::For(seconds(lives));
            let how = PutMessage { visible_after: seconds(hidden), time_to_live };
            let put = queues.put(QUEUE, &text, how).await.unwrap();
            model.put += 1;
            model.receipts.push((put.id.clone(), put.receipt.clone()));
            let (visible, expires) = (now + hidden, now + lives);
            let (id, receipt) = (put.id, put.receipt);
            model.messages.push(Expected {
                number,
                id,
                receipt,
                text,
                visible,
                expires,
                dequeued: 0,
            });
        }
        Step::Get { count, hidden } => {
            let got = queues.get(QUEUE, count, seconds(hidden)).await.unwrap();
            let expected = model.visible(now, count);
            assert_eq!(got.len(), expected.len());
            let mut receipts = Vec::new();
            for (got, expected) in got.iter().zip(expected) {
                expected.dequeued += 1;
                expected.visible = now + hidden;
                assert_eq!((&got.id, &got.text), (&expected.id, &expected.text));
                assert_eq!(got.dequeue_count, expected.dequeued);
                expected.receipt.clone_from(&got.receipt);
                receipts.push((got.id.clone(), got.receipt.clone()));
            }
            model.receipts.extend(receipts);
        }
        Step::Peek { count } => {
            let peeked = queues.peek(QUEUE, count).await.unwrap();
            let ids: Vec<_> = peeked.iter().map(|message| message.id.clone()).collect();
            let expected = model.visible(now, count);
            assert_eq!(ids, expected.iter().map(|message| message.id.clone()).collect::<Vec<_>>());
        }
        Step::Update { which, hidden, text } => {
            if model.receipts.is_empty() {
                return;
            }
            let (id, receipt) = model.receipts[which % model.receipts.len()].clone();
            let text = text.map(|text| format!("changed {text}"));
            let updated =
                queues.update(QUEUE, &id, &receipt, seconds(hidden), text.as_deref()).await;
            let place = model.owned(&id, &receipt, now);
            let place = place.and_then(|place| {
                let is_late = now + hidden > model.messages[place].expires;
                if is_late { Err("OutOfRangeInput") } else { Ok(place) }
            });
            check(&updated, place.map(|_| ()));
            if let Ok(place) = place {
                let message = &mut model.messages[place];
                message.visible = now + hidden;
                message.text = text.unwrap_or(message.text.clone());
                message.receipt = updated.unwrap().receipt;
                model.receipts.push((id, message.receipt.clone()));
            }
        }
        Step::Delete { which } => {
            if model.receipts.is_empty() {
                return;
            }
            let (id, receipt) = model.receipts[which % model.receipts.len()].clone();
            let deleted = queues.delete(QUEUE, &id, &receipt).await;
            let place = model.owned(&id, &receipt, now);
            check(&deleted, place.map(|_| ()));
            if let Ok(place) = place {
                model.messages.remove(place);
            }
        }
        Step::Clear => {
            queues.clear(QUEUE).await.unwrap();
            model.messages.clear();
        }
        Step::Advance { .. } | Step::Reopen => unreachable!("they are no calls"),
    }
    let alive = model.messages.iter().filter(|message| message.expires > now).count();
    let counted = queues.properties(QUEUE).await.unwrap().approximate_messages;
    assert_eq!(counted, alive as u64);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[derive(Debug, Clone)]
enum BlobStep {
    Put {
        name: usize,
        length: usize,
    },
    PutIfAbsent {
        name: usize,
        length: usize,
    },
    /// With the tag it has, or with one that it does not have any more.
    PutIfMatch {
        name: usize,
        length: usize,
        fresh: bool,
    },
    Delete {
        name: usize,
    },
    Range {
        name: usize,
        start: u64,
        length: u64,
    },
}

const NAMES: [&str; 4] = ["a", "a/b", "a/ї", "ab"];

fn blob_step() -> impl Strategy<Value = BlobStep> {
    let name = 0..NAMES.len();
    let length = prop_oneof![3 => 0..20_usize, 1 => Just((1 << 20) + 1)];
    prop_oneof![
        (name.clone(), length.clone()).prop_map(|(name, length)| BlobStep::Put { name, length }),
        (name.clone(), length.clone())
            .prop_map(|(name, length)| BlobStep::PutIfAbsent { name, length }),
        (name.clone(), length, any::<bool>())
            .prop_map(|(name, length, fresh)| BlobStep::PutIfMatch { name, length, fresh }),
        name.clone().prop_map(|name| BlobStep::Delete { name }),
        (name, 0..25_u64, 1..9_u64).prop_map(|(name, start, length)| BlobStep::Range {
            name,
            start,
            length
        }),
    ]
}

/// Contents and tags by name.
type Held = BTreeMap<&'static str, (Bytes, String)>;

async fn run_blob(service: &Service, held: &mut Held, step: BlobStep, round: usize) {
    let blobs = service.blobs();
    let content = |length| Bytes::from(vec![(round % 256) as u8; length]);
    let (name, length, condition, allowed) = match step {
        BlobStep::Put { name, length } => (NAMES[name], length, Condition::None, Ok(())),
        BlobStep::PutIfAbsent { name, length } => {
            let is_free = !held.contains_key(NAMES[name]);
            let allowed = is_free.then_some(()).ok_or("BlobAlreadyExists");
            (NAMES[name], length, Condition::IfAbsent, allowed)
        }
        BlobStep::PutIfMatch { name, length, fresh } => {
            let tag = held.get(NAMES[name]).filter(|_| fresh).map(|(_, tag)| tag.clone());
            let allowed = tag.as_ref().map(|_| ()).ok_or("ConditionNotMet");
            let tag = tag.unwrap_or_else(|| "\"0x0\"".to_owned());
            (NAMES[name], length, Condition::IfMatch(tag), allowed)
        }
        BlobStep::Delete { name } => {
            let expected = held.remove(NAMES[name]).map(|_| ()).ok_or("BlobNotFound");
            check(&blobs.delete("model", NAMES[name]).await, expected);
            return;
        }
        BlobStep::Range { name, start, length } => {
            let read = blobs.get_range("model", NAMES[name], start..start + length).await;
            let expected = match held.get(NAMES[name]) {
                None => Err("BlobNotFound"),
                Some((content, _)) if start >= content.len() as u64 => Err("InvalidRange"),
                Some((content, _)) => {
                    let end = content.len().min((start + length) as usize);
                    assert_eq!(read.as_ref().unwrap(), &content[start as usize..end]);
                    Ok(())
                }
            };
            check(&read, expected);
            return;
        }
    };
    let how = PutBlob { condition, ..PutBlob::default() };
    let put = blobs.put("model", name, content(length), &how).await;
    check(&put, allowed);
    if let Ok(tag) = put {
        held.insert(name, (content(length), tag));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_behaves_like_the_model(steps in prop::collection::vec(step(), 1..60)) {
        runtime().block_on(async {
            let (hand, folder) = (Hand::new(), tempfile::tempdir().unwrap());
            let mut service = Service::open(folder.path(), hand.options()).unwrap();
            service.queues().create("model").await.unwrap();
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Advance { seconds } => hand.advance(seconds),
                    Step::Reopen => {
                        drop(service);
                        service = Service::open(folder.path(), hand.options()).unwrap();
                    }
                    step => run(&service.queues(), &mut model, step, hand.seconds()).await,
                }
            }
        });
    }

    #[test]
    fn a_container_behaves_like_the_model(steps in prop::collection::vec(blob_step(), 1..30)) {
        runtime().block_on(async {
            let (hand, folder) = (Hand::new(), tempfile::tempdir().unwrap());
            let service = Service::open(folder.path(), hand.options()).unwrap();
            service.blobs().create_container("model").await.unwrap();
            let mut held = Held::new();
            for (round, step) in steps.into_iter().enumerate() {
                run_blob(&service, &mut held, step, round).await;
            }
            let listed = service.blobs().list("model", &ListBlobs::default()).await.unwrap().blobs;
            let names: Vec<_> = listed.iter().map(|blob| blob.name.as_str()).collect();
            assert_eq!(names, held.keys().copied().collect::<Vec<_>>());
            for (name, (content, tag)) in &held {
                let (properties, read) = service.blobs().get("model", name).await.unwrap();
                assert!(read == content && properties.etag == *tag, "{name}");
            }
            drop(service);
            let files = std::fs::read_dir(folder.path().join("storage-blobs")).unwrap().count();
            let long = held.values().filter(|(content, _)| content.len() > 1 << 20).count();
            assert_eq!(files, long);
        });
    }
}
