//! The table of archives.

use crate::{Archive, message};

// frozen
message!(Archive {
    1 id, 2 execution, 3 execution_id, 4 created, 5 updated, 6 completed, 7 custom_status, 8 state, 9 events,
});
