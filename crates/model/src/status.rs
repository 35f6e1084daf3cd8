//! Where an instance stands.

use std::fmt;

/// The public status of an instance, with the numbers Durable Functions gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// A first turn has been taken, the end not reached. Entities are always here.
    Running = 0,
    /// The orchestrator returned.
    Completed = 1,
    /// Between two generations; stored instances never show it.
    ContinuedAsNew = 2,
    /// The orchestrator failed.
    Failed = 3,
    /// Accepted as terminal; never produced.
    Canceled = 4,
    /// A client ended it.
    Terminated = 5,
    /// The start is accepted, no turn taken yet.
    Pending = 6,
    /// Held until resumed.
    Suspended = 7,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Completed,
        Self::ContinuedAsNew,
        Self::Failed,
        Self::Canceled,
        Self::Terminated,
        Self::Pending,
        Self::Suspended,
    ];

    /// Whether no turn will follow unless someone starts, rewinds or restarts the instance.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Terminated)
    }

    /// The name that users see and write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::ContinuedAsNew => "ContinuedAsNew",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Terminated => "Terminated",
            Self::Pending => "Pending",
            Self::Suspended => "Suspended",
        }
    }

    /// By number, as stored.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// By name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
