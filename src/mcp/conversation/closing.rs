//! The end: machines that may still be given something are told of it last, and all is finished when
//! each of them is.

use super::{Conversation, Machine};
use crate::mcp::{
    exchange::{Command, Event},
    fault, outcome,
};

const ALL: [Machine; 5] =
    [Machine::Session, Machine::Stateless, Machine::Channel, Machine::Forward, Machine::Backward];

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The client sends nothing more.
    pub(super) closed: bool,
    /// The machines that know it, and those that have nothing left to do.
    told: [bool; ALL.len()],
    finished: [bool; ALL.len()],
    done: bool,
}

impl Progress {
    pub(super) fn finished(&mut self, machine: Machine) {
        self.finished[machine as usize] = true;
    }

    /// A machine is gone, and another may take its place.
    pub(super) fn forget(&mut self, machine: Machine) {
        self.told[machine as usize] = false;
        self.finished[machine as usize] = false;
    }
}

impl Conversation {
    /// Tells those of the end that can't be given anything any more.
    pub(super) fn close(&mut self) {
        // What is on trial may be for any of them.
        if self.progress.done || self.trial.is_some() {
            return;
        }
        for machine in [Machine::Session, Machine::Stateless, Machine::Channel] {
            self.tell_closed(machine);
        }
        if self.trial.is_none() && self.over(Machine::Session) && self.over(Machine::Stateless) {
            self.tell_closed(Machine::Forward);
            self.tell_closed(Machine::Backward);
        }
        if self.trial.is_none() && ALL.into_iter().all(|machine| self.over(machine)) {
            self.progress.done = true;
            self.out.push(Command::Finished);
        }
    }

    fn over(&self, machine: Machine) -> bool {
        let absent = machine == Machine::Channel && self.channel.is_none();
        absent || self.progress.finished[machine as usize]
    }

    fn tell_closed(&mut self, machine: Machine) {
        let absent = machine == Machine::Channel && self.channel.is_none();
        if !absent && !std::mem::replace(&mut self.progress.told[machine as usize], true) {
            self.tell(machine, Event::ClientClosed);
        }
    }

    /// A machine has given something up, which may have been the last that it had; or it has to serve that
    /// in the end. It is told of the end once more when that is known.
    pub(super) fn gave_up(&mut self, machine: Machine) {
        self.progress.told[machine as usize] = false;
    }

    /// There is no more time: whatever is open is answered.
    pub(super) fn expire(&mut self) {
        self.progress.closed = true;
        if let Some(trial) = self.trial.take() {
            let failure = outcome::shut_down();
            let held = trial.held.iter().flat_map(|message| message.request_ids());
            self.out.extend(held.map(|id| Command::Deliver(fault::answer(id, &failure))));
        }
        for machine in ALL {
            self.progress.told[machine as usize] = true;
            self.tell(machine, Event::Expired);
        }
    }
}
