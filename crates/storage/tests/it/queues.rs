//! Every operation on queues, over HTTP.

use std::time::{Duration, SystemTime};

use everstep_storage::client::{Created, Error, Metadata, PutMessage, TimeToLive};

use crate::setup::{Hand, embedded, fresh, setup};

const MINUTE: Duration = Duration::from_mins(1);

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().code().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_is_put_peeked_got_hidden_updated_and_deleted() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("life"));
    assert_eq!(queues.create(queue).await, Ok(Created::New));
    assert_eq!(queues.create(queue).await, Ok(Created::Existed));
    let text = "<a> & \"b\" ї 🦀 ]]> end";
    let put = queues.put(queue, text, PutMessage::default()).await.unwrap();
    let peeked = queues.peek(queue, 32).await.unwrap();
    assert_eq!((peeked.len(), peeked[0].text.as_str(), peeked[0].dequeue_count), (1, text, 0));
    let got = queues.get(queue, 32, MINUTE).await.unwrap().remove(0);
    assert_eq!((&got.id, got.text.as_str(), got.dequeue_count), (&put.id, text, 1));
    assert!(got.next_visible.unwrap() > SystemTime::now());
    let week = got.expires.duration_since(got.inserted).unwrap();
    assert_eq!(week, Duration::from_hours(7 * 24));
    assert_eq!(queues.get(queue, 32, MINUTE).await.unwrap(), []);
    let updated = queues.update(queue, &got.id, &got.receipt, Duration::ZERO, Some("new")).await;
    let again = queues.get(queue, 1, MINUTE).await.unwrap().remove(0);
    assert_eq!((again.text.as_str(), again.dequeue_count), ("new", 2));
    assert_ne!(updated.unwrap().receipt, again.receipt);
    let kept = queues.update(queue, &again.id, &again.receipt, MINUTE, None).await.unwrap();
    queues.delete(queue, &again.id, &kept.receipt).await.unwrap();
    assert_eq!(queues.properties(queue).await.unwrap().approximate_messages, 0);
    let gone = queues.delete(queue, &again.id, &kept.receipt).await;
    assert!(
        matches!(&gone, Err(Error::NotFound { code, .. }) if code == "MessageNotFound"),
        "{gone:?}"
    );
    queues.delete_queue(queue).await.unwrap();
}

#[tokio::test]
async fn a_receipt_that_was_replaced_changes_nothing() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("stale"));
    queues.create(queue).await.unwrap();
    queues.put(queue, "text", PutMessage::default()).await.unwrap();
    let first = queues.get(queue, 1, MINUTE).await.unwrap().remove(0);
    queues.update(queue, &first.id, &first.receipt, Duration::ZERO, None).await.unwrap();
    let second = queues.get(queue, 1, MINUTE).await.unwrap().remove(0);
    // Azurite calls it differently; both refuse.
    let refused = queues.delete(queue, &first.id, &first.receipt).await;
    assert!(refused.is_err());
    if std::env::var("EVERSTEP_STORAGE").is_err() {
        assert_eq!(code(refused), "PopReceiptMismatch");
    }
    queues.delete(queue, &second.id, &second.receipt).await.unwrap();
    queues.delete_queue(queue).await.unwrap();
}

#[tokio::test]
async fn messages_come_in_order_and_up_to_thirty_two_at_once() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("order"));
    queues.create(queue).await.unwrap();
    for number in 0..40 {
        queues.put(queue, &format!("{number:02}"), PutMessage::default()).await.unwrap();
    }
    assert_eq!(queues.properties(queue).await.unwrap().approximate_messages, 40);
    let first = queues.get(queue, 99, MINUTE).await.unwrap();
    let rest = queues.get(queue, 32, MINUTE).await.unwrap();
    assert_eq!((first.len(), rest.len()), (32, 8));
    let texts: Vec<_> = first.iter().chain(&rest).map(|message| message.text.clone()).collect();
    assert_eq!(texts, (0..40).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    queues.clear(queue).await.unwrap();
    assert_eq!(queues.properties(queue).await.unwrap().approximate_messages, 0);
    queues.delete_queue(queue).await.unwrap();
}

#[tokio::test]
async fn a_message_can_be_hidden_from_its_start_and_live_for_ever() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("hidden"));
    queues.create(queue).await.unwrap();
    let how = PutMessage { visible_after: MINUTE, time_to_live: TimeToLive::Never };
    let put = queues.put(queue, "later", how).await.unwrap();
    assert_eq!(queues.peek(queue, 1).await.unwrap(), []);
    assert_eq!(queues.properties(queue).await.unwrap().approximate_messages, 1);
    queues.update(queue, &put.id, &put.receipt, Duration::ZERO, None).await.unwrap();
    let shown = queues.peek(queue, 1).await.unwrap().remove(0);
    assert!(shown.expires > SystemTime::now() + 1_000_000 * MINUTE);
    queues.delete_queue(queue).await.unwrap();
}

#[tokio::test]
async fn the_longest_text_passes_and_a_longer_one_is_refused_with_advice() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("long"));
    queues.create(queue).await.unwrap();
    let longest = "x".repeat(65_536);
    queues.put(queue, &longest, PutMessage::default()).await.unwrap();
    assert_eq!(queues.get(queue, 1, MINUTE).await.unwrap()[0].text, longest);
    let refused = queues.put(queue, &format!("{longest}x"), PutMessage::default()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        format!(
            "putting a message into queue `{queue}`: its text has 65537 bytes and may have 65536; put the content into a blob and its name into the message"
        )
    );
    let refused = queues.put(queue, "bell \u{7}", PutMessage::default()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        format!(
            "putting a message into queue `{queue}`: its text has control characters, which messages cannot hold; send it as base64"
        )
    );
    queues.delete_queue(queue).await.unwrap();
}

#[tokio::test]
async fn metadata_is_kept_and_other_metadata_is_a_conflict() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("metadata"));
    let pairs = |value: &str| Metadata::from([("owner".to_owned(), value.to_owned())]);
    assert_eq!(queues.create_with(queue, &pairs("a b")).await, Ok(Created::New));
    assert_eq!(queues.create_with(queue, &pairs("a b")).await, Ok(Created::Existed));
    let other = queues.create_with(queue, &pairs("other")).await;
    assert!(matches!(&other, Err(Error::Conflict { .. })), "{other:?}");
    assert_eq!(code(other), "QueueAlreadyExists");
    assert_eq!(queues.create(queue).await, Ok(Created::Existed));
    assert_eq!(queues.properties(queue).await.unwrap().metadata, pairs("a b"));
    queues.set_metadata(queue, &pairs("new")).await.unwrap();
    assert_eq!(queues.properties(queue).await.unwrap().metadata, pairs("new"));
    let unfit = Metadata::from([("a-b".to_owned(), String::new())]);
    assert_eq!(
        queues.create_with(queue, &unfit).await.unwrap_err().to_string(),
        format!(
            "creating queue `{queue}`: the metadata `a-b` cannot be sent; names are identifiers, values ASCII text"
        )
    );
    queues.delete_queue(queue).await.unwrap();
}

#[tokio::test]
async fn queues_are_listed_by_prefix_in_order() {
    let setup = setup().await;
    let prefix = fresh("list");
    let names = [format!("{prefix}-a"), format!("{prefix}-b")];
    for name in names.iter().rev() {
        setup.queues.create(name).await.unwrap();
    }
    assert_eq!(setup.queues.list(&prefix).await.unwrap(), names);
    for name in &names {
        setup.queues.delete_queue(name).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_no_name_is_said() {
    let setup = setup().await;
    let (queues, queue) = (&setup.queues, &fresh("none"));
    let missing = queues.put(queue, "text", PutMessage::default()).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!(
            "putting a message into queue `{queue}`: The specified queue does not exist. (QueueNotFound)"
        )
    );
    assert_eq!(code(queues.get(queue, 1, MINUTE).await), "QueueNotFound");
    assert_eq!(code(queues.properties(queue).await), "QueueNotFound");
    assert_eq!(code(queues.delete_queue(queue).await), "QueueNotFound");
    assert_eq!(
        queues.create("Orders").await.unwrap_err().to_string(),
        "creating queue `Orders`: a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen"
    );
}

#[tokio::test]
async fn who_waits_for_a_message_is_woken_by_it_even_before_the_queue_exists() {
    let (service, _folder) = embedded(everstep_storage::service::ServiceOptions::default());
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.arrival("orders").await }
    });
    let queues = service.queues();
    queues.create("orders").await.unwrap();
    assert!(!waiting.is_finished());
    queues.put("orders", "text", PutMessage::default()).await.unwrap();
    waiting.await.unwrap();
    service.arrival("orders").await;
    let got = queues.get("orders", 1, MINUTE).await.unwrap().remove(0);
    let waiting = tokio::spawn(async move { service.arrival("orders").await });
    queues.update("orders", &got.id, &got.receipt, Duration::ZERO, None).await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_hidden_message_is_woken_when_it_shows() {
    let hand = Hand::new();
    let (service, _folder) = embedded(hand.options());
    let queues = service.queues();
    queues.create("orders").await.unwrap();
    let hidden = Duration::from_secs(30);
    let how = PutMessage { visible_after: hidden, ..PutMessage::default() };
    queues.put("orders", "text", how).await.unwrap();
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.arrival("orders").await }
    });
    // The wait is of virtual time, which passes when nobody has anything to do.
    tokio::time::sleep(hidden / 2).await;
    assert!(!waiting.is_finished());
    hand.advance(30);
    waiting.await.unwrap();
    assert_eq!(queues.peek("orders", 1).await.unwrap().len(), 1);
}
