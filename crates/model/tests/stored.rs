//! Properties of the stored form: everything comes back, and no bytes do harm.

mod strategies;

use std::fmt::Debug;

use everstep_model::{
    Archive, Body, Commit, Entry, Envelope, Event, EventId, ExecutionId, Failure, Group, GroupNo,
    Iid, InstanceId, Message, Outcome, PartitionId, Position, Purged, RowChange, Source, Timestamp,
    Value, Wait,
    stored::{
        Stored, decode, decode_group, encode, encode_commit, encode_group, events, fuzzing,
        put_commit_entry, put_event, put_purged,
    },
    wire::{DEPTH_MAX, Problem, Writer},
};
use proptest::prelude::*;

fn encoded<T: Stored>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, value);
    out
}

fn chunk(of: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in of {
        put_event(&mut out, event);
    }
    out
}

fn check<T: Stored + PartialEq + Debug>(value: &T) {
    let bytes = encoded(value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
    assert_eq!(decode::<T>(&with_unknown_fields(bytes)).as_ref(), Ok(value));
}

/// One field of each wire type, under numbers that no table has.
fn with_unknown_fields(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::new(&mut bytes);
    writer.varint(1_000, u64::MAX);
    writer.fixed64(1_001, 7);
    writer.fixed32(1_002, 7);
    writer.nested(536_870_911, |w| w.bytes(1, b"from the future"));
    bytes
}

fn flip(bytes: &mut [u8], flips: &[(prop::sample::Index, u8)]) {
    for (at, byte) in flips {
        bytes[at.index(bytes.len())] = *byte;
    }
}

fn check_cut(bytes: &[u8], read: impl Fn(&[u8])) {
    for length in 0..bytes.len().min(300) {
        read(&bytes[..length]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn failures_and_outcomes_come_back(failure in strategies::failure(), outcome in strategies::outcome()) {
        check(&failure);
        check(&outcome);
    }

    #[test]
    fn events_come_back(event in strategies::event()) {
        check(&event);
    }

    #[test]
    fn messages_come_back(envelope in strategies::envelope(), position in strategies::position()) {
        check(&envelope.message);
        check(&envelope);
        check(&position);
    }

    #[test]
    fn commits_come_back_and_their_events_are_encoded_alike(commit in strategies::commit()) {
        check(&commit);
        let mut whole = Vec::new();
        encode_commit(&mut whole, &commit);
        let events = chunk(&commit.events);
        prop_assert!(whole.starts_with(&events));
    }

    #[test]
    fn archives_come_back(events in proptest::collection::vec(strategies::event(), 0..6), number in any::<u32>()) {
        check(&Archive {
            id: InstanceId::from_stored("a"),
            execution: number,
            execution_id: ExecutionId::new("e"),
            created: Timestamp::from_millis(i64::from(number)),
            updated: Timestamp::from_millis(1),
            completed: (number % 2 == 0).then_some(Timestamp::EPOCH),
            custom_status: (number % 3 == 0).then(|| Value::from("1")),
            state: (number % 5 == 0).then(Value::empty),
            events,
        });
    }

    #[test]
    fn a_chunk_is_its_events_in_a_row(all in proptest::collection::vec(strategies::event(), 0..6)) {
        let bytes = with_unknown_fields(chunk(&all));
        prop_assert_eq!(events(&bytes).collect::<Result<Vec<_>, _>>(), Ok(all));
    }

    #[test]
    fn groups_come_back_whether_encoded_whole_or_in_parts(group in strategies::group()) {
        let whole = encode_group(&group, &[]);
        assert_eq!(decode_group(&whole).as_ref(), Ok(&group));
        assert_eq!(decode_group(&with_unknown_fields(whole.to_vec())).as_ref(), Ok(&group));
        let mut entries = Vec::new();
        group.entries.iter().for_each(|entry| match entry {
            Entry::Commit(commit) => put_commit_entry(&mut entries, commit, &chunk(&commit.events)),
            Entry::Purged(purged) => put_purged(&mut entries, *purged),
        });
        let head = Group { entries: Vec::new(), ..group.clone() };
        prop_assert_eq!(decode_group(&encode_group(&head, &entries)), Ok(group));
    }

    #[test]
    fn what_is_cut_off_is_refused_or_read_without_harm(group in strategies::group(), event in strategies::event()) {
        check_cut(&encode_group(&group, &[]), fuzzing::group);
        check_cut(&encoded(&event), fuzzing::round::<Event>);
        let one = chunk(&[event]);
        for length in 1..one.len().min(300) {
            prop_assert!(events(&one[..length]).next().expect("there are bytes").is_err());
        }
    }

    #[test]
    fn flipped_bytes_are_refused_or_read_without_harm(
        group in strategies::group(),
        message in strategies::message(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode_group(&group, &[]).to_vec();
        flip(&mut bytes, &flips);
        fuzzing::group(&bytes);
        fuzzing::chunk(&bytes[1..]);
        let mut bytes = encoded(&message);
        flip(&mut bytes, &flips);
        fuzzing::message(&bytes);
    }

    #[test]
    fn random_bytes_are_refused_or_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let plain = [&[0], &bytes[..]].concat();
        fuzzing::group(&bytes);
        fuzzing::group(&plain);
        fuzzing::chunk(&bytes);
        fuzzing::message(&bytes);
        fuzzing::round::<Commit>(&bytes);
        fuzzing::round::<Envelope>(&bytes);
        fuzzing::round::<Failure>(&bytes);
    }
}

#[test]
fn some_of_a_default_is_not_none() {
    check(&RowChange { custom_status: Some(Value::empty()), ..RowChange::default() });
    check(&RowChange { parked: Some(None), ..RowChange::default() });
    check(&Event::OperationSignaled {
        id: EventId(0),
        entity: InstanceId::from_stored(""),
        name: String::new(),
        input: Value::empty(),
        due: Some(Timestamp::EPOCH),
    });
}

#[test]
fn defaults_take_no_bytes() {
    assert_eq!(encoded(&Commit::default()), []);
    assert_eq!(encoded(&Failure::default()), []);
    assert_eq!(encode_group(&Group::default(), &[])[..], [0]);
    assert_eq!(decode_group(&[0]), Ok(Group::default()));
}

#[test]
fn what_nests_too_deep_is_written_short_and_refused_when_read() {
    let chain = |length| {
        (1..length).fold(Failure::new("K", "m"), |f, _| Failure::new("K", "m").caused_by(f))
    };
    let depth = |failure: &Failure| {
        std::iter::successors(Some(failure), |failure| failure.inner.as_deref()).count()
    };
    // A failure that is a message of its own has one more layer than one in a field.
    let short: Failure = decode(&encoded(&chain(1_000))).unwrap();
    assert_eq!(depth(&short), usize::from(DEPTH_MAX) + 1);
    let Outcome::Failed(short) =
        decode(&encoded(&Outcome::Failed(Box::new(chain(1_000))))).unwrap()
    else {
        panic!("a failure stays one")
    };
    assert_eq!(depth(&short), usize::from(DEPTH_MAX));

    let wait = (0..1_000).fold(Wait::Task(EventId(1)), |wait, _| Wait::All(vec![wait]));
    decode::<RowChange>(&encoded(&RowChange { wait: Some(wait), ..RowChange::default() }))
        .expect("what is written can be read");

    let mut hostile = Vec::new();
    for _ in 0..1_000 {
        let mut outer = Vec::new();
        Writer::new(&mut outer).bytes(4, &hostile);
        hostile = outer;
    }
    assert_eq!(decode::<Failure>(&hostile).unwrap_err().problem, Problem::TooDeep);
}

#[test]
fn what_only_a_newer_version_knows_is_refused_where_leaving_it_out_would_lose_something() {
    let problem = |bytes: &[u8]| decode_group(bytes).unwrap_err().problem;
    assert_eq!(problem(&[1]), Problem::Codec(1));
    assert_eq!(problem(&[]), Problem::Truncated);
    // An entry with the unknown variant 15.
    assert_eq!(problem(&[0, 0x22, 2, 0x7a, 0]), Problem::Variant);
    let mut unknown_event = Vec::new();
    Writer::new(&mut unknown_event).nested(1, |w| w.nested(900, |_| {}));
    let mut found = events(&unknown_event);
    assert!(found.next().unwrap().is_err());
    assert!(found.next().is_none());
}

#[test]
fn an_error_names_the_byte_in_the_whole_group() {
    let purged = Purged { iid: Iid(1), execution: 7 };
    let group = Group { entries: vec![Entry::Purged(purged)], ..Group::default() };
    let mut bytes = encode_group(&group, &[]).to_vec();
    let last = bytes.len() - 1;
    bytes[last] = 0x80;
    assert_eq!(
        decode_group(&bytes).unwrap_err().to_string(),
        format!("byte {last}: the data ends too early")
    );
}

#[test]
fn a_decoded_payload_does_not_share_the_frame() {
    let frame = encoded(&Event::Completed { output: Value::from("small") });
    let Ok(Event::Completed { output: Value::Inline(bytes) }) = decode(&frame) else {
        panic!("it is what was encoded")
    };
    let range = frame.as_ptr_range();
    assert!(!range.contains(&bytes.as_ptr()));
}

#[test]
fn a_message_and_a_position_are_small() {
    let message = Message {
        from: Source::Local,
        body: Body::TimerFired { execution: 1, timer: EventId(2), fire_at: Timestamp::EPOCH },
    };
    assert_eq!(encoded(&message), [0x12, 6, 0x22, 4, 0x08, 1, 0x10, 2]);
    let position = Position { partition: PartitionId(3), group: GroupNo(300), index: 0 };
    assert_eq!(encoded(&position), [0x08, 3, 0x10, 0xac, 0x02]);
}
