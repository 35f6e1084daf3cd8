//! A client: one per root instance, asking one thing at a time.
//!
//! A1  What was answered holds for ever; what was not is asked again after a crash, so that it counts once: a start has
//!     an execution id of the client's, raises and signals have keys where a repetition would show.

use everstep_engine::Instance;
use everstep_model::{
    ExecutionId, Guid, InstanceId, Operation, ReusePolicy, Start, Status, Tags, Value,
};
use everstep_runtime::partition::{Request, Response};

use crate::{
    interpreter::{End, Expected, UNHEALED},
    program::{Fate, Root, Stimulus},
    worker::{Healed, Job, RUN, entity_id},
};

/// What a client is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Start,
    Stimulus(usize),
    Await,
    Rewind,
    Purge,
    /// Makes sure that nothing is left.
    Gone,
    Done,
}

/// A promise that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Promise {
    /// An execution of this public name.
    Execution(String),
    /// A receiver and a key.
    Key(String, String),
}

/// The client of one root.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) root: Root,
    pub(crate) expected: Expected,
    pub(crate) stage: Stage,
    /// Which run of the program, from 0.
    pub(crate) run: u32,
    /// Requests under way.
    pub(crate) asked: usize,
    /// How the last run ended.
    pub(crate) ended: Option<(Status, String)>,
    /// What was answered.
    pub(crate) promises: Vec<Promise>,
    /// Starts that were answered as begun, in this run.
    begun: u32,
    rewinds: u32,
    heals: bool,
    healed: Healed,
}

impl Client {
    pub(crate) fn new(
        index: usize,
        root: Root,
        expected: Expected,
        heals: bool,
        healed: Healed,
    ) -> Self {
        Self {
            index,
            root,
            expected,
            stage: Stage::Start,
            run: 0,
            asked: 0,
            ended: None,
            promises: Vec::new(),
            begun: 0,
            rewinds: 0,
            heals,
            healed,
        }
    }

    pub(crate) fn id(&self) -> InstanceId {
        InstanceId::from_stored(&self.root.id)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.run > 0 || self.stage != Stage::Start
    }

    fn execution_id(&self) -> String {
        format!("{}-run-{}", self.root.id, self.run)
    }

    /// The process that would have answered is gone. `has_begun` tells whether an execution of that public name is
    /// durable: a client finds that out by asking.
    pub(crate) fn crashed(&mut self, has_begun: impl FnOnce(&str) -> bool) {
        self.begun = 0;
        if self.asked > 0 && self.stage == Stage::Start && has_begun(&self.execution_id()) {
            self.begin();
        }
        self.asked = 0;
    }

    /// What it asks next, and of which instance.
    pub(crate) fn requests(&self, polls: bool) -> Vec<(InstanceId, Request)> {
        let id = self.id();
        let request = match self.stage {
            Stage::Done => return Vec::new(),
            Stage::Gone => Request::Get(id.clone()),
            Stage::Start => {
                let start = Request::Start(Some(id.clone()), Box::new(self.start()));
                if self.root.twice && self.run == 0 {
                    return vec![(id.clone(), start.clone()), (id, start)];
                }
                start
            }
            Stage::Stimulus(at) => return vec![self.stimulus(at)],
            Stage::Await if polls => Request::Get(id.clone()),
            Stage::Await => Request::Wait(id.clone()),
            Stage::Rewind => Request::Rewind(id.clone(), "healed".to_owned()),
            Stage::Purge => Request::Purge(id.clone(), false),
        };
        vec![(id, request)]
    }

    fn start(&self) -> Start {
        let job = Job { root: self.index, program: self.root.program, round: 0, total: 0 };
        Start {
            name: RUN.to_owned(),
            version: String::new(),
            input: Value::text(serde_json::to_string(&job).expect("a job is plain JSON")),
            execution_id: Some(ExecutionId::new(&self.execution_id())),
            parent: None,
            tags: Tags::new(),
            scheduled: None,
            trace: None,
            reuse: if self.run == 0 { ReusePolicy::never() } else { ReusePolicy::ended() },
        }
    }

    fn key(&self, at: usize) -> String {
        format!("{}-{}-{at}", self.root.id, self.run)
    }

    /// An event that came while the instance failed is gone, and its key may be remembered all the same.
    fn raise_key(&self, at: usize) -> String {
        format!("{}-{}", self.key(at), self.rewinds)
    }

    fn stimulus(&self, at: usize) -> (InstanceId, Request) {
        let id = self.id();
        match &self.root.stimuli[at] {
            Stimulus::Raise { name, value, keyed } => {
                let key = if *keyed { self.raise_key(at) } else { String::new() };
                let input = Value::text(value.to_string());
                (id.clone(), Request::Raise { instance: id, name: name.clone(), input, key })
            }
            Stimulus::Signal { target, amount } => {
                let entity = entity_id(*target);
                let key = self.key(at);
                let operation = Operation {
                    id: Guid::v5(Guid([1; 16]), &key),
                    name: "add".to_owned(),
                    input: Value::text(amount.to_string()),
                    caller: None,
                    sender: None,
                    due: None,
                    key,
                    trace: None,
                };
                (entity.clone(), Request::Signal(entity, Box::new(operation)))
            }
            Stimulus::Suspend => (id.clone(), Request::Suspend(id, "hold".to_owned())),
            Stimulus::Resume => (id.clone(), Request::Resume(id, "go".to_owned())),
            Stimulus::Terminate => (id.clone(), Request::Terminate(id, "enough".to_owned(), true)),
        }
    }

    /// Takes an answer. `found` is what the tables have, if the answer points there.
    pub(crate) fn answered(
        &mut self,
        response: Response,
        found: Option<Instance>,
    ) -> Result<(), String> {
        self.asked = self.asked.saturating_sub(1);
        let response = match response {
            Response::AskTables => match found {
                Some(instance) => Response::Instance(Box::new(instance)),
                None => Response::NotFound,
            },
            other => other,
        };
        match self.stage {
            Stage::Start => self.start_answered(&response),
            Stage::Stimulus(at) => self.stimulus_answered(at, &response),
            Stage::Await => self.awaited(&response),
            Stage::Rewind => match response {
                Response::Accepted | Response::WrongStatus(_) => {
                    // What came to it while it failed left no trace, so everything is raised again; keys count once.
                    self.begin();
                    Ok(())
                }
                other => Err(self.surprise("rewind", &other)),
            },
            Stage::Purge => match response {
                // After a crash the purge may be done already.
                Response::Purged(_) | Response::NotFound => {
                    self.stage = Stage::Gone;
                    Ok(())
                }
                other => Err(self.surprise("purge", &other)),
            },
            Stage::Gone => match response {
                Response::NotFound => {
                    self.after_purge();
                    Ok(())
                }
                other => Err(self.surprise("get after a purge", &other)),
            },
            Stage::Done => Ok(()),
        }
    }

    fn surprise(&self, asked: &str, response: &Response) -> String {
        format!("{asked} of `{}` was answered with {response:?}", self.root.id)
    }

    fn start_answered(&mut self, response: &Response) -> Result<(), String> {
        match response {
            Response::Started(_, execution_id) if execution_id.as_str() == self.execution_id() => {
                self.begun += 1;
                self.promises.push(Promise::Execution(self.execution_id()));
            }
            Response::AlreadyExists(_) if self.begun == 1 || self.asked > 0 => {}
            other => return Err(self.surprise("start", other)),
        }
        if self.begun > 1 {
            return Err(format!("`{}` was started twice", self.root.id));
        }
        if self.asked == 0 {
            self.begin();
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.begun = 0;
        self.stage = if self.root.stimuli.is_empty() { Stage::Await } else { Stage::Stimulus(0) };
    }

    fn stimulus_answered(&mut self, at: usize, response: &Response) -> Result<(), String> {
        let stimulus = &self.root.stimuli[at];
        match (stimulus, response) {
            (_, Response::Accepted) => match stimulus {
                Stimulus::Raise { keyed: true, .. } => {
                    self.promises.push(Promise::Key(self.root.id.clone(), self.raise_key(at)));
                }
                Stimulus::Signal { target, .. } => {
                    let entity = entity_id(*target).to_string();
                    self.promises.push(Promise::Key(entity, self.key(at)));
                }
                Stimulus::Raise { .. }
                | Stimulus::Suspend
                | Stimulus::Resume
                | Stimulus::Terminate => {}
            },
            (Stimulus::Signal { .. }, other) => return Err(self.surprise("signal", other)),
            // It failed before it came to wait; once healed it will.
            (Stimulus::Raise { .. }, Response::WrongStatus(Status::Failed))
                if self.heals
                    && !(self.healed.is_healed(self.index)
                        && matches!(self.expected.end, End::Fails(_))) =>
            {
                self.healed.heal(self.index);
                self.rewind();
                return Ok(());
            }
            (_, Response::WrongStatus(_)) => {}
            (_, other) => return Err(self.surprise("stimulus", other)),
        }
        self.stage =
            if at + 1 < self.root.stimuli.len() { Stage::Stimulus(at + 1) } else { Stage::Await };
        Ok(())
    }

    fn awaited(&mut self, response: &Response) -> Result<(), String> {
        let Response::Instance(instance) = response else {
            return Err(self.surprise("wait", response));
        };
        match instance.status {
            Status::Completed | Status::Failed | Status::Terminated => {}
            Status::Running | Status::Pending | Status::Suspended => return Ok(()),
            Status::ContinuedAsNew | Status::Canceled => {
                return Err(self.surprise("wait", response));
            }
        }
        let unhealed =
            instance.rare.failure.as_ref().is_some_and(|failure| failure.kind == UNHEALED);
        if self.heals && instance.status == Status::Failed && unhealed {
            self.healed.heal(self.index);
            self.rewind();
            return Ok(());
        }
        self.check_end(instance)?;
        let output = instance.output.as_ref().map(|value| format!("{value:?}")).unwrap_or_default();
        self.ended = Some((instance.status, output));
        self.stage = match self.root.fate {
            Fate::Purge | Fate::PurgeAndStart if self.run == 0 => Stage::Purge,
            Fate::StartAgain if self.run == 0 => {
                self.run = 1;
                Stage::Start
            }
            Fate::Keep | Fate::Purge | Fate::PurgeAndStart | Fate::StartAgain => Stage::Done,
        };
        Ok(())
    }

    fn rewind(&mut self) {
        self.promises
            .retain(|promise| !matches!(promise, Promise::Key(id, _) if *id == self.root.id));
        self.rewinds += 1;
        self.stage = Stage::Rewind;
    }

    fn after_purge(&mut self) {
        self.stage = Stage::Done;
        if self.root.fate == Fate::PurgeAndStart {
            self.run = 1;
            self.stage = Stage::Start;
        }
    }

    /// The result is the interpreter's; a terminated instance may have ended before.
    pub(crate) fn check_end(&self, instance: &Instance) -> Result<(), String> {
        if instance.status == Status::Terminated && self.root.is_terminated() {
            return Ok(());
        }
        let fits = match (&self.expected.end, instance.status) {
            (End::Returns(value), Status::Completed) => instance
                .output
                .as_ref()
                .and_then(Value::inline)
                .is_some_and(|bytes| bytes[..] == *value.to_string().as_bytes()),
            (End::Fails(kind), Status::Failed) => {
                instance.rare.failure.as_ref().is_some_and(|failure| failure.kind == *kind)
            }
            _ => false,
        };
        if !fits {
            return Err(format!(
                "`{}` ended {} with {:?} {:?}, and {:?} was expected",
                self.root.id,
                instance.status,
                instance.output,
                instance.rare.failure,
                self.expected.end
            ));
        }
        let status = self.expected.status.map(|status| status.to_string());
        let found = instance.rare.custom_status.as_ref().map(|status| format!("{status:?}"));
        if status != found {
            return Err(format!("`{}` says {found:?} of itself, not {status:?}", self.root.id));
        }
        Ok(())
    }

    /// Whether it has asked for all it wanted.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}
