//! `terminate`, `suspend`, `resume`, `rewind` and `purge`: some instances by id, or all that match, as a job of the host.
//!
//! M1  Without ids, a filter or `--all` nothing happens.
//! M2  A dry run and the job have the same filter, so that the one tells what the other does.

use std::time::Duration;

use http::Method;

use super::{World, change::Outcome, list, source::is_end, wait};
use crate::{
    args::{Filter, Format, Many, Purge, Steer, Terminate},
    client::{Api, Call},
    console::{Column, Console, Item, plain, visible},
    fault::{Exit, Fault},
};

/// How many ids a dry run shows.
const SAMPLE: usize = 10;
/// How often the job is asked how far it is.
const LOOK: Duration = Duration::from_secs(1);
const SUMMARY: &[Column] = &[
    plain("VERB", "verb"),
    plain("DONE", "done"),
    plain("SKIPPED", "skipped"),
    plain("FAILED", "failed"),
];

/// What is done to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// End it.
    Terminate,
    /// Hold it.
    Suspend,
    /// Let it go on.
    Resume,
    /// Run its failed part again.
    Rewind,
    /// Remove it.
    Purge,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "terminate",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Rewind => "rewind",
            Self::Purge => "purge",
        }
    }

    fn past(self) -> &'static str {
        match self {
            Self::Terminate => "terminated",
            Self::Suspend => "suspended",
            Self::Resume => "resumed",
            Self::Rewind => "rewound",
            Self::Purge => "purged",
        }
    }

    /// The statuses that it can be done to.
    fn statuses(self) -> &'static [&'static str] {
        match self {
            Self::Terminate => &["Pending", "Running", "Suspended", "ContinuedAsNew"],
            Self::Suspend => &["Pending", "Running", "ContinuedAsNew"],
            Self::Resume => &["Suspended"],
            Self::Rewind => &["Failed"],
            Self::Purge => &["Completed", "Failed", "Terminated", "Canceled"],
        }
    }

    /// Whether it cannot be taken back.
    fn destroys(self) -> bool {
        matches!(self, Self::Terminate | Self::Purge)
    }
}

/// `everstep terminate`
pub(crate) async fn terminate(args: Terminate, world: &mut World) -> Result<Exit, Fault> {
    let reason = args.reason.map(|reason| ("reason".to_owned(), reason));
    if args.no_recursive && args.many.ids.is_empty() {
        return Err(Fault::usage("--no-recursive is for instances that you name")
            .remedy("a job for all that match a filter ends their sub-orchestrations as well"));
    }
    let recursive = args.no_recursive.then(|| ("recursive".to_owned(), "false".to_owned()));
    let query = reason.into_iter().chain(recursive).collect();
    Work { verb: Verb::Terminate, many: args.many, query }.run(world).await
}

/// `everstep suspend`, `resume`, `rewind`
pub(crate) async fn steer(verb: Verb, args: Steer, world: &mut World) -> Result<Exit, Fault> {
    let query = args.reason.map(|reason| ("reason".to_owned(), reason)).into_iter().collect();
    Work { verb, many: args.many, query }.run(world).await
}

/// `everstep purge`
pub(crate) async fn purge(args: Purge, world: &mut World) -> Result<Exit, Fault> {
    if args.force && args.many.ids.is_empty() {
        return Err(Fault::usage(
            "--force removes instances that have not ended, and only those that you name",
        )
        .remedy("terminate what matches the filter first: `everstep terminate --name NAME`"));
    }
    let query = if args.force { vec![("force".to_owned(), "true".to_owned())] } else { Vec::new() };
    Work { verb: Verb::Purge, many: args.many, query }.run(world).await
}

struct Work {
    verb: Verb,
    many: Many,
    query: Vec<(String, String)>,
}

impl Work {
    async fn run(self, world: &mut World) -> Result<Exit, Fault> {
        let is_filtered = self.many.filter != Filter::default();
        match (self.many.ids.is_empty(), is_filtered || self.many.all) {
            (false, true) => Err(Fault::usage("give either instance ids or filters, not both")),
            (true, false) => Err(Fault::usage(format!("{} what?", self.verb.name())).remedy(format!(
                "name instances, or filter them: `everstep {} --name NAME`; --all is every instance of the hub",
                self.verb.name()
            ))),
            (false, false) => self.each(world).await,
            (true, true) => self.matching(world).await,
        }
    }

    async fn each(self, world: &mut World) -> Result<Exit, Fault> {
        let api = world.api(&self.many.common.connect)?;
        let mut outcome = Outcome::default();
        for id in &self.many.ids {
            let came = if self.many.dry_run {
                self.look(&api, id).await
            } else {
                self.one(&api, id).await.map(|()| self.verb.past().to_owned())
            };
            outcome.add(id, came, world)?;
        }
        outcome.exit()
    }

    async fn one(&self, api: &Api, id: &str) -> Result<(), Fault> {
        let call = match self.verb {
            Verb::Purge => Call::instance(Method::DELETE, id, ""),
            verb => Call::instance(Method::POST, id, &format!("/{}", verb.name())),
        };
        api.get_instance(id, call.queries(self.query.clone())).await?;
        Ok(())
    }

    async fn look(&self, api: &Api, id: &str) -> Result<String, Fault> {
        let call = Call::instance(Method::GET, id, "").query("showInput", "false");
        let status = Item::parse(&api.get_instance(id, call).await?.body)?;
        let status = status.text("runtimeStatus").to_owned();
        let is_forced = self.query.iter().any(|(name, _)| name == "force");
        let can = is_forced || self.verb.statuses().contains(&status.as_str());
        let would = if can { "would be" } else { "would not be" };
        Ok(format!("{status}, {would} {}", self.verb.past()))
    }

    async fn matching(mut self, world: &mut World) -> Result<Exit, Fault> {
        let api = world.api(&self.many.common.connect)?;
        let allowed = self.verb.statuses();
        if self.many.filter.status.is_empty() {
            self.many.filter.status = allowed.iter().map(|status| (*status).to_owned()).collect();
        }
        if let Some(status) =
            self.many.filter.status.iter().find(|status| !allowed.contains(&status.as_str()))
        {
            let text = format!("an instance that is {status} cannot be {}", self.verb.past());
            return Err(Fault::usage(text)
                .remedy(format!("--status may be: {}", allowed.join(", ").to_lowercase())));
        }
        let count = self.count(&api).await?;
        if self.many.dry_run {
            return self.dry(&api, count, world).await;
        }
        if count == 0 {
            world.console.note("no instance matches");
            return Ok(Exit::Ok);
        }
        self.confirm(count, world)?;
        self.job(&api, count, world).await
    }

    async fn count(&self, api: &Api) -> Result<u64, Fault> {
        let (rows, _) = list::counted(api, self.many.filter.query(), Some("orchestration")).await?;
        Ok(rows.iter().filter_map(|row| row.get("count").as_u64()).sum())
    }

    async fn dry(&self, api: &Api, count: u64, world: &mut World) -> Result<Exit, Fault> {
        let call = Call::durable(Method::GET, "instances")
            .queries(self.many.filter.query())
            .query("kind", "orchestration")
            .query("showInput", "false")
            .query("top", SAMPLE.to_string());
        let (first, _) = list::page(api, call, None).await?;
        let ids: Vec<&str> = first.iter().map(|item| item.text("instanceId")).collect();
        if world.console.format() == Format::Table {
            let more = count.saturating_sub(ids.len() as u64);
            let mut lines =
                vec![format!("{} would be {}", list::instances(count), self.verb.past())];
            lines.extend(ids.iter().map(|id| format!("  {}", visible(id))));
            lines.extend((more > 0).then(|| format!("  and {more} more")));
            world.console.data(&lines.join("\n"))?;
        } else if world.console.format() == Format::Ids {
            world.console.data(&ids.join("\n"))?;
        } else {
            let item = Item::of([
                ("verb", self.verb.name().into()),
                ("dryRun", true.into()),
                ("count", count.into()),
                ("first", ids.into()),
            ]);
            world.console.one(&[plain("VERB", "verb"), plain("COUNT", "count")], &item)?;
        }
        Ok(Exit::Ok)
    }

    fn confirm(&self, count: u64, world: &mut World) -> Result<(), Fault> {
        if self.many.yes || !(self.verb.destroys() || count > 1) {
            return Ok(());
        }
        let question = format!("{} {}?", self.verb.name(), list::instances(count));
        match world.console.confirm(&question)? {
            Some(true) => Ok(()),
            Some(false) => Err(Fault::error("nothing was done")),
            None => {
                let what = format!("this would {} {}", self.verb.name(), list::instances(count));
                Err(Fault::unasked(&what))
            }
        }
    }

    async fn job(&self, api: &Api, count: u64, world: &mut World) -> Result<Exit, Fault> {
        let all = self.many.all.then(|| ("all".to_owned(), "true".to_owned()));
        let call = Call::durable(Method::POST, &format!("instances/bulk/{}", self.verb.name()))
            .queries(self.many.filter.query())
            .queries(self.query.iter().cloned().chain(all).collect());
        let started = Item::parse(&api.get(call).await?.body)?;
        let id = started.text("id").to_owned();
        let bar = Console::bar(count);
        bar.set_message(self.verb.name());
        let ended = loop {
            let status = wait::hold(api, &id, LOOK).await?;
            let progress = status.get("customStatus");
            let number = |name: &str| progress[name].as_u64().unwrap_or_default();
            bar.set_position(number("done") + number("skipped") + number("failed"));
            if is_end(status.text("runtimeStatus")) {
                break status;
            }
        };
        bar.finish_and_clear();
        self.summary(&ended, world)
    }

    fn summary(&self, job: &Item, world: &mut World) -> Result<Exit, Fault> {
        if job.text("runtimeStatus") != "Completed" {
            let text = format!(
                "the job {} is {}: {}",
                job.text("instanceId"),
                job.text("runtimeStatus"),
                job.get("output")
            );
            return Err(Fault::error(text));
        }
        let progress = job.get("customStatus");
        let number = |name: &str| progress[name].as_u64().unwrap_or_default();
        let item = Item::of([
            ("verb", self.verb.name().into()),
            ("done", number("done").into()),
            ("skipped", number("skipped").into()),
            ("failed", number("failed").into()),
        ]);
        if world.console.format() == Format::Table {
            let skipped = match number("skipped") {
                0 => String::new(),
                skipped => format!(", {skipped} skipped because their status had changed"),
            };
            world.console.data(&format!("{} {}{skipped}", number("done"), self.verb.past()))?;
        } else {
            world.console.one(SUMMARY, &item)?;
        }
        match number("failed") {
            0 => Ok(Exit::Ok),
            failed => Err(Fault::error(format!(
                "{} could not be {}",
                list::instances(failed),
                self.verb.past()
            ))
            .remedy(format!("`everstep show {}` tells more of the job", job.text("instanceId")))),
        }
    }
}
