//! How large things may become.

/// Bounds of values, histories and turns. Passing one fails the instance with a reason; nothing is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of one value.
    pub value_bytes: usize,
    /// The inline bytes of one history.
    pub history_bytes: u64,
    /// The encoded bytes of one turn.
    pub commit_bytes: usize,
    /// Values longer than this are stored apart.
    pub inline_bytes: usize,
    /// The UTF-16 bytes of a custom status.
    pub custom_status_bytes: usize,
    /// The operations an entity runs in one turn.
    pub entity_batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            value_bytes: 64 << 20,
            history_bytes: 256 << 20,
            commit_bytes: 64 << 20,
            inline_bytes: 8 << 10,
            custom_status_bytes: 16 << 10,
            entity_batch: 5_000,
        }
    }
}
