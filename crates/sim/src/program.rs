//! Random programs, and what clients do to the instances that run them.
//!
//! R1  What a program returns does not depend on how things interleave: entities only add, events of one name come from
//!     one sender in order, and of two that race only one can win unless the result is the same either way.
//! R2  Programs call only programs of a higher number, so that every run ends.
//!
//! Start at [`Scenario::generate`].

use std::collections::BTreeSet;

use crate::random::Random;

/// What a program may make use of; the rows of the coverage table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    Activity,
    Retry,
    FanOut,
    Race,
    Event,
    Timer,
    SendEvent,
    Child,
    ContinueAsNew,
    EntityCall,
    Signal,
    Lock,
    Status,
    Guid,
    Failure,
    Payload,
    Suspend,
    Terminate,
    Purge,
    Reuse,
    Rewind,
}

impl Feature {
    pub(crate) const ALL: [Self; 21] = [
        Self::Activity,
        Self::Retry,
        Self::FanOut,
        Self::Race,
        Self::Event,
        Self::Timer,
        Self::SendEvent,
        Self::Child,
        Self::ContinueAsNew,
        Self::EntityCall,
        Self::Signal,
        Self::Lock,
        Self::Status,
        Self::Guid,
        Self::Failure,
        Self::Payload,
        Self::Suspend,
        Self::Terminate,
        Self::Purge,
        Self::Reuse,
        Self::Rewind,
    ];
}

/// All that happens in one run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) programs: Vec<Program>,
    pub(crate) roots: Vec<Root>,
}

/// What an instance runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    /// An event that the parent sends to it; it waits for it first.
    pub(crate) told: Option<(String, i64)>,
    /// An event that it sends to its parent.
    pub(crate) tells: Option<(String, i64)>,
    /// Run in the first round only.
    pub(crate) prelude: Vec<Op>,
    /// Run in every round.
    pub(crate) body: Vec<Op>,
    /// How often; each round continues as new.
    pub(crate) rounds: u32,
    /// Ends in a failure of its own.
    pub(crate) fails: bool,
}

/// An entity: whether its operations are pure, and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) pure: bool,
    pub(crate) key: u8,
}

impl Target {
    pub(crate) const ALL: [Self; 6] = [
        Self { pure: true, key: 0 },
        Self { pure: true, key: 1 },
        Self { pure: true, key: 2 },
        Self { pure: false, key: 0 },
        Self { pure: false, key: 1 },
        Self { pure: false, key: 2 },
    ];
}

/// What an activity does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Returns twice its input and one.
    Double(i64),
    /// Fails that often, then returns 5. Called with one attempt more, or with too few.
    Flaky { failures: u32, attempts: u32 },
    /// Fails; the program catches it.
    Broken,
    /// Returns a text of that length.
    Large(u32),
    /// Fails until the client has seen the failure and rewinds.
    Heal,
}

/// One step of a program. Each gives a number that enters the result.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Call(Act),
    FanOut(Vec<Act>),
    /// A call that nobody waits for.
    Abandon(i64),
    /// Waits for an event of the client.
    Wait {
        name: String,
        value: i64,
        ordered: bool,
    },
    /// An event against a timer.
    Race {
        name: String,
        value: i64,
        winner: Winner,
    },
    Sleep {
        millis: u32,
    },
    /// Sends an event to another root.
    Notify {
        root: usize,
        name: String,
        value: i64,
    },
    /// Waits for the event of another root.
    Hear {
        name: String,
        value: i64,
    },
    Child {
        program: usize,
        given: bool,
    },
    Add {
        target: Target,
        amount: i64,
    },
    /// An operation that changes the state and then fails.
    Spoil {
        target: Target,
    },
    Signal {
        target: Target,
        amount: i64,
        delay: Option<u32>,
    },
    /// Locks several and checks that nobody else comes in between.
    Locked {
        targets: Vec<Target>,
        amount: i64,
    },
    Status(i64),
    Guid,
}

/// Who wins a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Winner {
    Event,
    Timer,
    /// It depends; the result is the same.
    Either,
}

/// An instance that a client starts, and what the client does then.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) id: String,
    pub(crate) program: usize,
    /// The start is sent twice.
    pub(crate) twice: bool,
    /// In order, for each run.
    pub(crate) stimuli: Vec<Stimulus>,
    pub(crate) fate: Fate,
    /// Roots that must have begun before this one.
    pub(crate) after: Option<usize>,
}

/// What a client does to a running instance.
#[derive(Debug, Clone)]
pub(crate) enum Stimulus {
    Raise { name: String, value: i64, keyed: bool },
    Signal { target: Target, amount: i64 },
    Suspend,
    Resume,
    Terminate,
}

/// What a client does to an ended instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Purge,
    /// Purge, then start again under the id.
    PurgeAndStart,
    /// Start again under the id.
    StartAgain,
}

impl Fate {
    /// How often the program runs.
    pub(crate) fn runs(self) -> u32 {
        match self {
            Self::Keep | Self::Purge => 1,
            Self::PurgeAndStart | Self::StartAgain => 2,
        }
    }
}

impl Root {
    pub(crate) fn is_terminated(&self) -> bool {
        self.stimuli.iter().any(|stimulus| matches!(stimulus, Stimulus::Terminate))
    }
}

impl Scenario {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut making = Making {
            random: Random::new(seed, 1),
            allowed: BTreeSet::new(),
            scenario: Self { programs: Vec::new(), roots: Vec::new() },
            names: 0,
        };
        making.allowed = Feature::ALL.into_iter().filter(|_| !making.random.one_in(4)).collect();
        let children = making.random.below(4);
        for index in 0..children {
            making.child(index);
        }
        let roots = 2 + making.random.below(6);
        for index in 0..roots {
            making.root(index);
        }
        making.scenario
    }

    /// Whether a program, or one that it calls, fails until it is healed.
    pub(crate) fn heals(&self, program: usize) -> bool {
        let program = &self.programs[program];
        program.prelude.iter().chain(&program.body).any(|op| match op {
            Op::Call(Act::Heal) => true,
            Op::Child { program, .. } => self.heals(*program),
            _ => false,
        })
    }

    /// What a root makes use of.
    pub(crate) fn features(&self, root: &Root) -> BTreeSet<Feature> {
        let mut found = BTreeSet::new();
        self.features_of(root.program, &mut found);
        for stimulus in &root.stimuli {
            found.insert(match stimulus {
                Stimulus::Raise { .. } => Feature::Event,
                Stimulus::Signal { .. } => Feature::Signal,
                Stimulus::Suspend | Stimulus::Resume => Feature::Suspend,
                Stimulus::Terminate => Feature::Terminate,
            });
        }
        match root.fate {
            Fate::Keep => {}
            Fate::Purge => drop(found.insert(Feature::Purge)),
            Fate::PurgeAndStart => found.extend([Feature::Purge, Feature::Reuse]),
            Fate::StartAgain => drop(found.insert(Feature::Reuse)),
        }
        found
    }

    fn features_of(&self, program: usize, found: &mut BTreeSet<Feature>) {
        let program = &self.programs[program];
        if program.rounds > 1 {
            found.insert(Feature::ContinueAsNew);
        }
        if program.fails {
            found.insert(Feature::Failure);
        }
        if program.told.is_some() || program.tells.is_some() {
            found.insert(Feature::SendEvent);
        }
        for op in program.prelude.iter().chain(&program.body) {
            match op {
                Op::Call(act) => drop(found.insert(feature_of(*act))),
                Op::FanOut(_) => drop(found.insert(Feature::FanOut)),
                Op::Abandon(_) => drop(found.insert(Feature::Activity)),
                Op::Wait { .. } => drop(found.insert(Feature::Event)),
                Op::Race { .. } => drop(found.insert(Feature::Race)),
                Op::Sleep { .. } => drop(found.insert(Feature::Timer)),
                Op::Notify { .. } | Op::Hear { .. } => drop(found.insert(Feature::SendEvent)),
                Op::Child { program, .. } => {
                    found.insert(Feature::Child);
                    self.features_of(*program, found);
                }
                Op::Add { .. } | Op::Spoil { .. } => drop(found.insert(Feature::EntityCall)),
                Op::Signal { .. } => drop(found.insert(Feature::Signal)),
                Op::Locked { .. } => drop(found.insert(Feature::Lock)),
                Op::Status(_) => drop(found.insert(Feature::Status)),
                Op::Guid => drop(found.insert(Feature::Guid)),
            }
        }
    }
}

fn feature_of(act: Act) -> Feature {
    match act {
        Act::Double(_) => Feature::Activity,
        Act::Flaky { .. } => Feature::Retry,
        Act::Broken => Feature::Failure,
        Act::Large(_) => Feature::Payload,
        Act::Heal => Feature::Rewind,
    }
}

/// What an owner of locks has signaled itself may enter while it holds them, so such programs signal without delay.
fn spare_own_locks(program: &mut Program) {
    let locks = program.body.iter().any(|op| matches!(op, Op::Locked { .. }));
    for op in program.body.iter_mut().filter(|_| locks) {
        if let Op::Signal { delay, .. } = op {
            *delay = None;
        }
    }
}

struct Making {
    random: Random,
    /// Features that this seed uses: others are left out, so that odd combinations appear.
    allowed: BTreeSet<Feature>,
    scenario: Scenario,
    names: u32,
}

impl Making {
    fn allows(&self, feature: Feature) -> bool {
        self.allowed.contains(&feature)
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A root that is rewound hears some events again, so their order must not matter.
    fn free_waits(&mut self, program: &mut Program) {
        for op in &mut program.body {
            if let Op::Wait { name, ordered: ordered @ true, .. } = op {
                *name = self.name("again");
                *ordered = false;
            }
        }
    }

    fn number(&mut self) -> i64 {
        self.random.number(90) + 1
    }

    fn child(&mut self, index: usize) {
        let length = 1 + self.random.below(3);
        let mut program = Program { rounds: 1, ..Program::default() };
        program.body = (0..length).filter_map(|_| self.op(index, false)).collect();
        if self.allows(Feature::SendEvent) && self.random.one_in(3) {
            program.told = Some((self.name("told"), self.number()));
        }
        if self.allows(Feature::SendEvent) && self.random.one_in(3) {
            program.tells = Some((self.name("tells"), self.number()));
        }
        if self.allows(Feature::Rewind) && self.random.one_in(5) {
            program.body.push(Op::Call(Act::Heal));
        }
        if self.allows(Feature::ContinueAsNew) && self.random.one_in(4) {
            program.rounds = 2;
        }
        program.fails = self.allows(Feature::Failure) && self.random.one_in(5);
        spare_own_locks(&mut program);
        self.scenario.programs.push(program);
    }

    fn root(&mut self, index: usize) {
        let ops = 1 + self.random.below(6);
        let known = self.scenario.programs.len().min(self.children());
        let mut program = Program { rounds: 1, ..Program::default() };
        program.body = (0..ops).filter_map(|_| self.op(known, true)).collect();
        if self.allows(Feature::ContinueAsNew) && self.random.one_in(3) {
            program.rounds = 2 + self.random.below(2) as u32;
        }
        if self.allows(Feature::Rewind) && self.random.one_in(4) {
            let at = self.random.below(program.body.len() + 1);
            program.body.insert(at, Op::Call(Act::Heal));
            self.free_waits(&mut program);
        }
        let heals =
            |op: &Op| matches!(op, Op::Child { program, .. } if self.scenario.heals(*program));
        if program.body.iter().any(heals) {
            self.free_waits(&mut program);
        }
        program.fails = self.allows(Feature::Failure) && self.random.one_in(6);
        let mut root = Root {
            id: format!("root-{index}"),
            program: self.scenario.programs.len(),
            twice: self.random.one_in(4),
            stimuli: Vec::new(),
            fate: Fate::Keep,
            after: None,
        };
        root.stimuli = self.raises(&program);
        if self.allows(Feature::Signal) && self.random.one_in(3) {
            let (target, amount) = (*self.random.pick(&Target::ALL), self.number());
            self.put(&mut root.stimuli, Stimulus::Signal { target, amount });
        }
        if self.allows(Feature::Suspend) && self.random.one_in(3) {
            let at = self.random.below(root.stimuli.len() + 1);
            root.stimuli.insert(at, Stimulus::Suspend);
            let after = at + 1 + self.random.below(root.stimuli.len() - at);
            root.stimuli.insert(after, Stimulus::Resume);
        }
        if self.allows(Feature::Terminate) && self.random.one_in(6) {
            self.put(&mut root.stimuli, Stimulus::Terminate);
            if self.allows(Feature::Purge) && self.random.one_in(2) {
                root.fate = Fate::Purge;
            }
        } else {
            root.fate = self.fate();
        }
        spare_own_locks(&mut program);
        self.scenario.programs.push(program);
        self.scenario.roots.push(root);
        self.link(index);
    }

    /// How many programs are there for children; those of roots come after them.
    fn children(&self) -> usize {
        self.scenario.programs.len() - self.scenario.roots.len()
    }

    fn put(&mut self, stimuli: &mut Vec<Stimulus>, stimulus: Stimulus) {
        let at = self.random.below(stimuli.len() + 1);
        stimuli.insert(at, stimulus);
    }

    fn fate(&mut self) -> Fate {
        let fates = [Fate::Keep, Fate::Keep, Fate::Purge, Fate::PurgeAndStart, Fate::StartAgain];
        match *self.random.pick(&fates) {
            Fate::Purge if self.allows(Feature::Purge) => Fate::Purge,
            Fate::PurgeAndStart if self.allows(Feature::Purge) && self.allows(Feature::Reuse) => {
                Fate::PurgeAndStart
            }
            Fate::StartAgain if self.allows(Feature::Reuse) => Fate::StartAgain,
            Fate::Keep | Fate::Purge | Fate::PurgeAndStart | Fate::StartAgain => Fate::Keep,
        }
    }

    /// Lets a root send an event to an earlier one that surely waits for it.
    fn link(&mut self, index: usize) {
        if index == 0 || !self.allows(Feature::SendEvent) || !self.random.one_in(2) {
            return;
        }
        let to = self.random.below(index);
        let fits = |root: &Root| root.fate.runs() == 1 && !root.is_terminated();
        let roots = &self.scenario.roots;
        if !fits(&roots[index]) || !fits(&roots[to]) || roots[index].after.is_some() {
            return;
        }
        let (name, value) = (self.name("heard"), self.number());
        let (from_program, to_program) =
            (self.scenario.roots[index].program, self.scenario.roots[to].program);
        self.scenario.programs[from_program].prelude.push(Op::Notify {
            root: to,
            name: name.clone(),
            value,
        });
        self.scenario.programs[to_program].prelude.push(Op::Hear { name, value });
        self.scenario.roots[index].after = Some(to);
    }

    /// What the client has to raise for a program, in the order in which it waits.
    fn raises(&mut self, program: &Program) -> Vec<Stimulus> {
        let mut raises = Vec::new();
        for round in 0..program.rounds {
            for op in &program.body {
                match op {
                    Op::Wait { name, value, ordered: true } => raises.push(Stimulus::Raise {
                        name: name.clone(),
                        value: value + i64::from(round),
                        keyed: true,
                    }),
                    Op::Wait { name, value, ordered: false } => raises.push(Stimulus::Raise {
                        name: name.clone(),
                        value: *value,
                        keyed: self.random.one_in(2),
                    }),
                    Op::Race { name, value, winner: Winner::Event } => {
                        raises.push(Stimulus::Raise {
                            name: name.clone(),
                            value: *value,
                            keyed: false,
                        });
                    }
                    Op::Race { name, value, winner: Winner::Either } if self.random.one_in(2) => {
                        raises.push(Stimulus::Raise {
                            name: name.clone(),
                            value: *value,
                            keyed: false,
                        });
                    }
                    _ => {}
                }
            }
        }
        raises
    }

    fn act(&mut self) -> Option<Act> {
        let act = match self.random.below(6) {
            2 => {
                let failures = self.random.below(3) as u32;
                let attempts = if self.random.one_in(4) { failures } else { failures + 1 };
                Act::Flaky { failures, attempts: attempts.max(1) }
            }
            3 => Act::Broken,
            4 => Act::Large(40 + self.random.below(4000) as u32),
            _ => Act::Double(self.number()),
        };
        self.allows(feature_of(act)).then_some(act)
    }

    fn targets(&mut self) -> Vec<Target> {
        let count = 1 + self.random.below(3);
        let mut targets: Vec<_> = (0..count).map(|_| *self.random.pick(&Target::ALL)).collect();
        targets.sort();
        targets.dedup();
        // The order in which they are asked for must not matter.
        if self.random.one_in(2) {
            targets.reverse();
        }
        targets
    }

    /// One step; nothing if this seed does without its feature. Children may be the first `known` programs.
    fn op(&mut self, known: usize, of_root: bool) -> Option<Op> {
        let kind = self.random.below(19);
        let (feature, op) = match kind {
            0..=2 => return self.act().map(Op::Call),
            3 | 4 => {
                let count = 2 + self.random.below(6);
                let acts = (0..count).filter_map(|_| self.act()).collect();
                (Feature::FanOut, Op::FanOut(acts))
            }
            5 => (Feature::Activity, Op::Abandon(self.number())),
            6 | 7 if of_root => {
                let ordered = self.random.one_in(2);
                let name = if ordered {
                    (*self.random.pick(&["go", "Go", "stop"])).to_owned()
                } else {
                    self.name("event")
                };
                (Feature::Event, Op::Wait { name, value: self.number(), ordered })
            }
            8 if of_root => {
                let winner = *self.random.pick(&[Winner::Event, Winner::Timer, Winner::Either]);
                (Feature::Race, Op::Race { name: self.name("race"), value: self.number(), winner })
            }
            6..=9 => (Feature::Timer, Op::Sleep { millis: self.random.below(20_000) as u32 }),
            10 | 11 if known > 0 => {
                let program = self.random.below(known);
                (Feature::Child, Op::Child { program, given: self.random.one_in(2) })
            }
            10 | 12 => (
                Feature::EntityCall,
                Op::Add { target: *self.random.pick(&Target::ALL), amount: self.number() },
            ),
            13 => (Feature::EntityCall, Op::Spoil { target: *self.random.pick(&Target::ALL) }),
            11 | 14 => {
                let delay = self.random.one_in(2).then(|| self.random.below(10_000) as u32);
                let target = *self.random.pick(&Target::ALL);
                (Feature::Signal, Op::Signal { target, amount: self.number(), delay })
            }
            15 | 16 => {
                let targets = self.targets();
                (Feature::Lock, Op::Locked { targets, amount: self.number() })
            }
            17 => (Feature::Status, Op::Status(self.number())),
            _ => (Feature::Guid, Op::Guid),
        };
        self.allows(feature).then_some(op)
    }
}
