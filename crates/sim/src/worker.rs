//! The programs as real code: an async interpreter over the SDK's `Context`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use everstep::{
    ActivityContext, App, Call, Context, Either, Entity, EntityContext, Failure, Input, InstanceId,
    Purity, RetryPolicy, Value, join_all, output, select, unknown_operation,
};
use serde::{Deserialize, Serialize};

use crate::{
    interpreter::{BROKEN, REFUSED, UNHEALED, mix},
    program::{Act, Op, Program, Scenario, Target, Winner},
};

/// The orchestrator that runs every program.
pub(crate) const RUN: &str = "Run";
/// Later than any clock of a run.
const NEVER: Duration = Duration::from_hours(30 * 365 * 24);

/// What a run is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) root: usize,
    pub(crate) program: usize,
    pub(crate) round: u32,
    pub(crate) total: i64,
}

/// Roots whose activities are whole again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Healed(Arc<Mutex<BTreeSet<usize>>>);

impl Healed {
    pub(crate) fn heal(&self, root: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(root);
    }

    pub(crate) fn is_healed(&self, root: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&root)
    }
}

/// The code of a scenario.
pub(crate) fn app(scenario: &Arc<Scenario>, healed: &Healed) -> App {
    let (scenario, healed) = (scenario.clone(), healed.clone());
    App::new("sim")
        .orchestrator(RUN, move |context: Context, job: Job| run(context, scenario.clone(), job))
        .activity("Double", |_: ActivityContext, value: i64| async move {
            Ok::<_, Failure>(value * 2 + 1)
        })
        .activity("Flaky", |context: ActivityContext, failures: u32| async move {
            if context.attempt() <= failures {
                Err(Failure::new(BROKEN, "not yet"))
            } else {
                Ok(5_i64)
            }
        })
        .activity("Broken", |_: ActivityContext, ()| async move {
            Err::<i64, _>(Failure::new(BROKEN, "always"))
        })
        .activity("Large", |_: ActivityContext, length: u32| async move {
            Ok::<_, Failure>("x".repeat(length as usize))
        })
        .activity("Heal", move |_: ActivityContext, root: usize| {
            let healed = healed.clone();
            async move {
                if healed.is_healed(root) {
                    Ok(8_i64)
                } else {
                    Err(Failure::new(UNHEALED, "rewind me"))
                }
            }
        })
        .entity::<Tally>()
        .entity::<Ledger>()
}

async fn run(context: Context, scenario: Arc<Scenario>, job: Job) -> Result<i64, Failure> {
    let program = &scenario.programs[job.program];
    let running = Running { context: &context, scenario: &scenario, job: &job };
    let mut total = job.total;
    if job.round == 0 {
        if let Some((name, _)) = &program.told {
            total = mix(total, context.event::<i64>(name).await?);
        }
        if let (Some((name, value)), Some(parent)) = (&program.tells, context.parent()) {
            context.send_event(&parent.instance, name, value);
        }
        for (at, op) in program.prelude.iter().enumerate() {
            total = mix(total, running.op(op, at).await?);
        }
    }
    for (at, op) in program.body.iter().enumerate() {
        total = mix(total, running.op(op, 100 + at).await?);
    }
    running.end(program, total).await
}

/// The entity's id.
pub(crate) fn entity_id(target: Target) -> InstanceId {
    let name = if target.pure { Tally::NAME } else { Ledger::NAME };
    InstanceId::entity(name, &format!("key-{}", target.key)).expect("the names are fixed and fit")
}

struct Running<'a> {
    context: &'a Context,
    scenario: &'a Scenario,
    job: &'a Job,
}

impl Running<'_> {
    async fn end(&self, program: &Program, total: i64) -> Result<i64, Failure> {
        if self.job.round + 1 < program.rounds {
            let next = Job { round: self.job.round + 1, total, ..self.job.clone() };
            return self.context.continue_as_new(next).keep_events().await;
        }
        if program.fails { Err(Failure::new(REFUSED, "as planned")) } else { Ok(total) }
    }

    async fn op(&self, op: &Op, at: usize) -> Result<i64, Failure> {
        let context = self.context;
        match op {
            Op::Call(act) => self.act(*act).await,
            Op::FanOut(acts) => {
                let calls: Vec<_> = acts.iter().map(|act| Box::pin(self.act(*act))).collect();
                let mut total = 0;
                for result in join_all(calls).await {
                    total = mix(total, result?);
                }
                Ok(total)
            }
            Op::Abandon(value) => {
                drop(context.call_by_name::<i64>("Double", value));
                Ok(0)
            }
            Op::Wait { name, .. } | Op::Hear { name, .. } => context.event::<i64>(name).await,
            Op::Race { name, winner, .. } => self.race(name, *winner).await,
            Op::Sleep { millis } => {
                context.sleep(Duration::from_millis(u64::from(*millis))).await;
                Ok(0)
            }
            Op::Notify { root, name, value } => {
                let to = InstanceId::from_stored(&self.scenario.roots[*root].id);
                context.send_event(&to, name, value);
                Ok(*value)
            }
            Op::Child { program, given } => self.child(*program, *given, at).await,
            Op::Add { target, amount } => {
                context.call_entity::<()>(&entity_id(*target), "add", amount).await?;
                Ok(0)
            }
            Op::Spoil { target } => {
                let spoiled = context.call_entity::<()>(&entity_id(*target), "spoil", &()).await;
                Ok(if spoiled.is_err() { -3 } else { 3 })
            }
            Op::Signal { target, amount, delay } => {
                let entity = entity_id(*target);
                match delay {
                    None => context.signal(&entity, "add", amount),
                    Some(millis) => {
                        let due = context.now().after(Duration::from_millis(u64::from(*millis)));
                        context.signal_at(due, &entity, "add", amount);
                    }
                }
                Ok(0)
            }
            Op::Locked { targets, amount } => self.locked(targets, *amount).await,
            Op::Status(value) => {
                context.set_custom_status(value);
                Ok(0)
            }
            Op::Guid => {
                let (one, other) = (context.new_guid(), context.new_guid());
                Ok(i64::from(one == other))
            }
        }
    }

    async fn act(&self, act: Act) -> Result<i64, Failure> {
        let context = self.context;
        let answer = match act {
            Act::Double(value) => context.call_by_name("Double", &value).await,
            Act::Flaky { failures, attempts } => {
                let call: Call<i64> = context.call_by_name("Flaky", &failures);
                call.retry(RetryPolicy::fixed(Duration::from_secs(2), attempts)).await
            }
            Act::Broken => context.call_by_name("Broken", &()).await,
            Act::Large(length) => {
                let text: Result<String, _> = context.call_by_name("Large", &length).await;
                text.map(|text| i64::from(text.len() as u32))
            }
            Act::Heal => return context.call_by_name("Heal", &self.job.root).await,
        };
        Ok(answer.unwrap_or(match act {
            Act::Flaky { .. } => -2,
            Act::Double(_) | Act::Broken | Act::Large(_) | Act::Heal => -1,
        }))
    }

    async fn race(&self, name: &str, winner: Winner) -> Result<i64, Failure> {
        let time = match winner {
            Winner::Event => NEVER,
            Winner::Timer | Winner::Either => Duration::from_secs(3),
        };
        let (event, timer) = (self.context.event::<i64>(name), self.context.sleep(time));
        match (select((event, timer)).await, winner) {
            (_, Winner::Either) => Ok(2),
            (Either::First(value), Winner::Event | Winner::Timer) => value,
            (Either::Second(()), Winner::Event | Winner::Timer) => Ok(1),
        }
    }

    async fn child(&self, number: usize, given: bool, at: usize) -> Result<i64, Failure> {
        let context = self.context;
        let program = &self.scenario.programs[number];
        let job = Job { root: self.job.root, program: number, round: 0, total: 0 };
        let mut child = context.child_by_name::<i64>(RUN, &job);
        if given || program.told.is_some() {
            let id = format!("{}.{at}.{}", context.instance_id(), self.job.round);
            child = child.id(&id);
            if let Some((name, value)) = &program.told {
                context.send_event(&InstanceId::from_stored(&id), name, value);
            }
        }
        let told = match &program.tells {
            Some((name, _)) => context.event::<i64>(name).await?,
            None => 0,
        };
        match child.await {
            Ok(value) => Ok(mix(told, value)),
            Err(failure) if failure.kind == UNHEALED => Err(failure),
            Err(_) => Ok(mix(told, -4)),
        }
    }

    /// Nobody else changes an entity while it is locked, so the sums tell what was added here.
    async fn locked(&self, targets: &[Target], amount: i64) -> Result<i64, Failure> {
        let context = self.context;
        let guard = context.lock(targets.iter().map(|target| entity_id(*target))).await?;
        let mut before = 0;
        for target in targets {
            before += context.call_entity::<i64>(&entity_id(*target), "get", &()).await?;
        }
        for target in targets {
            context.call_entity::<()>(&entity_id(*target), "add", &amount).await?;
        }
        let mut after = 0;
        for target in targets {
            after += context.call_entity::<i64>(&entity_id(*target), "get", &()).await?;
        }
        guard.release();
        Ok(after - before)
    }
}

/// A sum whose operations are pure.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    total: i64,
}

/// The same with operations that run beside the partition.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    total: i64,
}

const OPERATIONS: &[&str] = &["add", "get", "spoil"];

fn operate(total: &mut i64, operation: &str, input: Input<'_>) -> Option<Result<Value, Failure>> {
    Some(match operation {
        "add" => input.read::<i64>().and_then(|amount| {
            *total += amount;
            output(&())
        }),
        "get" => output(total),
        "spoil" => {
            *total += 1_000_000;
            Err(Failure::new("Spoiled", "the change is undone"))
        }
        _ => return None,
    })
}

impl Entity for Tally {
    const NAME: &'static str = "tally";
    const PURITY: Purity = Purity::Pure;
    const OPERATIONS: &'static [&'static str] = OPERATIONS;

    async fn dispatch(
        &mut self,
        operation: &str,
        input: Input<'_>,
        _: &mut EntityContext,
    ) -> Result<Value, Failure> {
        operate(&mut self.total, operation, input)
            .unwrap_or_else(|| unknown_operation::<Self>(operation))
    }
}

impl Entity for Ledger {
    const NAME: &'static str = "ledger";
    const OPERATIONS: &'static [&'static str] = OPERATIONS;

    async fn dispatch(
        &mut self,
        operation: &str,
        input: Input<'_>,
        _: &mut EntityContext,
    ) -> Result<Value, Failure> {
        operate(&mut self.total, operation, input)
            .unwrap_or_else(|| unknown_operation::<Self>(operation))
    }
}
