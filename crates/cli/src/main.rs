//! The binary `everstep`: starts an app, and asks, steers and repairs its instances.
//!
//! B1  Everything but `start` and `doctor` speaks the public HTTP API; where no host runs, the same handlers answer in
//!     this process, on the hub's files, and change nothing.
//! B2  Results go to stdout and everything else to stderr; the exit codes are an interface ([`fault::Exit`]).
//!
//! Start at [`args`], which is all that can be said, then `verbs/mod.rs`.

mod args;
mod client;
mod complete;
mod console;
mod door;
mod fault;
mod new;
mod start;
#[cfg(test)]
mod testing;
mod time;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, FunctionVerb, HostVerb};
use console::Console;
use fault::{Exit, Fault};

fn main() -> ExitCode {
    complete::answer_shell();
    match Cli::parse().command {
        Command::Start(start) => start::start(*start),
        Command::Host(host) => match host.command {
            HostVerb::Start(start) => start::start(*start),
        },
        Command::New(new) => plainly(|console| new::new(&new, console)),
        Command::Function(function) => match function.command {
            FunctionVerb::New(new) => plainly(|console| new::new(&new, console)),
        },
        Command::Init(init) => plainly(|console| new::init(&init, console)),
        Command::Completions(completions) => {
            plainly(|console| console.data(&complete::script(completions.shell)?))
        }
        command => ask(command),
    }
}

/// Runs what needs no hub.
fn plainly(verb: impl FnOnce(&mut Console) -> Result<(), Fault>) -> ExitCode {
    let mut console = Console::of_process(args::Output::default());
    ended(verb(&mut console).map(|()| Exit::Ok), &mut console)
}

fn ask(command: Command) -> ExitCode {
    let mut world = verbs::World::of_process(command.output());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = match runtime {
        Ok(runtime) => runtime.block_on(verbs::run(command, &mut world)),
        Err(error) => Err(Fault::error(format!("cannot start: {error}"))),
    };
    ended(ran, &mut world.console)
}

fn ended(ran: Result<Exit, Fault>, console: &mut Console) -> ExitCode {
    let exit = ran.unwrap_or_else(|fault| {
        console.fault(&fault);
        fault.exit
    });
    exit.into()
}
