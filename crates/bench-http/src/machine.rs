//! What the kernel says of processes and of the disk.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// CPU seconds that a process has used.
pub(crate) fn cpu_seconds(pid: &str) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, also spaces.
    let (_, after) = stat.rsplit_once(')').context("/proc/PID/stat is not as expected")?;
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory of a process in MiB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes.context("/proc/PID/status is not as expected")?.parse()?;
    Ok(kibibytes / 1024.0)
}

/// The median time of a flush of one overwritten block of 4 KiB.
pub(crate) fn flush(folder: &Path) -> anyhow::Result<Duration> {
    const BLOCK: usize = 4096;
    const FLUSHES: usize = 200;
    let mut file = File::create(folder.join("flush"))?;
    file.write_all(&vec![0; BLOCK * 16])?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(FLUSHES);
    for number in 0..FLUSHES {
        file.seek(SeekFrom::Start((number % 16 * BLOCK) as u64))?;
        let began = Instant::now();
        file.write_all(&[number as u8; BLOCK])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}
