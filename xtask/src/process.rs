//! Other programs: cargo and its helpers.
//!
//! P1  A program that fails becomes an error that names the command line.
//! P2  Output is passed on line by line as it comes; what is counted in it is only read, never held back.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Read, Write as _},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context as _, bail};

use crate::{counts::Counts, tree};

/// A line for the person at the terminal.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A command line on its way.
#[derive(Debug)]
pub(crate) struct Tool {
    program: OsString,
    args: Vec<OsString>,
    folder: Option<PathBuf>,
    variables: Vec<(&'static str, String)>,
}

impl Tool {
    /// The cargo that runs this program, at the root of the repository.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let args = args.iter().map(Into::into).collect();
        Self { program, args, folder: Some(tree::root()), variables: Vec::new() }
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// With these variables in its environment.
    pub(crate) fn variables(mut self, variables: &[(&'static str, String)]) -> Self {
        self.variables.extend_from_slice(variables);
        self
    }

    /// Where the caller stands instead of the root.
    pub(crate) fn here(mut self) -> Self {
        self.folder = None;
        self
    }

    pub(crate) fn run(self) -> anyhow::Result<()> {
        let status =
            self.command().status().with_context(|| format!("cannot run `{}`", self.line()))?;
        self.check(status)
    }

    /// Whether it can be run at all.
    pub(crate) fn is_there(&self) -> bool {
        self.command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs it and counts the tests of which it reports.
    pub(crate) fn run_tests(self) -> anyhow::Result<Counts> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run `{}`", self.line()))?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let counts = thread::scope(|scope| {
            let from_stdout = scope.spawn(|| pass_on(stdout));
            let from_stderr = pass_on(stderr);
            from_stdout.join().expect("reading lines does not panic") + from_stderr
        });
        let status = child.wait()?;
        self.check(status)?;
        Ok(counts)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    fn check(&self, status: ExitStatus) -> anyhow::Result<()> {
        if !status.success() {
            bail!("`{}` ended with {status}", self.line());
        }
        Ok(())
    }

    fn line(&self) -> String {
        let args = self.args.iter().map(|arg| arg.to_string_lossy());
        args.fold("cargo".to_owned(), |line, arg| line + " " + &arg)
    }
}

/// Prints lines as they come and counts the tests in them.
fn pass_on(output: impl Read) -> Counts {
    let mut lines = BufReader::new(output);
    let mut counts = Counts::default();
    let mut bytes = Vec::new();
    while lines.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end();
        counts += Counts::in_line(line);
        say(line);
        bytes.clear();
    }
    counts
}

/// Runs unit and integration tests of the selected packages, by nextest where it is installed.
pub(crate) fn tests(select: &[&str], args: &[OsString]) -> anyhow::Result<Counts> {
    if Tool::cargo(&["nextest", "--version"]).is_there() {
        let nextest = Tool::cargo(&["nextest", "run", "--no-tests=pass"]).args(select);
        return nextest.args(args).run_tests();
    }
    say("cargo-nextest is not installed; `cargo test` does its work, more slowly");
    let plain = Tool::cargo(&["test", "--tests", "--examples"]).args(select);
    plain.args(separated(args)).run_tests()
}

/// Runs the tests that are kept out of [`tests`] because they need something from outside.
pub(crate) fn outside_tests(
    select: &[&str],
    args: &[OsString],
    variables: &[(&'static str, String)],
) -> anyhow::Result<Counts> {
    let cargo = Tool::cargo(&["test", "--tests"]).args(select).args(["--", "--ignored"]);
    cargo.args(args).variables(variables).run_tests()
}

/// Runs the examples in the documentation of the selected packages.
pub(crate) fn doc_tests(select: &[&str], args: &[OsString]) -> anyhow::Result<Counts> {
    Tool::cargo(&["test", "--doc"]).args(select).args(separated(args)).run_tests()
}

/// Cargo hands what follows `--` to the tests.
fn separated(args: &[OsString]) -> Vec<OsString> {
    if args.is_empty() { Vec::new() } else { [&[OsString::from("--")], args].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_arguments() {
        let error = Tool::cargo(&["there-is-no-such-command"]).run().expect_err("cargo refuses");
        assert!(
            error.to_string().starts_with("`cargo there-is-no-such-command` ended with"),
            "{error}"
        );
    }

    #[test]
    fn tests_are_counted_while_lines_pass() {
        let output =
            "running 2 tests\n\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\n";
        assert_eq!(pass_on(output.as_bytes()), Counts { passed: 2, failed: 0, skipped: 1 });
    }
}
