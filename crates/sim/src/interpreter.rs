//! What programs must give, found by plain recursion.
//!
//! Shares no code with the engine: it knows neither histories nor messages nor turns.

use std::collections::BTreeMap;

use crate::program::{Act, Op, Program, Scenario, Target};

/// How an instance must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It returns this.
    Returns(i64),
    /// It fails with a failure of this kind.
    Fails(&'static str),
}

/// The kind of failure of a program that fails by itself.
pub(crate) const REFUSED: &str = "Refused";
/// The kind of failure of an activity that always fails.
pub(crate) const BROKEN: &str = "Broken";
/// The kind of failure of an activity that wants to be rewound.
pub(crate) const UNHEALED: &str = "Unhealed";

/// How a run of a program ends, and what it adds to entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) end: End,
    pub(crate) added: BTreeMap<Target, i64>,
    /// What the last round leaves as custom status.
    pub(crate) status: Option<i64>,
}

/// What a run of a program gives once it is healed.
pub(crate) fn expected(scenario: &Scenario, program: usize) -> Expected {
    let mut run = Run { scenario, added: BTreeMap::new(), status: None };
    let end = match run.program(&scenario.programs[program]) {
        Ok(value) => End::Returns(value),
        Err(kind) => End::Fails(kind),
    };
    Expected { end, added: run.added, status: run.status }
}

/// How results are put together.
pub(crate) fn mix(total: i64, value: i64) -> i64 {
    total.wrapping_mul(31).wrapping_add(value) % 1_000_000_007
}

struct Run<'a> {
    scenario: &'a Scenario,
    added: BTreeMap<Target, i64>,
    status: Option<i64>,
}

impl Run<'_> {
    fn program(&mut self, program: &Program) -> Result<i64, &'static str> {
        let mut total = 0;
        for round in 0..program.rounds {
            if round == 0 {
                if let Some((_, value)) = &program.told {
                    total = mix(total, *value);
                }
                for op in &program.prelude {
                    total = mix(total, self.op(op, round));
                }
            }
            for op in &program.body {
                total = mix(total, self.op(op, round));
            }
        }
        if program.fails { Err(REFUSED) } else { Ok(total) }
    }

    fn op(&mut self, op: &Op, round: u32) -> i64 {
        match op {
            Op::Call(act) => act_of(*act),
            Op::FanOut(acts) => acts.iter().fold(0, |total, act| mix(total, act_of(*act))),
            Op::Wait { value, ordered: true, .. } => value + i64::from(round),
            Op::Wait { value, ordered: false, .. }
            | Op::Notify { value, .. }
            | Op::Hear { value, .. } => *value,
            Op::Race { value, winner, .. } => match winner {
                crate::program::Winner::Event => *value,
                crate::program::Winner::Timer => 1,
                crate::program::Winner::Either => 2,
            },
            Op::Abandon(_) | Op::Sleep { .. } | Op::Guid => 0,
            Op::Child { program, .. } => {
                let program = &self.scenario.programs[*program];
                let outer = self.status.take();
                let result = self.program(program);
                self.status = outer;
                let told = program.tells.as_ref().map_or(0, |(_, value)| *value);
                mix(told, result.unwrap_or(-4))
            }
            Op::Add { target, amount } | Op::Signal { target, amount, .. } => {
                *self.added.entry(*target).or_default() += amount;
                0
            }
            Op::Spoil { .. } => -3,
            Op::Locked { targets, amount } => {
                for target in targets {
                    *self.added.entry(*target).or_default() += amount;
                }
                targets.iter().map(|_| amount).sum()
            }
            Op::Status(value) => {
                self.status = Some(*value);
                0
            }
        }
    }
}

fn act_of(act: Act) -> i64 {
    match act {
        Act::Double(value) => value * 2 + 1,
        Act::Flaky { failures, attempts } => {
            if attempts > failures {
                5
            } else {
                -2
            }
        }
        Act::Broken => -1,
        Act::Large(length) => i64::from(length),
        Act::Heal => 8,
    }
}
