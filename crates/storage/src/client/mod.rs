//! Queues and blobs of an account, over HTTPS or within the process.
//!
//! C1  A call is repeated when the service or the network fails for a moment. A message may therefore be put twice, and a
//!     message that was got and lost on the way comes back after its visibility timeout: at least once, never at most.
//! C2  No error holds a key, a signature or a query.
//! C3  Within the process ([`crate::service::Service::queues`]) the same requests go to the same code without a socket.
//!
//! Absent on purpose: tokens of identities, append and page blobs, copies. Start at [`Queues`] and [`Blobs`].

mod blobs;
mod encoding;
mod error;
mod queues;
mod transport;

pub use blobs::{
    BlobPage, BlobProperties, BlobStream, Blobs, Condition, ListBlobs, ListedBlob, PutBlob,
};
pub use encoding::{Encoding, NotBase64, NotText};
pub use error::Error;
pub use queues::{
    Created, Message, PutMessage, PutReceipt, QueueProperties, Queues, TimeToLive, UpdateReceipt,
};
pub use transport::{Backoff, ClientOptions};
pub(crate) use transport::{Transport, random, random_id};

/// Names and values that a queue, container or blob carries for its users.
pub type Metadata = std::collections::BTreeMap<String, String>;
