//! Which instances a list, a count, a purge or a bulk operation is about.

use everstep_model::{InstanceId, Kind, Status};
use everstep_store::{Filter, Order};

use crate::{Compat, error::Refusal, query::Query};

/// A filter that a query spells.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) filter: Filter,
    /// Statuses were asked for that no instance can have: nothing matches.
    pub(crate) is_empty: bool,
}

impl Selection {
    pub(crate) fn of(query: &Query, compat: Compat) -> Result<Self, Refusal> {
        let mut statuses = Vec::new();
        let mut asked = false;
        for token in query.all("runtimeStatus").flat_map(|value| value.split(',')) {
            if let Some(status) = durable_status(token.trim()) {
                asked = true;
                statuses.extend(status);
            }
        }
        for token in query.all("status").flat_map(|value| value.split(',')) {
            asked = true;
            statuses.push(our_status(token.trim())?);
        }
        let filter = Filter {
            kind: kind(query)?,
            created_from: query.time("createdTimeFrom", compat),
            created_to: query.time("createdTimeTo", compat),
            name: query.text("name").map(Into::into),
            id_prefix: query.text("instanceIdPrefix").map(Into::into),
            parent: query.text("parent").map(|id| parent(&id)).transpose()?,
            tags: tags(query)?,
            input_contains: query.text("q").map(Into::into),
            statuses,
            ..Filter::default()
        };
        Ok(Self { is_empty: asked && filter.statuses.is_empty(), filter })
    }

    /// Whether it leaves any instance out.
    pub(crate) fn is_narrowed(&self) -> bool {
        self.is_empty || self.filter != Filter::default()
    }

    /// The same without what has not ended.
    pub(crate) fn ended(mut self) -> Self {
        let ended = |status: &Status| status.is_terminal();
        if self.filter.statuses.is_empty() {
            self.filter.statuses = Status::ALL.into_iter().filter(ended).collect();
        } else {
            self.filter.statuses.retain(ended);
            self.is_empty |= self.filter.statuses.is_empty();
        }
        self
    }
}

/// In which order a list is asked for.
pub(crate) fn order(query: &Query) -> Result<Order, Refusal> {
    if let Some(by) = query.text("orderBy")
        && !by.trim().eq_ignore_ascii_case("created")
    {
        return Err(Refusal::parameter("orderBy", &by, "lists are in order of `created`"));
    }
    let is_reversed = query.our_flag("desc", false)?;
    Ok(if is_reversed { Order::NewestFirst } else { Order::OldestFirst })
}

/// A status as Durable Functions reads it: by its exact name or its number. `Some(None)` is one that no instance has.
#[expect(
    clippy::option_option,
    reason = "a word that is no status differs from a status that is never reached"
)]
fn durable_status(token: &str) -> Option<Option<Status>> {
    if let Ok(number) = token.parse::<i32>() {
        return Some(u8::try_from(number).ok().and_then(Status::from_number));
    }
    if token == "Unknown" {
        return Some(None);
    }
    Status::ALL.into_iter().find(|status| status.name() == token).map(Some)
}

fn our_status(token: &str) -> Result<Status, Refusal> {
    Status::from_name(token).ok_or_else(|| {
        let names = Status::ALL.map(|status| format!("`{}`", status.name())).join(", ");
        Refusal::parameter("status", token, &format!("write some of {names}, with commas between"))
    })
}

fn kind(query: &Query) -> Result<Option<Kind>, Refusal> {
    let Some(text) = query.text("kind") else { return Ok(None) };
    match text.trim().to_ascii_lowercase().as_str() {
        "orchestration" => Ok(Some(Kind::Orchestration)),
        "entity" => Ok(Some(Kind::Entity)),
        _ => Err(Refusal::parameter("kind", &text, "write `orchestration` or `entity`")),
    }
}

fn parent(id: &str) -> Result<InstanceId, Refusal> {
    InstanceId::parse(id)
        .map_err(|error| Refusal::parameter("parent", id, &format!("give an instance id: {error}")))
}

fn tags(query: &Query) -> Result<Vec<(String, String)>, Refusal> {
    query
        .with_prefix("tag.")
        .map(|(key, value)| match key {
            "" => Err(Refusal::parameter("tag.", value, "write `tag.<key>=<value>`")),
            _ => Ok((key.to_owned(), value.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(query: &str) -> Selection {
        let uri = format!("/x?{query}").parse().unwrap();
        Selection::of(&Query::of(&uri), Compat::V3).unwrap()
    }

    #[test]
    fn statuses_of_durable_functions_are_exact_and_ours_are_not() {
        let statuses = |query| selection(query).filter.statuses;
        assert_eq!(statuses("runtimeStatus=Running,Failed"), [Status::Running, Status::Failed]);
        assert_eq!(
            statuses("runtimeStatus=1&runtimeStatus=Failed"),
            [Status::Completed, Status::Failed]
        );
        assert_eq!(statuses("runtimeStatus=running,nonsense"), []);
        assert!(
            !selection("runtimeStatus=running").is_empty,
            "nothing was understood, so nothing is asked"
        );
        assert!(selection("runtimeStatus=42").is_empty);
        assert!(selection("runtimeStatus=Unknown").is_empty);
        assert_eq!(statuses("status=running,SUSPENDED"), [Status::Running, Status::Suspended]);
    }

    #[test]
    fn a_selection_of_what_has_ended_is_never_everything() {
        assert_eq!(selection("").ended().filter.statuses.len(), 4);
        assert_eq!(
            selection("runtimeStatus=Running,Failed").ended().filter.statuses,
            [Status::Failed]
        );
        let live = selection("runtimeStatus=Running").ended();
        assert!(live.is_empty && live.filter.statuses.is_empty());
    }

    #[test]
    fn keys_of_tags_keep_their_case() {
        let tags = selection("TAG.Owner=Ann+B&tag.x=").filter.tags;
        assert_eq!(
            tags,
            [("Owner".to_owned(), "Ann B".to_owned()), ("x".to_owned(), String::new())]
        );
    }
}
