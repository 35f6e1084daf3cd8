//! What few instances have, kept out of line: of many instances that wait, nearly all have none of it.
//!
//! Q1  Absent and empty are the same, to readers and to `==`.
//! Q2  Writing through [`Rarely`] takes memory; [`Rarely::settle`] gives it back once all is empty again. Who only clears
//!     asks for what is there.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::{Deref, DerefMut},
};

use everstep_model::{
    Caller, EventId, Failure, Parent, Parked, Tags, Timestamp, TraceContext, Value,
};

use crate::{OpenCall, OpenChild, OpenLock};

/// The part of an [`crate::Instance`] that most do not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rare {
    /// The orchestration's version, empty if none.
    pub version: String,
    /// Who waits for it.
    pub parent: Option<Parent>,
    /// Given by its starter.
    pub tags: Tags,
    /// No turn before this time.
    pub scheduled: Option<Timestamp>,
    /// Of the request that started it.
    pub trace: Option<TraceContext>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What it last said of itself.
    pub custom_status: Option<Value>,
    /// Children started, waited for, and not ended.
    pub children: BTreeMap<EventId, OpenChild>,
    /// Entities called and not heard of.
    pub calls: BTreeMap<EventId, OpenCall>,
    /// Locks asked for and not given back.
    pub locks: BTreeMap<EventId, OpenLock>,
    /// Set when its history does not fit the code.
    pub parked: Option<Parked>,
    /// Held by a client since then.
    pub suspended: Option<Timestamp>,
    /// Keys of events that were raised, the newest last.
    pub keys: VecDeque<String>,
    /// An entity's state; `None` when it does not exist.
    pub state: Option<Value>,
    /// Who holds an entity's lock.
    pub lock: Option<Caller>,
}

static NOTHING: Rare = Rare {
    version: String::new(),
    parent: None,
    tags: Tags::new(),
    scheduled: None,
    trace: None,
    failure: None,
    custom_status: None,
    children: BTreeMap::new(),
    calls: BTreeMap::new(),
    locks: BTreeMap::new(),
    parked: None,
    suspended: None,
    keys: VecDeque::new(),
    state: None,
    lock: None,
};

/// A [`Rare`] that takes memory only while there is something in it.
#[derive(Debug, Clone, Default)]
pub struct Rarely(Option<Box<Rare>>);

impl Rarely {
    /// What there is, for who wants to clear a part of it.
    pub fn present(&mut self) -> Option<&mut Rare> {
        self.0.as_deref_mut()
    }

    /// Gives the memory back if nothing is in it.
    pub fn settle(&mut self) {
        if self.0.as_deref().is_some_and(|rare| *rare == NOTHING) {
            self.0 = None;
        }
    }
}

impl Deref for Rarely {
    type Target = Rare;

    fn deref(&self) -> &Rare {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Rarely {
    fn deref_mut(&mut self) -> &mut Rare {
        self.0.get_or_insert_default()
    }
}

impl PartialEq for Rarely {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<Rare> for Rarely {
    fn from(rare: Rare) -> Self {
        let mut rarely = Self(Some(Box::new(rare)));
        rarely.settle();
        rarely
    }
}

impl From<Rarely> for Rare {
    fn from(rarely: Rarely) -> Self {
        rarely.0.map(|rare| *rare).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub holds hundreds of thousands of them; what most do not need belongs out of line.
    #[test]
    fn an_instance_is_small() {
        assert!(size_of::<crate::Instance>() <= 344);
    }

    #[test]
    fn absent_and_empty_are_the_same_and_empty_takes_no_memory() {
        let mut rarely = Rarely::default();
        assert_eq!(rarely.version, "");
        rarely.version = "2".to_owned();
        assert_ne!(rarely, Rarely::default());
        rarely.version.clear();
        assert_eq!(rarely, Rarely::default());
        assert!(rarely.present().is_some());
        rarely.settle();
        assert!(rarely.present().is_none());
        assert!(Rarely::from(Rare::default()).present().is_none());
    }
}
