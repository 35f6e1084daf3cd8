//! What the disk gives to a log that does nothing but write: the bound of every other workload.
//!
//! Blocks of several sizes are written over a zero-filled file, each with its own flush, as a log writes its frames.

use std::{
    fs::OpenOptions,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    bench::{Context, Size, Workload},
    report::Sample,
};

const BLOCKS: [(usize, &str); 3] = [(4 << 10, "4 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")];

/// Writes and flushes without a store.
pub(crate) struct Raw;

impl Workload for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn run(&self, context: &Context<'_>) -> anyhow::Result<Vec<Sample>> {
        let total = match context.size {
            Size::Quick => 8 << 20,
            Size::Full => 64 << 20,
        };
        let mut samples = Vec::new();
        for (block, variant) in BLOCKS {
            let frames = (total / block).min(1000);
            let took = write(context.folder, block, frames)?.as_secs_f64();
            let frames = f64::from(frames as u32);
            let mebibytes = frames * f64::from(block as u32) / f64::from(1 << 20);
            samples.push(Sample::new(variant, "rate", "MiB/s", mebibytes / took));
            samples.push(Sample::new(
                variant,
                "frame",
                "flushes",
                took / frames / context.flush.as_secs_f64(),
            ));
        }
        Ok(samples)
    }
}

/// Time to write that many frames, each flushed before the next.
fn write(folder: &Path, block: usize, frames: usize) -> anyhow::Result<Duration> {
    let path = folder.join(format!("raw-{block}"));
    let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
    for _ in 0..frames {
        file.write_all(&vec![0; block])?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let frame = vec![1; block];
    let started = Instant::now();
    for _ in 0..frames {
        file.write_all(&frame)?;
        file.sync_data()?;
    }
    let took = started.elapsed();
    ensure!(
        file.metadata()?.len() == (block * frames) as u64,
        "{} grew while it was measured",
        path.display()
    );
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_size_gets_a_rate_and_a_ratio_to_the_flush() {
        let folder = crate::folder::fresh(None).expect("a folder");
        let context =
            Context { size: Size::Quick, folder: folder.path(), flush: Duration::from_micros(100) };
        let samples = Raw.run(&context).expect("runs");
        assert_eq!(samples.len(), 2 * BLOCKS.len());
        assert!(samples.iter().all(|sample| sample.value > 0.0), "{samples:?}");
    }
}
