//! The kill loop: a process under load is killed, its store reopened, and what it holds compared with what was promised.
//!
//! K1  The model lives in this process, the store in another: a kill cannot take both.
//! K2  The victim says a word only after the promise was made to it; a word that reached the pipe before the kill counts.
//! K3  The next victim tells all that it holds before it works; that is the comparison.
//!
//! A kill shows what the page cache still had, so this says nothing of power loss; the simulated disk does.

mod model;
mod word;

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::{folder, report, workloads};
use model::Model;
pub(crate) use word::{Phase, Word, say};

/// How a victim opens the store in the folder.
pub(crate) type Load = fn(&Path) -> anyhow::Result<Opened>;

/// A store that was opened again.
pub(crate) struct Opened {
    /// Keys and values that are in it.
    pub(crate) holds: Vec<(String, String)>,
    /// Works, and [`say`]s what it was promised, until it is killed. The number of the round makes its keys new.
    pub(crate) work: Work,
}

/// What a victim does after it told what it holds.
pub(crate) type Work = Box<dyn FnOnce(u32) -> anyhow::Result<()>>;

/// How long a victim may take to open its store.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long to go on.
    #[arg(long, default_value_t = 2)]
    minutes: u64,
    /// Where the store is made; a folder on a real disk.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct VictimOptions {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    round: u32,
}

/// The process that is killed.
pub(crate) fn victim(options: &VictimOptions) -> anyhow::Result<()> {
    let Opened { holds, work } = workloads::LOAD(&options.dir)?;
    for (key, value) in holds {
        say(&Word::Holds { key, value });
    }
    say(&Word::Ready);
    work(options.round)
}

/// The process that kills.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = folder::fresh(options.dir.as_deref())?;
    let program = env::current_exe().context("cannot find this program")?;
    let until = Instant::now() + Duration::from_mins(options.minutes);
    let mut model = Model::default();
    let verdict = torture(&mut model, until, |round| {
        let mut command = Command::new(&program);
        command.arg("victim").arg("--dir").arg(folder.path()).args(["--round", &round.to_string()]);
        command
    });
    report::print(&model.summary())?;
    if verdict.is_err() {
        report::progress(&format!(
            "the store is kept for inspection in {}",
            folder.keep().display()
        ));
    }
    verdict
}

fn torture(
    model: &mut Model,
    until: Instant,
    victim: impl Fn(u32) -> Command,
) -> anyhow::Result<()> {
    for round in 1.. {
        let last = Instant::now() >= until;
        let mut command = victim(round);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a victim")?;
        let lives = if last { Duration::ZERO } else { life(round) };
        one_life(model, child, lives).with_context(|| format!("in round {round}"))?;
        if last {
            break;
        }
    }
    Ok(())
}

/// From the answers of the former life to the kill.
fn one_life(model: &mut Model, child: Child, lives: Duration) -> anyhow::Result<()> {
    let mut victim = Guarded(child);
    let words = listen(&mut victim.0);
    model.reopened();
    hear_until_ready(model, &words)?;
    model.check()?;
    hear_for(model, &words, lives)?;
    victim.0.kill().context("cannot kill the victim")?;
    victim.0.wait()?;
    while let Ok(word) = words.recv() {
        model.hear(word?)?;
    }
    model.killed();
    Ok(())
}

/// A process that does not outlive a failed check.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The words of a victim, in order; ends with its output.
fn listen(child: &mut Child) -> Receiver<anyhow::Result<Word>> {
    let output = child.stdout.take().expect("stdout is piped");
    let (sender, words) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = String::new();
        // A line without its end was cut off by the kill, so nothing was promised by it.
        while lines.read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
            if sender.send(line.trim_end_matches('\n').parse()).is_err() {
                break;
            }
            line.clear();
        }
    });
    words
}

fn hear_until_ready(
    model: &mut Model,
    words: &Receiver<anyhow::Result<Word>>,
) -> anyhow::Result<()> {
    loop {
        let word = words.recv_timeout(PATIENCE).context("the victim did not open its store")??;
        if word == Word::Ready {
            return Ok(());
        }
        model.hear(word)?;
    }
}

fn hear_for(
    model: &mut Model,
    words: &Receiver<anyhow::Result<Word>>,
    time: Duration,
) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    loop {
        match words.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(word) => model.hear(word?)?,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("the victim ended by itself"),
        }
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

/// Between 10 ms and 2 s, other in each round and the same in each run.
fn life(round: u32) -> Duration {
    let scattered = u64::from(round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Duration::from_millis(10 + scattered % 1990)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A victim that says the given lines and then waits to be killed.
    fn saying(lines: &'static str) -> impl Fn(u32) -> Command {
        move |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "printf '%s\\n' \"$0\"; exec tail -f /dev/null", lines]);
            command
        }
    }

    fn verdict(first: &'static str, then: &'static str) -> (Model, anyhow::Result<()>) {
        let mut model = Model::default();
        let mut result = Ok(());
        for lines in [first, then] {
            let child = saying(lines)(0).stdout(Stdio::piped()).spawn().expect("sh is there");
            result = result.and_then(|()| one_life(&mut model, child, Duration::from_millis(1)));
        }
        (model, result)
    }

    #[test]
    fn a_store_that_keeps_its_promises_passes() {
        let (model, result) = verdict("ready\ndone a 1", "holds a 1\nready");
        result.expect("nothing was lost");
        assert_eq!(model.summary().lines().next(), Some("kills                    2"));
    }

    #[test]
    fn a_lost_promise_ends_the_loop() {
        let (_, result) = verdict("ready\ndone a 1", "ready");
        assert_eq!(
            result.expect_err("a is lost").to_string(),
            "`a` was acknowledged as `1` and is gone"
        );
    }

    #[test]
    fn lives_differ_and_stay_short() {
        let lives: Vec<Duration> = (1..100).map(life).collect();
        assert!(lives.iter().all(|life| (10..2000).contains(&life.as_millis())));
        assert!(lives.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
