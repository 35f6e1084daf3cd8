//! Rows on their way to Azure Monitor.
//!
//! S1  What a request brought is noted before the next one is sent: after a crash only the request whose answer was lost
//!     is sent again.
//! S2  A batch that cannot be sent stays in the spool, and others go on; where the service does not answer at all, the
//!     rest waits for the next call.
//! S3  Nothing is sent once the orchestration that asked for it has ended.

use std::time::{Duration, Instant};

use everstep::{ActivityContext, Failure};
use everstep_azure::{
    logs::{Ingestion, Limits, PackError, Packer, UploadError},
    retry::{Passing as _, Policy, retry},
};

use crate::{
    run::{Sending, Sent},
    settings::Mode,
    spool::batches::{self, Batch, Cut},
    work::Inventory,
};

/// One activity sends for no longer; the next goes on.
const TIME: Duration = Duration::from_mins(1);

/// Why a batch stays.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("{0}")]
    Spool(Failure),
    #[error("the scan has ended; nothing more is sent")]
    Ended,
}

/// Sends the batches of a share.
pub(crate) async fn send(
    inventory: &Inventory,
    ctx: &ActivityContext,
    sending: Sending,
) -> Result<Sent, Failure> {
    let Some(ingestion) = &inventory.ingestion else {
        return Ok(sent(0, "rows stay in the local copy".to_owned(), true));
    };
    let share = inventory.share(sending.share).await?;
    let (size, cut) = (share.scan.batch_size, if sending.rest { Cut::Rest } else { Cut::Full });
    let (began, mut records, mut trouble) = (Instant::now(), 0, None);
    loop {
        if began.elapsed() > TIME {
            let message = format!("{records} records sent; there are more");
            return Ok(Sent { has_more: true, ..sent(records, message, trouble.is_none()) });
        }
        let id = share.id;
        let batch = inventory.spool.write(move |db| batches::next(db, id, size, cut)).await?;
        let Some(batch) = batch else { break };
        let batch_id = batch.id;
        match send_batch(inventory, ingestion, ctx, batch, &mut records).await {
            Ok(()) => {}
            Err(Error::Spool(failure)) => return Err(failure),
            Err(Error::Ended) => return Ok(sent(records, Error::Ended.to_string(), false)),
            Err(error) => {
                let cause = error.to_string();
                tracing::warn!(target: crate::LOG, share = %share.name, "a batch stays in the spool: {cause}");
                let noted = cause.clone();
                inventory.spool.write(move |db| batches::note_failed(db, batch_id, &noted)).await?;
                trouble = Some(cause);
                if matches!(error, Error::Upload(error) if error.is_worth_retrying()) {
                    break;
                }
            }
        }
    }
    if sending.rest && matches!(inventory.settings.mode, Mode::Azure(_)) {
        let id = share.id;
        inventory.spool.write(move |db| batches::forget_sent(db, id)).await?;
    }
    let success = trouble.is_none();
    Ok(sent(records, trouble.unwrap_or_else(|| format!("{records} records sent")), success))
}

fn sent(records: u64, message: String, success: bool) -> Sent {
    Sent { success, records, message, has_more: false }
}

async fn send_batch(
    inventory: &Inventory,
    ingestion: &Ingestion,
    ctx: &ActivityContext,
    batch: Batch,
    records: &mut u64,
) -> Result<(), Error> {
    let (id, mut arrived) = (batch.id, batch.sent);
    let read = inventory.spool.read(move |db| batches::rows(db, &batch)).await;
    let rows = read.map_err(Error::Spool)?;
    let mut packer = Packer::new(Limits::LOGS_INGESTION);
    let mut requests = Vec::new();
    for row in rows {
        requests.extend(packer.push(row.to_string().as_bytes())?);
    }
    requests.extend(packer.finish());
    for request in requests {
        if has_ended(inventory, ctx).await {
            return Err(Error::Ended);
        }
        retry(&Policy::default(), || ingestion.upload(&request)).await?;
        arrived += request.records() as u64;
        *records += request.records() as u64;
        let noted = inventory.spool.write(move |db| batches::note_sent(db, id, arrived)).await;
        noted.map_err(Error::Spool)?;
    }
    Ok(())
}

/// Whether nobody wants the rows sent any more.
async fn has_ended(inventory: &Inventory, ctx: &ActivityContext) -> bool {
    let view = inventory.services.client().get(ctx.instance_id()).await;
    view.is_ok_and(|view| view.status.is_terminal())
}
