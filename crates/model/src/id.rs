//! Who is who: instances, executions, partitions, positions.
//!
//! I1  An instance id is 1 to 256 UTF-16 units and at most 1,024 bytes, kept as given.
//! I2  The partition of an id is xxh3-64 (seed 0) of its bytes modulo the hub's count: a format, never changed.
//! I3  An `Iid` carries its partition in the top 16 bits, so that rows of one partition are neighbours.

use std::{fmt, sync::Arc};

use xxhash_rust::xxh3::xxh3_64;

/// The most UTF-16 units an instance id may have.
const ID_UNITS_MAX: usize = 256;
/// The most bytes an instance id may have.
const ID_BYTES_MAX: usize = 1024;

/// Names one orchestration or entity within a task hub.
///
/// Entities have ids of the form `@name@key` with the name in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(Arc<str>);

/// What is wrong with an id that a person gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("an instance id must not be empty; leave it out to get one made")]
    Empty,
    /// Over 256 UTF-16 units or 1,024 bytes.
    #[error(
        "an instance id may have at most 256 characters and 1,024 bytes; this one has {units} and {bytes}"
    )]
    TooLong {
        /// UTF-16 units found.
        units: usize,
        /// Bytes found.
        bytes: usize,
    },
    /// One of the characters that Durable Functions refuses.
    #[error(
        "an instance id must not contain {character:?}; choose an id without `/`, `\\`, `#`, `?` and control characters"
    )]
    Forbidden {
        /// The first such character.
        character: char,
    },
    /// Ids that begin with `@` belong to entities.
    #[error("an orchestration's id must not begin with `@`; such ids belong to entities")]
    ReservedForEntities,
    /// `@name@key` was expected.
    #[error("`{id}` is not an entity id; write `@name@key`")]
    NotAnEntity {
        /// What was given.
        id: String,
    },
}

impl InstanceId {
    /// The id of an orchestration, checked as a client's input is.
    ///
    /// ```
    /// use everstep_model::{IdError, InstanceId};
    /// assert_eq!(InstanceId::orchestration("order-7").unwrap().as_str(), "order-7");
    /// assert_eq!(InstanceId::orchestration("@a@b"), Err(IdError::ReservedForEntities));
    /// ```
    pub fn orchestration(id: &str) -> Result<Self, IdError> {
        if id.starts_with('@') {
            return Err(IdError::ReservedForEntities);
        }
        check(id)?;
        Ok(Self(id.into()))
    }

    /// The id of the entity `name` with `key`; the name is lower-cased.
    pub fn entity(name: &str, key: &str) -> Result<Self, IdError> {
        if name.is_empty() || name.contains('@') {
            return Err(IdError::NotAnEntity { id: format!("@{name}@{key}") });
        }
        let id = format!("@{}@{key}", name.to_lowercase());
        check_length(&id)?;
        check_characters(&id)?;
        Ok(Self(id.into()))
    }

    /// Either kind, told apart by the leading `@`.
    pub fn parse(id: &str) -> Result<Self, IdError> {
        match id.strip_prefix('@') {
            None => Self::orchestration(id),
            Some(rest) => match rest.split_once('@') {
                Some((name, key)) => Self::entity(name, key),
                None => Err(IdError::NotAnEntity { id: id.to_owned() }),
            },
        }
    }

    /// An id that was checked when it entered, read back from storage.
    pub fn from_stored(id: &str) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an orchestration or an entity bears this id.
    pub fn kind(&self) -> Kind {
        if self.0.starts_with('@') { Kind::Entity } else { Kind::Orchestration }
    }

    /// Name and key, for an entity's id.
    pub fn entity_parts(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix('@')?.split_once('@')
    }

    /// The partition this id belongs to in a hub of `count` partitions.
    pub fn partition(&self, count: u16) -> PartitionId {
        assert!(count > 0, "a hub has at least one partition");
        PartitionId((xxh3_64(self.0.as_bytes()) % u64::from(count)) as u16)
    }
}

fn check(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    check_length(id)?;
    check_characters(id)?;
    match id.chars().find(|c| matches!(c, '/' | '\\' | '#' | '?')) {
        Some(character) => Err(IdError::Forbidden { character }),
        None => Ok(()),
    }
}

fn check_length(id: &str) -> Result<(), IdError> {
    let (units, bytes) = (id.encode_utf16().count(), id.len());
    if units > ID_UNITS_MAX || bytes > ID_BYTES_MAX {
        Err(IdError::TooLong { units, bytes })
    } else {
        Ok(())
    }
}

fn check_characters(id: &str) -> Result<(), IdError> {
    match id.chars().find(|c| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')) {
        Some(character) => Err(IdError::Forbidden { character }),
        None => Ok(()),
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// What bears an instance id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A run of an orchestrator function.
    Orchestration,
    /// A named piece of state with operations.
    Entity,
}

/// Names one execution (generation) of an instance; new at each start, continue-as-new, rewind and restart.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutionId(Arc<str>);

impl ExecutionId {
    /// As given by a client or read back from storage.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// 32 hex digits that no other position of any hub yields.
    pub fn derive(hub: HubId, at: Position) -> Self {
        Self(Guid::derive(hub, at).simple().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// Sixteen bytes that name something once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// A guid that belongs to one position of one hub.
    pub fn derive(hub: HubId, at: Position) -> Self {
        let mut bytes = [0_u8; 30];
        bytes[..16].copy_from_slice(&hub.0);
        bytes[16..18].copy_from_slice(&at.partition.0.to_le_bytes());
        bytes[18..26].copy_from_slice(&at.group.0.to_le_bytes());
        bytes[26..].copy_from_slice(&at.index.to_le_bytes());
        Self(xxhash_rust::xxh3::xxh3_128(&bytes).to_be_bytes())
    }

    /// RFC 4122 version 5: the SHA-1 of a name in a name space.
    pub fn v5(namespace: Guid, name: &str) -> Self {
        let mut sha = sha1_smol::Sha1::new();
        sha.update(&namespace.0);
        sha.update(name.as_bytes());
        let digest = sha.digest().bytes();
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x50;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// 32 hex digits without dashes.
    pub fn simple(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.simple();
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// The random identity of a task hub, drawn when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HubId(pub [u8; 16]);

impl fmt::Debug for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubId({})", Guid(self.0).simple())
    }
}

/// One of the hub's fixed partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PartitionId(pub u16);

/// Numbers the groups of one partition, densely from 1; 0 is "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupNo(pub u64);

impl GroupNo {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a message was made: its place in the world, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The partition of the sender.
    pub partition: PartitionId,
    /// The group that made it.
    pub group: GroupNo,
    /// Its index among that group's outgoing messages.
    pub index: u32,
}

/// The number of an instance in the tables: partition in the top 16 bits, counter below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Iid(pub u64);

impl Iid {
    /// The `counter`-th instance of `partition`.
    pub fn new(partition: PartitionId, counter: u64) -> Self {
        assert!(counter < 1 << 48, "a partition has room for 2^48 instances");
        Self(u64::from(partition.0) << 48 | counter)
    }

    /// The partition it belongs to.
    pub fn partition(self) -> PartitionId {
        PartitionId((self.0 >> 48) as u16)
    }

    /// The counter below the partition.
    pub fn counter(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

/// The number of an action within an execution; events that record the action or answer it carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_of_an_id_never_changes() {
        let of = |id: &str, count| InstanceId::from_stored(id).partition(count).0;
        let found: Vec<_> = ["a", "order-7", "@counter@k", "\u{e4}\u{1f600}", ""]
            .iter()
            .map(|id| (of(id, 8), of(id, 32)))
            .collect();
        assert_eq!(
            found,
            [(7, 31), (3, 27), (0, 0), (0, 16), (2, 2)],
            "vectors of the format; a change loses instances"
        );
    }

    #[test]
    fn entity_ids_are_lower_cased_in_the_name_only() {
        let id = InstanceId::parse("@Counter@Key@x").unwrap();
        assert_eq!(id.as_str(), "@counter@Key@x");
        assert_eq!(id.entity_parts(), Some(("counter", "Key@x")));
        assert_eq!(id.kind(), Kind::Entity);
    }

    #[test]
    fn a_bad_id_is_answered_with_what_to_write() {
        let text = |id: &str| InstanceId::parse(id).unwrap_err().to_string();
        assert_eq!(text(""), "an instance id must not be empty; leave it out to get one made");
        assert_eq!(
            text("a/b"),
            "an instance id must not contain '/'; choose an id without `/`, `\\`, `#`, `?` and control characters"
        );
        assert_eq!(
            text(&"x".repeat(257)),
            "an instance id may have at most 256 characters and 1,024 bytes; this one has 257 and 257"
        );
        assert_eq!(text("@lonely"), "`@lonely` is not an entity id; write `@name@key`");
        assert_eq!(
            InstanceId::orchestration("@a@b").unwrap_err().to_string(),
            "an orchestration's id must not begin with `@`; such ids belong to entities"
        );
    }

    #[test]
    fn a_version_5_guid_matches_the_standard() {
        // The example of RFC 9562, appendix A.4.
        let dns = Guid([
            0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0, 0xc0, 0x4f, 0xd4, 0x30,
            0xc8,
        ]);
        assert_eq!(
            Guid::v5(dns, "www.example.com").to_string(),
            "2ed6657d-e927-568b-95e1-2665a8aea6a2"
        );
    }
}
