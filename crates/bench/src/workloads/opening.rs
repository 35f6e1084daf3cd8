//! W6: opening an empty store, and one of many finished instances.
//!
//! O1  A process of its own opens the store: one that has just made a million instances keeps memory from that.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context as _, ensure};
use everstep::OrchestratorHandle as _;
use everstep_model::InstanceId;

use super::{
    bed::{Bed, EMPTY, check_completed},
    stores::{finish_many, finished, mebibytes, millis},
};
use crate::{
    bench::{Context, Workload},
    limits::Memory,
    report::{self, Sample},
};

/// How long until a client has an answer, and what an idle host takes.
pub(crate) struct Opening;

impl Workload for Opening {
    fn name(&self) -> &'static str {
        "W6"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let (empty, full) = (context.folder.join("empty"), context.folder.join("full"));
        std::fs::create_dir_all(&empty)?;
        std::fs::create_dir_all(&full)?;
        let mut samples = opened_apart("empty", &empty)?;
        let count = finished(context.size);
        finish_many(&full, count)?;
        samples.extend(opened_apart(&count.to_string(), &full)?);
        check_completed(&full, EMPTY.name(), u64::from(count))?;
        Ok(samples)
    }
}

/// Opens a store and says what that took; what the other process runs.
pub(crate) fn open(folder: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let bed = Bed::open(folder)?;
    // Whether or not there is such an instance, the answer shows that the host is ready.
    drop(
        bed.block_on(bed.client().get(&InstanceId::orchestration(&format!("{}-0", EMPTY.name()))?)),
    );
    let ready = millis(began.elapsed());
    report::print(&format!("{ready} {}\n", mebibytes(Memory::read()?.resident)))?;
    bed.close()
}

fn opened_apart(variant: &str, folder: &Path) -> anyhow::Result<Vec<Sample>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let opened = Command::new(program).arg("open").arg("--dir").arg(folder).output()?;
    let said = String::from_utf8_lossy(&opened.stdout);
    ensure!(
        opened.status.success(),
        "the process that opens the store failed: {}",
        String::from_utf8_lossy(&opened.stderr)
    );
    let (ready, resident) =
        said.trim().split_once(' ').context("the process that opens the store says two figures")?;
    Ok(vec![
        Sample::new(variant, "ready", "ms", ready.parse()?),
        Sample::new(variant, "idle rss", "MiB", resident.parse()?),
    ])
}
