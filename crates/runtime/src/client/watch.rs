//! Watching an instance: a view whenever something that can be seen of it has changed, without polling.

use everstep_model::InstanceId;

use super::{Client, Error, View};
use crate::partition::{Request, Response, Seen};

/// Watches one instance. Dropping it ends the watch.
#[derive(Clone)]
pub struct Watch {
    client: Client,
    id: InstanceId,
    seen: Option<Seen>,
}

impl Client {
    /// Watches an instance.
    pub fn watch(&self, id: &InstanceId) -> Watch {
        Watch { client: self.clone(), id: id.clone(), seen: None }
    }
}

impl Watch {
    /// How the instance is: the first time at once, then when its status, its custom status or its execution is another
    /// one than before. What changes and changes back in between is not seen. `None` after the end was told.
    ///
    /// Dropping the future before it is done loses nothing.
    pub async fn next(&mut self) -> Result<Option<View>, Error> {
        let view = match &self.seen {
            Some(seen) if seen.status.is_terminal() => return Ok(None),
            None => self.client.get(&self.id).await?,
            Some(seen) => {
                let request = Request::Watch(self.id.clone(), Box::new(seen.clone()));
                match self.client.ask(&self.id, request).await? {
                    Response::Instance(instance) => {
                        self.client.with_values(View::of(*instance)).await?
                    }
                    _ => self.client.get(&self.id).await?,
                }
            }
        };
        self.seen = Some(Seen {
            execution_id: view.execution_id.clone(),
            status: view.status,
            custom_status: view.custom_status.clone(),
        });
        Ok(Some(view))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("id", &self.id)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
