//! Where files are: folders of this machine, or shares of the file service.
//!
//! F1  A source lists in pages of at most [`PAGE`] entries and holds no more than a page of a directory at a time.
//! F2  A page is taken by the spool before the next one is asked for by its marker.

pub(crate) mod azure;
pub(crate) mod hash;
pub(crate) mod local;

use everstep::Failure;

/// Entries of a page.
pub(crate) const PAGE: usize = 5000;
/// Directories that are listed at the same time.
pub(crate) const LANES: usize = 10;

/// The kind of failures of a share that is gone, or that may not be read any more.
pub(crate) const SHARE_LOST: &str = "ShareLost";

/// The failure of a share that is gone.
pub(crate) fn lost(share: &str, cause: impl std::fmt::Display) -> Failure {
    Failure::new(SHARE_LOST, format!("the share `{share}` cannot be read: {cause}")).fatal()
}
