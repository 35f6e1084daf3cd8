//! What the machine can do and what a run took from it.
//!
//! L1  The flush is fdatasync of a 4 KiB overwrite in a file that was zero-filled before. An append that grows the file
//!     costs more, and would flatter every ratio to it.
//! L2  Readings are differences of the kernel's counters for this process, or for the machine where it says so.
//!
//! Linux only: all figures but the flush come from `/proc`.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;

const BLOCK: usize = 4096;
const BLOCKS: usize = 256;
const FLUSHES: usize = 200;

/// Ticks of the times in `/proc`, a second. Linux shows them in this unit whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// A file that exists only to be flushed.
#[derive(Debug)]
pub(crate) struct FlushProbe {
    file: File,
    next: usize,
}

impl FlushProbe {
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("flush-probe");
        let mut file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        file.write_all(&vec![0; BLOCK * BLOCKS])?;
        file.sync_all().with_context(|| format!("cannot flush {}", path.display()))?;
        Ok(Self { file, next: 0 })
    }

    /// The time of each of a number of flushes.
    pub(crate) fn sample(&mut self) -> anyhow::Result<Vec<Duration>> {
        (0..FLUSHES).map(|_| self.flush()).collect()
    }

    fn flush(&mut self) -> anyhow::Result<Duration> {
        self.next = (self.next + 1) % BLOCKS;
        let started = Instant::now();
        self.file.seek(SeekFrom::Start((self.next * BLOCK) as u64))?;
        self.file.write_all(&[self.next as u8; BLOCK])?;
        self.file.sync_data()?;
        Ok(started.elapsed())
    }
}

/// The kernel's counters at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Meter {
    /// CPU seconds of this process.
    pub(crate) cpu: f64,
    /// Seconds that a hypervisor gave to others, all processors of the machine together.
    pub(crate) steal: f64,
    /// Seconds of all processors of the machine, idle ones included.
    pub(crate) machine: f64,
    /// Bytes this process gave to the disk.
    pub(crate) written: u64,
}

impl Meter {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let (steal, machine) =
            machine_times(&proc("stat")?).context("/proc/stat is not as expected")?;
        Ok(Self {
            cpu: cpu_seconds(&proc("self/stat")?).context("/proc/self/stat is not as expected")?,
            steal,
            machine,
            // A container may keep this counter to itself.
            written: proc("self/io")
                .ok()
                .and_then(|text| number(&text, "write_bytes:"))
                .unwrap_or(0),
        })
    }

    /// What came since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            steal: self.steal - earlier.steal,
            machine: self.machine - earlier.machine,
            written: self.written.saturating_sub(earlier.written),
        }
    }

    /// The part of the machine's time that others got, in percent.
    pub(crate) fn steal_percent(&self) -> f64 {
        if self.machine > 0.0 { 100.0 * self.steal / self.machine } else { 0.0 }
    }
}

/// Memory of this process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// In use.
    pub(crate) resident: u64,
    /// The most since the process began, or since [`forget_peak`].
    pub(crate) peak: u64,
}

impl Memory {
    pub(crate) fn read() -> anyhow::Result<Self> {
        Self::of(&proc("self/status")?).context("/proc/self/status is not as expected")
    }

    fn of(status: &str) -> Option<Self> {
        Some(Self {
            resident: number(status, "VmRSS:")? << 10,
            peak: number(status, "VmHWM:")? << 10,
        })
    }
}

/// Lets the peak begin anew, so that each workload has its own; without effect where the kernel does not allow it.
pub(crate) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn proc(name: &str) -> anyhow::Result<String> {
    let path = Path::new("/proc").join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The first number after a key at the beginning of a line.
fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// User and system time. The process name may hold spaces and parentheses, so counting begins after the last one.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Steal time and total time. Guest time, in the ninth and tenth place, is part of user time.
fn machine_times(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<f64> =
        line.split_whitespace().take(8).filter_map(|time| time.parse().ok()).collect();
    let total: f64 = times.iter().sum();
    Some((times.get(7)? / TICKS_PER_SECOND, total / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_parentheses() {
        let stat = "42 (a) b (c)) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn steal_is_the_eighth_time_and_guests_are_not_counted_twice() {
        let stat = "cpu  100 0 100 700 0 0 0 100 50 0\ncpu0 1 2 3\n";
        assert_eq!(machine_times(stat), Some((1.0, 10.0)));
        let meter = Meter { cpu: 0.0, steal: 1.0, machine: 10.0, written: 0 };
        assert!((meter.steal_percent() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(Memory::of(status), Some(Memory { resident: 1 << 20, peak: 2 << 20 }));
    }

    #[test]
    fn this_machine_can_be_read() {
        let before = Meter::read().expect("readable");
        let memory = Memory::read().expect("readable");
        assert!(memory.peak >= memory.resident && memory.resident > 0);
        assert!(Meter::read().expect("readable").since(&before).cpu >= 0.0);
    }

    #[test]
    fn the_probe_flushes_as_often_as_it_says() {
        let folder = crate::folder::fresh(None).expect("a folder");
        let mut probe = FlushProbe::create(folder.path()).expect("a probe");
        assert_eq!(probe.sample().expect("flushes").len(), FLUSHES);
        assert_eq!(
            folder.path().join("flush-probe").metadata().expect("is there").len(),
            (BLOCK * BLOCKS) as u64
        );
    }
}
