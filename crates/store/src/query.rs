//! What lists ask for, and the one rule of what matches.

use everstep_model::{Iid, InstanceId, Kind, Status, Timestamp};

use crate::{Row, Wake};

/// Which instances a list shows. The default shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only orchestrations, or only entities.
    pub kind: Option<Kind>,
    /// One of these; empty means any.
    pub statuses: Vec<Status>,
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// Ended at this time or later.
    pub completed_from: Option<Timestamp>,
    /// Ended at this time or earlier.
    pub completed_to: Option<Timestamp>,
    /// The function's name, in any ASCII case.
    pub name: Option<String>,
    /// What the id begins with.
    pub id_prefix: Option<String>,
    /// The instance that started it.
    pub parent: Option<InstanceId>,
    /// Tags it must bear.
    pub tags: Vec<(String, String)>,
    /// A text that the stored input contains; payloads that are stored apart are not searched.
    pub input_contains: Option<String>,
}

impl Filter {
    /// Whether a row belongs to the list. Every backend agrees with this function.
    pub fn matches(&self, row: &Row) -> bool {
        self.kind.is_none_or(|kind| row.id.kind() == kind)
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && self.created_from.is_none_or(|from| row.created >= from)
            && self.created_to.is_none_or(|to| row.created <= to)
            && self.completed_from.is_none_or(|from| row.completed.is_some_and(|at| at >= from))
            && self.completed_to.is_none_or(|to| row.completed.is_some_and(|at| at <= to))
            && self.name.as_ref().is_none_or(|name| row.name.eq_ignore_ascii_case(name))
            && self
                .id_prefix
                .as_ref()
                .is_none_or(|prefix| row.id.as_str().starts_with(prefix.as_str()))
            && self.parent.as_ref().is_none_or(|parent| row.parent.as_ref() == Some(parent))
            && self.tags.iter().all(|(key, value)| row.tags.get(key) == Some(value))
            && self.input_contains.as_ref().is_none_or(|text| {
                let inline = row.input.as_ref().and_then(|input| input.inline());
                inline.is_some_and(|bytes| {
                    text.is_empty()
                        || bytes.windows(text.len()).any(|window| window == text.as_bytes())
                })
            })
    }
}

/// In which order a list comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest first, by (created, iid).
    #[default]
    OldestFirst,
    /// The newest first, by (created, iid) descending.
    NewestFirst,
}

impl Order {
    /// Puts rows into this order.
    pub fn sort(self, rows: &mut [Row]) {
        match self {
            Self::OldestFirst => rows.sort_by_key(|row| (row.created, row.iid)),
            Self::NewestFirst => rows.sort_by_key(|row| std::cmp::Reverse((row.created, row.iid))),
        }
    }
}

/// Where a list goes on: after the row with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When that row was created.
    pub created: Timestamp,
    /// Its number.
    pub iid: Iid,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows, in order, without their `live` blobs.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` when this was the last. Never set on an empty page.
    pub next: Option<Cursor>,
}

/// An instance that needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its number.
    pub iid: Iid,
    /// Its id.
    pub id: InstanceId,
    /// Since or from when.
    pub wake: Wake,
}
