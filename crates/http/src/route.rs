//! All routes, as one table: it finds the handler of a request and is what the `OpenAPI` document says.
//!
//! P1  Leading and trailing slashes do not count. Literal segments compare without case, before anything is decoded, so
//!     that an instance called `counts` is reached as `%63ounts`.
//! P2  The first entry that fits wins; a path that fits with another verb is not found.
//! P3  Version 2 decodes a segment once and leaves `%2F` alone. Version 3 decodes it like a form, then once more.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{Compat, error::Refusal};

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Start,
    ListEntities,
    GetEntity,
    SignalEntity,
    DeleteEntity,
    List,
    PurgeMany,
    PurgeHistory,
    Counts,
    Bulk,
    Status,
    PurgeOne,
    Why,
    History,
    Stream,
    Record,
    Import,
    Terminate,
    Rewind,
    Restart,
    Suspend,
    Resume,
    Unpark,
    Raise,
    MakePrimary,
    Sql,
    OpenApi,
}

impl Target {
    /// Whether its requests have a body.
    pub(crate) fn takes_body(self) -> bool {
        matches!(
            self,
            Self::Start
                | Self::SignalEntity
                | Self::DeleteEntity
                | Self::Raise
                | Self::PurgeHistory
                | Self::Sql
        )
    }
}

/// Which method a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
    Any,
}

/// A route.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) verb: Verb,
    pub(crate) template: &'static str,
    pub(crate) target: Target,
    /// One line for the document.
    pub(crate) summary: &'static str,
    /// Names in [`openapi::PARAMETERS`](crate::openapi::PARAMETERS).
    pub(crate) query: &'static [&'static str],
    /// The statuses it answers besides 401, with what they mean.
    pub(crate) answers: &'static [(u16, &'static str)],
}

const FILTERS: &[&str] = &[
    "createdTimeFrom",
    "createdTimeTo",
    "runtimeStatus",
    "status",
    "instanceIdPrefix",
    "name",
    "kind",
    "parent",
    "tag.*",
    "q",
];
const DONE: &[(u16, &str)] =
    &[(202, "Accepted"), (404, "No such instance"), (410, "The instance has ended")];
const STARTED: &[(u16, &str)] = &[
    (200, "It has ended within the time; its output"),
    (202, "Its links"),
    (400, "A bad argument"),
    (409, "An instance of that id is alive"),
    (500, "It has failed within the time, and the request asked for this code"),
];
const HELD: &[(u16, &str)] = &[
    (202, "Accepted"),
    (404, "No such instance"),
    (410, "The instance has ended"),
    (500, "It is held already, or is not held"),
];
const SIGNALED: &[(u16, &str)] = &[(202, "Accepted"), (400, "A bad name, key or body")];

const fn entry(
    verb: Verb,
    template: &'static str,
    target: Target,
    summary: &'static str,
    query: &'static [&'static str],
    answers: &'static [(u16, &'static str)],
) -> Entry {
    Entry { verb, template, target, summary, query, answers }
}

/// Every route, in the order in which they are tried.
#[rustfmt::skip]
pub(crate) const ROUTES: &[Entry] = &[
    entry(Verb::Post, "orchestrators/{functionName}", Target::Start,
        "Starts an orchestration under a made id", &["version", "timeout", "pollingInterval", "returnInternalServerErrorOnFailure"], STARTED),
    entry(Verb::Post, "orchestrators/{functionName}/{instanceId}", Target::Start,
        "Starts an orchestration", &["version", "timeout", "pollingInterval", "returnInternalServerErrorOnFailure"], STARTED),
    entry(Verb::Get, "entities", Target::ListEntities,
        "Lists entities", &["lastOperationTimeFrom", "lastOperationTimeTo", "fetchState", "top"], &[(200, "A page of entities")]),
    entry(Verb::Get, "entities/{entityName}", Target::ListEntities,
        "Lists the entities of a name", &["lastOperationTimeFrom", "lastOperationTimeTo", "fetchState", "top"], &[(200, "A page of entities")]),
    entry(Verb::Post, "entities/{entityName}", Target::SignalEntity,
        "Signals the entity with the empty key", &["op"], SIGNALED),
    entry(Verb::Delete, "entities/{entityName}", Target::DeleteEntity,
        "Signals `delete` to the entity with the empty key", &[], SIGNALED),
    entry(Verb::Get, "entities/{entityName}/{entityKey}", Target::GetEntity,
        "The state of an entity; the key `$` is the empty key", &[], &[(200, "Its state"), (404, "It does not exist")]),
    entry(Verb::Post, "entities/{entityName}/{entityKey}", Target::SignalEntity,
        "Signals an entity", &["op"], SIGNALED),
    entry(Verb::Delete, "entities/{entityName}/{entityKey}", Target::DeleteEntity,
        "Signals `delete` to an entity", &[], SIGNALED),
    entry(Verb::Get, "instances", Target::List,
        "Lists instances; all of them where `top` is not given",
        &["createdTimeFrom", "createdTimeTo", "runtimeStatus", "status", "instanceIdPrefix", "name", "kind", "parent", "tag.*", "q", "showInput", "showDetails", "orderBy", "desc", "top"],
        &[(200, "Instances, and the header `x-ms-continuation-token`")]),
    entry(Verb::Delete, "instances", Target::PurgeMany,
        "Removes instances that have ended",
        &["createdTimeFrom", "createdTimeTo", "runtimeStatus", "status", "instanceIdPrefix", "name", "kind", "parent", "tag.*", "q", "force"],
        &[(200, "How many"), (400, "`createdTimeFrom` is missing"), (404, "None")]),
    entry(Verb::Get, "instances/counts", Target::Counts,
        "Counts instances", FILTERS, &[(200, "The counts")]),
    entry(Verb::Post, "instances/bulk/{verb}", Target::Bulk,
        "Terminates, suspends, resumes, rewinds or purges all instances that match",
        &["createdTimeFrom", "createdTimeTo", "runtimeStatus", "status", "instanceIdPrefix", "name", "parent", "tag.*", "q", "reason", "all"],
        &[(202, "The links of the job"), (400, "No filter is given"), (404, "No such verb")]),
    entry(Verb::Get, "instances/{instanceId}", Target::Status,
        "The status of an instance",
        &["showHistory", "showHistoryOutput", "showInput", "showDetails", "returnInternalServerErrorOnFailure", "wait"],
        &[(200, "It has ended"), (202, "It goes on"), (404, "No such instance"), (500, "It has failed, and the request asked for this code")]),
    entry(Verb::Delete, "instances/{instanceId}", Target::PurgeOne,
        "Removes an instance that has ended", &["recursive", "force"],
        &[(200, "How many"), (404, "No such instance"), (412, "It has not ended")]),
    entry(Verb::Get, "instances/{instanceId}/why", Target::Why,
        "Why an instance does not go on", &[], &[(200, "What it waits for"), (404, "No such instance")]),
    entry(Verb::Get, "instances/{instanceId}/history", Target::History,
        "All events of the present execution", &[], &[(200, "The events"), (404, "No such instance")]),
    entry(Verb::Get, "instances/{instanceId}/stream", Target::Stream,
        "Changes of status and custom status as server-sent events", &["showInput", "showDetails"],
        &[(200, "Events until the instance has ended"), (404, "No such instance")]),
    entry(Verb::Get, "instances/{instanceId}/record", Target::Record,
        "An instance in the form that an import reads; null while it runs", &[], &[(200, "Its record"), (404, "No such instance")]),
    entry(Verb::Post, "import", Target::Import,
        "Puts exported instances back, each on a line of its own", &["replace"],
        &[(200, "A line for each instance: what became of it"), (400, "The body is empty")]),
    entry(Verb::Post, "instances/{instanceId}/terminate", Target::Terminate,
        "Ends an instance and its descendants", &["reason", "recursive"], DONE),
    entry(Verb::Post, "instances/{instanceId}/rewind", Target::Rewind,
        "Runs the failed part of an instance again", &["reason"],
        &[(202, "Accepted"), (404, "No such instance"), (412, "It has not failed")]),
    entry(Verb::Post, "instances/{instanceId}/restart", Target::Restart,
        "Starts an instance again with its input",
        &["restartWithNewInstanceId", "timeout", "pollingInterval", "returnInternalServerErrorOnFailure"], STARTED),
    entry(Verb::Post, "instances/{instanceId}/suspend", Target::Suspend,
        "Holds an instance", &["reason"], HELD),
    entry(Verb::Post, "instances/{instanceId}/resume", Target::Resume,
        "Lets a suspended instance go on", &["reason"], HELD),
    entry(Verb::Post, "instances/{instanceId}/unpark", Target::Unpark,
        "Tries a parked instance again", &[], DONE),
    entry(Verb::Post, "instances/{instanceId}/raiseEvent/{eventName}", Target::Raise,
        "Raises an event", &[],
        &[(202, "Accepted"), (400, "The body is not JSON"), (404, "No such instance"), (410, "The instance has ended")]),
    entry(Verb::Post, "purge-history", Target::PurgeHistory,
        "Removes instances that have ended, with the filter in the body", &[],
        &[(200, "How many, also if none"), (400, "A bad filter")]),
    entry(Verb::Any, "makeprimary", Target::MakePrimary,
        "Makes this app the one that runs the hub; it always is", &[], &[(200, "It is")]),
    entry(Verb::Post, "sql", Target::Sql,
        "Runs a query that only reads", &[], &[(200, "Columns and rows"), (400, "A bad query"), (501, "This store has no SQL")]),
    entry(Verb::Get, "openapi.json", Target::OpenApi,
        "This document", &[], &[(200, "An OpenAPI document")]),
];

/// The entry that answers a request, and the decoded variable segments in order.
pub(crate) fn find(
    method: &Method,
    path: &str,
    compat: Compat,
) -> Result<(&'static Entry, Vec<String>), Refusal> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let entry = ROUTES
        .iter()
        .find(|entry| entry.verb.is(method) && entry.fits(&segments))
        .ok_or(Refusal::NOT_FOUND)?;
    let variables = entry.template.split('/').zip(segments).filter(|(part, _)| is_variable(part));
    let variables = variables.map(|(_, segment)| decoded(segment, compat)).collect::<Option<_>>();
    let variables = variables.ok_or_else(|| {
        Refusal::bad(format!(
            "the path `{path}` is not UTF-8 when its percent signs are decoded; encode each name and id as UTF-8"
        ))
    })?;
    Ok((entry, variables))
}

impl Entry {
    fn fits(&self, segments: &[&str]) -> bool {
        let mut parts = self.template.split('/');
        let all = segments.iter().all(|segment| {
            parts.next().is_some_and(|part| {
                if is_variable(part) {
                    !segment.is_empty()
                } else {
                    part.eq_ignore_ascii_case(segment)
                }
            })
        });
        all && parts.next().is_none()
    }
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET,
            Self::Post => method == Method::POST,
            Self::Delete => method == Method::DELETE,
            Self::Any => true,
        }
    }
}

fn is_variable(part: &str) -> bool {
    part.starts_with('{')
}

fn decoded(segment: &str, compat: Compat) -> Option<String> {
    let once = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    match compat {
        Compat::V3 => once(&once(&segment.replace('+', " "))?),
        Compat::V2 => {
            let mut text = String::new();
            let mut rest = segment;
            while let Some(at) =
                rest.as_bytes().windows(3).position(|w| w.eq_ignore_ascii_case(b"%2f"))
            {
                text.push_str(&once(&rest[..at])?);
                text.push_str(&rest[at..at + 3]);
                rest = &rest[at + 3..];
            }
            text.push_str(&once(rest)?);
            Some(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str, compat: Compat) -> Option<(Target, Vec<String>)> {
        find(method, path, compat).ok().map(|(entry, variables)| (entry.target, variables))
    }

    fn get(path: &str) -> Option<(Target, Vec<String>)> {
        found(&Method::GET, path, Compat::V3)
    }

    #[test]
    fn slashes_around_a_path_and_the_case_of_its_words_do_not_count() {
        assert_eq!(get("/Instances/"), Some((Target::List, vec![])));
        assert_eq!(get("//instances/A/"), Some((Target::Status, vec!["A".to_owned()])));
        assert_eq!(
            found(&Method::POST, "INSTANCES/a/RAISEEVENT/Go", Compat::V3),
            Some((Target::Raise, vec!["a".to_owned(), "Go".to_owned()]))
        );
    }

    #[test]
    fn a_wrong_verb_an_empty_segment_or_one_too_many_is_not_found() {
        assert_eq!(found(&Method::PUT, "instances", Compat::V3), None);
        assert_eq!(found(&Method::POST, "instances/a/raiseEvent", Compat::V3), None);
        assert_eq!(found(&Method::POST, "instances/a/explode", Compat::V3), None);
        assert_eq!(found(&Method::POST, "instances//terminate", Compat::V3), None);
        assert_eq!(get(""), None);
        assert_eq!(get("instances/a/b/c/d"), None);
        assert!(found(&Method::PATCH, "makeprimary", Compat::V3).is_some());
    }

    #[test]
    fn segments_are_decoded_once_or_twice() {
        let id =
            |path: &str, compat| found(&Method::GET, path, compat).map(|(_, mut v)| v.remove(0));
        for (path, v2, v3) in [
            ("instances/a+b", "a+b", "a b"),
            ("instances/a%2Bb", "a+b", "a+b"),
            ("instances/a%20b", "a b", "a b"),
            ("instances/a%2fb%2Fc", "a%2fb%2Fc", "a/b/c"),
            ("instances/a%2541b", "a%41b", "aAb"),
            ("instances/%zz%4", "%zz%4", "%zz%4"),
            ("instances/%40counter%40k", "@counter@k", "@counter@k"),
            ("instances/%c3%a4", "\u{e4}", "\u{e4}"),
        ] {
            assert_eq!(id(path, Compat::V2).as_deref(), Some(v2), "{path}");
            assert_eq!(id(path, Compat::V3).as_deref(), Some(v3), "{path}");
        }
        assert!(matches!(
            find(&Method::GET, "instances/%ff", Compat::V3),
            Err(Refusal::Message(..))
        ));
        assert!(matches!(
            find(&Method::GET, "instances/%25ff", Compat::V3),
            Err(Refusal::Message(..))
        ));
    }

    #[test]
    fn an_escaped_word_is_an_id() {
        assert_eq!(get("instances/counts"), Some((Target::Counts, vec![])));
        assert_eq!(get("instances/%63ounts"), Some((Target::Status, vec!["counts".to_owned()])));
    }
}
