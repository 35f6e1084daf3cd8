//! Tables of occurrences, and properties that plainer ways of counting must agree with.

use jiff::{ToSpan, civil::DateTime, tz::AmbiguousOffset};
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> Zone {
    Zone::named(name).expect("a known zone")
}

fn utc(text: &str) -> Timestamp {
    timestamp(text.parse().expect("a time"))
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).expect("a schedule")
}

/// The first occurrences after a time, as instants without date where they are of that day.
fn occurrences(text: &str, zone: &Zone, after: &str, count: usize) -> String {
    let (day, after) = (&after[..10], utc(after));
    let shorten = |at: Timestamp| {
        let text = at.to_string().replace(".0000000Z", "Z");
        text.strip_prefix(&format!("{day}T")).unwrap_or(&text).to_owned()
    };
    let found = schedule(text).next(count, after, zone).into_iter().map(shorten);
    found.collect::<Vec<_>>().join(" ")
}

#[test]
fn expressions_mean_what_they_mean_to_ncrontab() {
    // 2026-03-02 is a Monday.
    for (text, expected) in [
        ("* * * * * *", "10:15:31Z 10:15:32Z 10:15:33Z"),
        ("* * * * *", "10:16:00Z 10:17:00Z 10:18:00Z"),
        ("0 */20 * * * *", "10:20:00Z 10:40:00Z 11:00:00Z"),
        ("0 2/25 * * * *", "10:27:00Z 10:52:00Z 11:02:00Z"),
        ("0 10-30/10 * * * *", "10:20:00Z 10:30:00Z 11:10:00Z"),
        ("0 30-10/10 * * * *", "10:20:00Z 10:30:00Z 11:10:00Z"),
        ("0 0 12-11 * * *", "11:00:00Z 12:00:00Z 2026-03-03T11:00:00Z"),
        ("0 5,45,25 * * * *", "10:25:00Z 10:45:00Z 11:05:00Z"),
        ("0 */0 10 * * *", "10:16:00Z 10:17:00Z 10:18:00Z"),
        ("0 7/99999999999999999999999 * * * *", "11:07:00Z 12:07:00Z 13:07:00Z"),
        ("  0   030 11\t* * * ", "11:30:00Z 2026-03-03T11:30:00Z 2026-03-04T11:30:00Z"),
        ("0 0 0 13 * 5", "2026-03-13T00:00:00Z 2026-11-13T00:00:00Z 2027-08-13T00:00:00Z"),
        ("0 0 9 * * mon-WEDNES", "2026-03-03T09:00:00Z 2026-03-04T09:00:00Z 2026-03-09T09:00:00Z"),
        ("0 0 9 * * fri-tue", "2026-03-03T09:00:00Z 2026-03-04T09:00:00Z 2026-03-05T09:00:00Z"),
        ("0 0 9 1 jAn,Sept *", "2026-09-01T09:00:00Z 2027-01-01T09:00:00Z 2027-09-01T09:00:00Z"),
        ("0 0 0 1 */5 *", "2026-06-01T00:00:00Z 2026-11-01T00:00:00Z 2027-01-01T00:00:00Z"),
        ("0 0 0 31 * *", "2026-03-31T00:00:00Z 2026-05-31T00:00:00Z 2026-07-31T00:00:00Z"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z 2036-02-29T00:00:00Z"),
        ("0 0 0 29 2 sun", "2032-02-29T00:00:00Z 2060-02-29T00:00:00Z 2088-02-29T00:00:00Z"),
        ("0 0 0 30 2 *", ""),
        ("0 0 30 feb *", ""),
        ("00:10:00", "10:25:30.5000000Z 10:35:30.5000000Z 10:45:30.5000000Z"),
        ("12:00", "22:15:30.5000000Z 2026-03-03T10:15:30.5000000Z 2026-03-03T22:15:30.5000000Z"),
    ] {
        assert_eq!(occurrences(text, &Zone::UTC, "2026-03-02T10:15:30.5Z", 3), expected, "{text}");
    }
}

#[test]
fn spans_of_a_day_or_more_count_days() {
    for (text, expected) in [
        ("23:59:59", "2026-03-02T23:59:59Z"),
        ("24:00:00", "2026-03-26T00:00:00Z"),
        ("25:12:30", "2026-03-27T12:30:00Z"),
        ("1.00:00:00", "2026-03-03T00:00:00Z"),
        ("1:02:03:04", "2026-03-03T02:03:04Z"),
        ("7", "2026-03-09T00:00:00Z"),
    ] {
        let next = schedule(text).next_after(utc("2026-03-02T00:00:00Z"), &Zone::UTC);
        assert_eq!(next, Some(utc(expected)), "{text}");
    }
}

#[test]
fn a_schedule_that_is_wrong_is_refused_with_what_is_wrong_where() {
    for (text, problem) in [
        ("", "it has 0 fields and not five or six"),
        ("* * * *", "it has 4 fields and not five or six"),
        ("0 0 0 1 1 * 2026", "it has 7 fields and not five or six"),
        ("@daily", "one field alone has to be a span of time"),
        ("24:00", "one field alone has to be a span of time"),
        ("00:00:00", "the span is not above zero"),
        ("-00:05:00", "the span is not above zero"),
        ("60 * * * * *", "field 1 (second), character 1: `60` is not from 0 to 59"),
        ("60 * * * *", "field 1 (minute), character 1: `60` is not from 0 to 59"),
        ("0 0 9,24 * * *", "field 3 (hour), character 7: `24` is not from 0 to 23"),
        ("0 0 0 0 * *", "field 4 (day), character 7: `0` is not from 1 to 31"),
        ("0 0 0 * 13 *", "field 5 (month), character 9: `13` is not from 1 to 12"),
        ("0 0 0 * * 7", "field 6 (weekday), character 11: `7` is not from 0 to 6; Sunday is 0"),
        (
            "0 0 0 * * 1-mo",
            "field 6 (weekday), character 13: `mo` is neither a number from 0 to 6 nor a name such as `sun` or `mon`",
        ),
        (
            "0 0 0 * Januar1 *",
            "field 5 (month), character 9: `Januar1` is neither a number from 1 to 12 nor a name such as `jan` or `feb`",
        ),
        ("0 */x * * * *", "field 2 (minute), character 5: the step `x` is not a number"),
        ("0 */ * * * *", "field 2 (minute), character 5: the step `` is not a number"),
        ("0 */-5 * * * *", "field 2 (minute), character 5: the step `-5` is not a number"),
        ("0 1/2/3 * * * *", "field 2 (minute), character 5: the step `2/3` is not a number"),
        ("0 1,,2 * * * *", "field 2 (minute), character 5: a value is missing"),
        ("0 -5 * * * *", "field 2 (minute), character 3: a value is missing"),
        ("0 1-2-3 * * * *", "field 2 (minute), character 5: `2-3` is not a number from 0 to 59"),
        ("0 *-5 * * * *", "field 2 (minute), character 3: `*` is not a number from 0 to 59"),
        ("ä 0 0 é * *", "field 1 (second), character 1: `ä` is not a number from 0 to 59"),
        ("0 0\u{a0}0 é * *", "field 4 (day), character 7: `é` is not a number from 1 to 31"),
        (
            "0 0 0 L * *",
            "field 4 (day), character 7: `L`: the signs `?`, `L`, `W` and `#` are not known; write `*` or numbers",
        ),
        (
            "0 0 0 * * ?",
            "field 6 (weekday), character 11: `?`: the signs `?`, `L`, `W` and `#` are not known; write `*` or numbers",
        ),
        (
            "0 0 0 * * 5#2",
            "field 6 (weekday), character 11: `5#2`: the signs `?`, `L`, `W` and `#` are not known; write `*` or numbers",
        ),
    ] {
        let error = Schedule::parse(text).expect_err(text).to_string();
        let expected = format!(
            "The schedule expression was not recognized as a valid cron expression or timespan string. `{text}`: \
             {problem}. Write second, minute, hour, day, month and weekday, such as `0 */5 * * * *` for every five \
             minutes, or a span such as `00:05:00`"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn clocks_that_go_back_run_fixed_times_once_and_running_ones_without_a_hole() {
    // Berlin: 03:00+02:00 becomes 02:00+01:00 at 01:00 UTC.
    let berlin = zone("Europe/Berlin");
    for (text, expected) in [
        ("0 30 2 * * *", "00:30:00Z 2026-10-26T01:30:00Z 2026-10-27T01:30:00Z"),
        ("0 0,30 2 * * *", "00:00:00Z 00:30:00Z 2026-10-26T01:00:00Z"),
        ("0 0 3 * * *", "02:00:00Z 2026-10-26T02:00:00Z 2026-10-27T02:00:00Z"),
        ("0 30 * * * *", "00:30:00Z 01:30:00Z 02:30:00Z"),
        ("0 0 2-3 * * *", "00:00:00Z 01:00:00Z 02:00:00Z"),
    ] {
        // Midnight in UTC is 02:00 in Berlin, so a second before it is the day before.
        let found = occurrences(text, &berlin, "2026-10-24T23:59:59Z", 3);
        assert_eq!(found.replace("2026-10-25T", ""), expected, "{text}");
    }
    assert_eq!(
        occurrences("0 */20 * * * *", &berlin, "2026-10-25T00:20:00Z", 6),
        "00:40:00Z 01:00:00Z 01:20:00Z 01:40:00Z 02:00:00Z 02:20:00Z"
    );
}

#[test]
fn clocks_that_go_forward_run_times_that_do_not_exist_after_the_gap() {
    // Berlin: 02:00+01:00 becomes 03:00+02:00 at 01:00 UTC.
    let berlin = zone("Europe/Berlin");
    for (text, expected) in [
        ("0 30 2 * * *", "01:00:00Z 2026-03-30T00:30:00Z"),
        ("0 0,30 2 * * *", "01:00:00Z 2026-03-30T00:00:00Z"),
        ("0 0 3 * * *", "01:00:00Z 2026-03-30T01:00:00Z"),
        ("0 30 * * * *", "00:30:00Z 01:30:00Z"),
        ("0 */40 * * * *", "00:40:00Z 01:00:00Z"),
        ("0 1-2 2 * * *", "01:01:00Z 01:02:00Z"),
    ] {
        assert_eq!(occurrences(text, &berlin, "2026-03-29T00:00:00Z", 2), expected, "{text}");
    }
}

#[test]
fn new_york_changes_its_clocks_at_other_hours() {
    let new_york = zone("Eastern Standard Time");
    // 02:00-05:00 becomes 03:00-04:00 at 07:00 UTC.
    let in_spring = |text| occurrences(text, &new_york, "2026-03-08T05:30:00Z", 2);
    assert_eq!(in_spring("0 15 2 * * *"), "07:00:00Z 2026-03-09T06:15:00Z");
    assert_eq!(in_spring("0 0 * * * *"), "06:00:00Z 07:00:00Z");
    // 02:00-04:00 becomes 01:00-05:00 at 06:00 UTC.
    let in_autumn = |text| occurrences(text, &new_york, "2026-11-01T05:00:00Z", 3);
    assert_eq!(in_autumn("0 30 1 * * *"), "05:30:00Z 2026-11-02T06:30:00Z 2026-11-03T06:30:00Z");
    assert_eq!(in_autumn("0 30 * * * *"), "05:30:00Z 06:30:00Z 07:30:00Z");
}

#[test]
fn lord_howe_changes_its_clocks_by_half_an_hour() {
    let lord_howe = zone("Australia/Lord_Howe");
    // 02:00+10:30 becomes 02:30+11:00 at 15:30 UTC.
    let in_spring = |text| occurrences(text, &lord_howe, "2026-10-03T15:00:00Z", 3);
    assert_eq!(in_spring("0 10 2 * * *"), "15:30:00Z 2026-10-04T15:10:00Z 2026-10-05T15:10:00Z");
    assert_eq!(in_spring("0 */15 * * * *"), "15:15:00Z 15:30:00Z 15:45:00Z");
    // 02:00+11:00 becomes 01:30+10:30 at 15:00 UTC.
    let in_autumn = |text| occurrences(text, &lord_howe, "2026-04-04T14:30:00Z", 3);
    assert_eq!(in_autumn("0 45 1 * * *"), "14:45:00Z 2026-04-05T15:15:00Z 2026-04-06T15:15:00Z");
    assert_eq!(in_autumn("0 */15 * * * *"), "14:45:00Z 15:00:00Z 15:15:00Z");
}

#[test]
fn a_zone_that_never_changes_its_clocks_shifts_all_times_alike() {
    let kolkata = zone("India Standard Time");
    assert_eq!(
        occurrences("0 30 2 * * *", &kolkata, "2026-03-28T20:00:00Z", 3),
        "21:00:00Z 2026-03-29T21:00:00Z 2026-03-30T21:00:00Z"
    );
}

#[test]
fn a_day_that_a_zone_skipped_is_made_up_for_at_its_end() {
    // Samoa had no 30th of December 2011: the 31st began at 10:00 UTC of the 30th.
    assert_eq!(
        occurrences("0 0 12 * * *", &zone("Pacific/Apia"), "2011-12-29T22:00:00Z", 2),
        "2011-12-30T10:00:00Z 2011-12-30T22:00:00Z"
    );
}

#[test]
fn the_ends_of_time_have_no_occurrence_after_them() {
    for text in ["* * * * *", "00:01:00"] {
        assert_eq!(schedule(text).next_after(Timestamp::MAX, &Zone::UTC), None, "{text}");
    }
    assert_eq!(schedule("* * * * *").next_after(Timestamp::from_ticks(i64::MIN), &Zone::UTC), None);
}

/// A field that both `NCrontab` and croner read, and read alike.
fn field(least: u8, most: u8) -> impl Strategy<Value = String> {
    let item = prop_oneof![
        (least..=most).prop_map(|value| value.to_string()),
        (least..=most, least..=most).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (least..most, 1..=3_u8).prop_map(move |(a, step)| format!("{a}-{most}/{step}")),
        (1..=most / 2).prop_map(|step| format!("*/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        5 => proptest::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6))
        .prop_map(|(s, m, h, d, mo, w)| format!("{s} {m} {h} {d} {mo} {w}"))
}

/// A second of some year from 2000 on.
fn moment() -> impl Strategy<Value = Timestamp> {
    (946_684_800_i64..4_000_000_000).prop_map(|second| Timestamp::from_millis(second * 1000))
}

/// A zone and an hour at which its clocks are changed.
fn change() -> impl Strategy<Value = (Zone, Instant)> {
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-03-08T07:00:00Z",
        "2026-11-01T06:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-10-03T15:30:00Z",
    ];
    (proptest::sample::select(zones.to_vec()), proptest::sample::select(changes.to_vec()))
        .prop_map(|(name, at)| (zone(name), at.parse().expect("a time")))
}

/// Every occurrence whose local time is within a day of an instant, by looking at each minute of the clock.
fn by_looking(text: &str, zone: &Zone, around: Instant) -> Vec<Timestamp> {
    let Form::Cron(expression) = schedule(text).form else { panic!("an expression") };
    let tz = jiff::tz::TimeZone::get(zone.name()).expect("known");
    let middle: DateTime = tz.to_datetime(around);
    let mut found: Vec<Timestamp> = (-1440..1440)
        .map(|minutes| middle + minutes.minutes())
        .filter(|local| expression.first(*local, *local + 1.second()).is_some())
        .flat_map(|local| {
            let instant = |offset: Offset| offset.to_timestamp(local).expect("in range");
            match (tz.to_ambiguous_timestamp(local).offset(), expression.is_running()) {
                (AmbiguousOffset::Unambiguous { offset }, _) => vec![instant(offset)],
                (AmbiguousOffset::Gap { before, .. }, true)
                | (AmbiguousOffset::Fold { before, .. }, false) => vec![instant(before)],
                (AmbiguousOffset::Gap { .. }, false) => vec![around],
                (AmbiguousOffset::Fold { before, after }, true) => {
                    vec![instant(before), instant(after)]
                }
            }
        })
        .map(timestamp)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

proptest! {
    #[test]
    fn croner_finds_the_same_occurrences_in_utc(text in expression(), after in moment()) {
        let pattern = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Required)
            .dom_and_dow(true)
            .build()
            .parse(&text)
            .expect("a pattern of both");
        let mut theirs = Offset::UTC.to_datetime(crate::cron::calendar_instant(after).expect("in range"));
        for ours in schedule(&text).next(5, after, &Zone::UTC) {
            theirs = pattern.find_next_occurrence(&theirs, false).expect("an occurrence");
            prop_assert_eq!(ours, timestamp(Offset::UTC.to_timestamp(theirs).expect("in range")));
        }
    }

    #[test]
    fn around_changes_of_the_clock_nothing_is_left_out_or_made_up(
        minutes in field(0, 59),
        hours in prop_oneof![field(0, 23), field(0, 3)],
        (zone, change) in change(),
        begin in -600..300_i64,
    ) {
        let text = format!("0 {minutes} {hours} * * *");
        let after = timestamp(change + begin.minutes());
        let end = timestamp(change + 10.hours());
        let expected: Vec<Timestamp> =
            by_looking(&text, &zone, change).into_iter().filter(|at| *at > after && *at < end).collect();
        let schedule = schedule(&text);
        let found = schedule.next(expected.len() + 1, after, &zone);
        prop_assert_eq!(&found[..expected.len()], &expected[..], "{}", text);
        prop_assert!(found.last().is_none_or(|at| *at >= end), "{} gives {:?} too", text, found.last());
    }

    #[test]
    fn an_occurrence_comes_strictly_after_and_matches(
        text in expression(),
        after in moment(),
        ticks in 0..10_000_000_i64,
    ) {
        let schedule = schedule(&text);
        let after = Timestamp::from_ticks(after.ticks() + ticks);
        let next = schedule.next_after(after, &Zone::UTC).expect("an occurrence");
        prop_assert!(next > after);
        let Form::Cron(expression) = &schedule.form else { panic!("an expression") };
        let local = Offset::UTC.to_datetime(crate::cron::calendar_instant(next).expect("in range"));
        prop_assert_eq!(expression.first(local, local + 1.second()), Some(local));
        let just_before = Timestamp::from_ticks(next.ticks() - 1);
        prop_assert_eq!(schedule.next_after(just_before, &Zone::UTC), Some(next));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*", near in "[0-9a-zA-Z*/,?#: .-]{0,40}") {
        for text in [text, near] {
            if let Ok(schedule) = Schedule::parse(&text) {
                schedule.next_after(Timestamp::EPOCH, &Zone::UTC);
            }
        }
    }
}
