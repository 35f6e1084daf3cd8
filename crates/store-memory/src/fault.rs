//! Making a coming fold fail, for simulators and tests.

use std::path::PathBuf;

use everstep_store::Error;

/// How a fold fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writing fails and nothing was written.
    Before,
    /// Writing is reported as failed although everything was written.
    After,
    /// There is no space; nothing was written, and the same folds may be given again.
    DiskFull,
}

/// Which of the coming folds fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// How many folds succeed before.
    pub(crate) spare: u32,
}

/// The fault that strikes now; counts the plan down.
pub(crate) fn strike(plan: &mut Option<Plan>) -> Option<Fault> {
    match plan {
        None => None,
        Some(Plan { fault, spare: 0 }) => {
            let fault = *fault;
            *plan = None;
            Some(fault)
        }
        Some(Plan { spare, .. }) => {
            *spare -= 1;
            None
        }
    }
}

impl Fault {
    pub(crate) fn error(self) -> Error {
        let (folder, doing) = (PathBuf::from("memory"), "folding");
        match self {
            Self::DiskFull => Error::DiskFull { folder, doing },
            Self::Before | Self::After => {
                Error::WriteFailed { folder, doing, source: "a planned fault".into() }
            }
        }
    }
}
