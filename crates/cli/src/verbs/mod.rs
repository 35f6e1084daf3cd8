//! The verbs, each a function from its arguments to an exit code.

mod admin;
mod change;
mod doctor;
mod durable;
mod export;
mod import;
mod list;
mod logs;
mod many;
mod replay;
mod show;
mod source;
mod story;
#[cfg(test)]
mod tests;
mod trace;
mod wait;

use crate::{
    args::{Command, Connect, KeysVerb, Output, Watch},
    client::Api,
    console::Console,
    door,
    fault::{Exit, Fault},
};

/// What a verb has to do with.
pub(crate) struct World {
    /// The printer.
    pub(crate) console: Console,
    /// Handlers that stand in for every hub.
    #[cfg(test)]
    pub(crate) router: Option<(axum::Router, crate::client::Life)>,
}

impl World {
    /// The process's own.
    pub(crate) fn of_process(output: Output) -> Self {
        Self {
            console: Console::of_process(output),
            #[cfg(test)]
            router: None,
        }
    }

    /// The API of the hub that the arguments mean.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests keep their handlers there"))]
    fn api(&self, connect: &Connect) -> Result<Api, Fault> {
        #[cfg(test)]
        if let Some((router, life)) = &self.router {
            return Ok(Api::in_process(router.clone(), *life));
        }
        door::connect(connect)
    }

    /// The same, but a hub that nobody runs is opened to put instances into it.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests keep their handlers there"))]
    fn api_to_write(&self, connect: &Connect) -> Result<Api, Fault> {
        #[cfg(test)]
        if let Some((router, life)) = &self.router {
            return Ok(Api::in_process(router.clone(), *life));
        }
        door::connect_to_write(connect)
    }
}

impl Command {
    /// How the verb's results are printed.
    pub(crate) fn output(&self) -> Output {
        match self {
            Self::Ls(verb) => verb.common.output,
            Self::Counts(verb) => verb.common.output,
            Self::Show(verb) => verb.common.output,
            Self::History(verb) | Self::Trace(verb) => verb.common.output,
            Self::Why(verb) => verb.common.output,
            Self::Logs(verb) => verb.common.output,
            Self::Wait(verb) => verb.common.output,
            Self::Run(verb) => verb.common.output,
            Self::Raise(verb) => verb.common.output,
            Self::Signal(verb) => verb.common.output,
            Self::Terminate(verb) => verb.many.common.output,
            Self::Suspend(verb) | Self::Resume(verb) | Self::Rewind(verb) => {
                verb.many.common.output
            }
            Self::Restart(verb) => verb.common.output,
            Self::Unpark(verb) => verb.common.output,
            Self::Purge(verb) => verb.many.common.output,
            Self::Sql(verb) => verb.common.output,
            Self::Import(verb) => verb.common.output,
            Self::Replay(verb) => verb.output,
            Self::Preflight(verb) => verb.common.output,
            Self::Backup(verb) => verb.common.output,
            Self::Release(common) => common.output,
            Self::Keys(keys) => match &keys.command {
                KeysVerb::List { common, .. }
                | KeysVerb::Set { common, .. }
                | KeysVerb::Delete { common, .. } => common.output,
            },
            Self::Doctor(verb) => verb.common.output,
            Self::Start(_)
            | Self::Host(_)
            | Self::New(_)
            | Self::Init(_)
            | Self::Function(_)
            | Self::Durable(_)
            | Self::Export(_)
            | Self::Completions(_) => Output::default(),
        }
    }
}

/// Runs a verb that asks a hub.
pub(crate) async fn run(command: Command, world: &mut World) -> Result<Exit, Fault> {
    match command {
        Command::Durable(durable) => durable::run(durable.verb, world).await,
        Command::Ls(ls) => {
            repeated(ls.watch, world, async |world| list::ls(&ls, world).await).await
        }
        Command::Counts(counts) => {
            repeated(counts.watch, world, async |world| list::counts(&counts, world).await).await
        }
        Command::Sql(sql) => {
            let query = change::text_argument(&sql.query)?;
            repeated(sql.watch, world, async |world| list::sql(&sql, &query, world).await).await
        }
        Command::Show(show) => {
            repeated(show.watch, world, async |world| show::show(&show, world).await).await
        }
        Command::History(look) => show::history(&look, world).await,
        Command::Why(why) => show::why(&why, world).await,
        Command::Trace(look) => trace::trace(&look, world).await,
        Command::Logs(logs) => logs::logs(&logs, world).await,
        Command::Wait(wait) => wait::wait(&wait, world).await,
        Command::Run(run) => change::run(&run, world).await,
        Command::Raise(raise) => change::raise(&raise, world).await,
        Command::Signal(signal) => change::signal(&signal, world).await,
        Command::Restart(restart) => change::restart(&restart, world).await,
        Command::Unpark(unpark) => change::unpark(&unpark, world).await,
        Command::Terminate(terminate) => many::terminate(terminate, world).await,
        Command::Suspend(steer) => many::steer(many::Verb::Suspend, steer, world).await,
        Command::Resume(steer) => many::steer(many::Verb::Resume, steer, world).await,
        Command::Rewind(steer) => many::steer(many::Verb::Rewind, steer, world).await,
        Command::Purge(purge) => many::purge(purge, world).await,
        Command::Export(export) => export::export(&export, world).await,
        Command::Import(import) => import::import(&import, world).await,
        Command::Replay(replay) => replay::replay(&replay, world).await,
        Command::Preflight(preflight) => replay::preflight(&preflight, world).await,
        Command::Backup(backup) => admin::backup(&backup, world).await,
        Command::Release(common) => admin::release(&common, world).await,
        Command::Keys(keys) => admin::keys(keys.command, world).await,
        Command::Doctor(doctor) => doctor::doctor(&doctor, world).await,
        Command::Start(_)
        | Command::Host(_)
        | Command::New(_)
        | Command::Init(_)
        | Command::Function(_)
        | Command::Completions(_) => unreachable!("these ask no hub and are run by `main`"),
    }
}

/// Runs a round of a verb once, or again and again.
async fn repeated(
    watch: Watch,
    world: &mut World,
    mut round: impl AsyncFnMut(&mut World) -> Result<Exit, Fault>,
) -> Result<Exit, Fault> {
    let Some(pause) = watch.watch else { return round(world).await };
    loop {
        world.console.redraw_all();
        round(world).await?;
        tokio::time::sleep(pause).await;
    }
}
