//! Effect boundaries: every change that a port makes is numbered and told, and any of them can be made to fail.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sepulki::engine::run::RunError;
use sepulki::{cluster, neon, postgres};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// What goes wrong at a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The effect does not happen, and its caller is told so.
    Fails,
    /// The effect happens, and its caller is told that it is not known.
    AnswerLost,
    /// The effect happens, and the operator dies at that moment.
    Crash,
    /// The effect happens, but not before [`Faults::go_on`]: to its operator no time has passed.
    HeldUp,
    /// The effect happens, and the next listing of Neon, or what the watch tells next, is that of before.
    StaleRead,
    /// Neon has had too many requests and says how long to wait.
    TooMany,
    /// Neon refuses changes of the project for a minute, for it is busy with something else.
    Locked,
    /// Neon takes the work on and has done it, but says that its operation failed.
    OperationFails,
    /// Neon takes the work on, its operation fails, and nothing has been done.
    OperationUndone,
    /// Neon takes on making or resetting a branch, its operation fails, and the branch stays as nobody can use it.
    OperationGivenUp,
}

/// Those that need nobody to end them.
pub const FAULTS: [Fault; 9] = [
    Fault::Fails,
    Fault::AnswerLost,
    Fault::Crash,
    Fault::StaleRead,
    Fault::TooMany,
    Fault::Locked,
    Fault::OperationFails,
    Fault::OperationUndone,
    Fault::OperationGivenUp,
];

/// What an effect changes, and so how it can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// An object that the operator watches.
    Watched,
    /// Something that is read anew whenever it matters: a Secret, a database.
    Read,
    /// A project of Neon's.
    Neon {
        /// What Neon goes on working on after it has answered.
        works_on: Option<Work>,
    },
}

/// What Neon's operations bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A branch, or another state of it.
    Branch,
    /// Anything else.
    Other,
}

/// A boundary that was passed.
#[derive(Clone, Debug)]
pub struct Effect {
    pub what: String,
    pub on: On,
}

impl Effect {
    /// The faults that can befall it.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        let on = self.on;
        FAULTS.into_iter().filter(move |fault| match fault {
            Fault::Fails | Fault::AnswerLost | Fault::Crash => true,
            Fault::StaleRead => on != On::Read,
            Fault::TooMany | Fault::Locked => matches!(on, On::Neon { .. }),
            Fault::OperationFails | Fault::OperationUndone => {
                matches!(on, On::Neon { works_on: Some(_) })
            }
            Fault::OperationGivenUp => {
                let works_on = Some(Work::Branch);
                on == On::Neon { works_on }
            }
            Fault::HeldUp => false,
        })
    }
}

/// The boundaries passed so far, and what is to happen at which.
#[derive(Default)]
pub struct Faults {
    state: Mutex<State>,
    held_up: Notify,
    goes_on: Notify,
}

#[derive(Default)]
struct State {
    effects: Vec<Effect>,
    looks: usize,
    at: BTreeMap<usize, Fault>,
    look_fails: Option<usize>,
    polls: usize,
    drop_at: Option<usize>,
    crashed: bool,
}

/// An error type of a port.
pub trait Broken {
    /// Nothing was done. `n` chooses among the ways in which that can be said.
    fn failed(n: usize) -> Self;
    /// Whether anything was done is not known.
    fn lost() -> Self;
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from the beginning, and forgets what was planned.
    pub fn restart(&self) {
        *self.lock() = State::default();
    }

    /// Effect number `n` (from 1) goes wrong.
    pub fn plan(&self, n: usize, fault: Fault) {
        self.lock().at.insert(n, fault);
    }

    /// Whether some effect is to go wrong like this.
    pub fn is_planned(&self, fault: Fault) -> bool {
        self.lock().at.values().any(|planned| *planned == fault)
    }

    /// Waits until an effect is held up.
    pub async fn held_up(&self) {
        self.held_up.notified().await;
    }

    /// Lets the effect happen that is held up.
    pub fn go_on(&self) {
        self.goes_on.notify_one();
    }

    /// Look number `n` (from 1) fails.
    pub fn plan_look(&self, n: usize) {
        self.lock().look_fails = Some(n);
    }

    /// The pass that is polled for the `n`th time (from 1, over all passes) is dropped instead.
    pub fn plan_drop(&self, n: usize) {
        self.lock().drop_at = Some(n);
    }

    /// The effects so far in words, in order.
    pub fn effects(&self) -> Vec<String> {
        let effects = self.boundaries().into_iter();
        effects.map(|effect| effect.what).collect()
    }

    /// The effects so far, in order.
    pub fn boundaries(&self) -> Vec<Effect> {
        self.lock().effects.clone()
    }

    /// Notes that Neon goes on working on this effect.
    pub fn goes_on_working(&self, number: usize, on: Work) {
        if let Some(effect) = self.lock().effects.get_mut(number - 1) {
            effect.on = On::Neon { works_on: Some(on) };
        }
    }

    /// How many looks there were.
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    /// How often passes were polled.
    pub fn polls(&self) -> usize {
        self.lock().polls
    }

    /// Whether the operator died since the last time this was asked.
    pub fn take_crash(&self) -> bool {
        std::mem::take(&mut self.lock().crashed)
    }

    /// Whether the operator is dead.
    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Counts a poll; true where the pass is to be dropped instead.
    pub fn poll(&self) -> bool {
        let mut state = self.lock();
        state.polls += 1;
        state.drop_at == Some(state.polls)
    }

    /// Passes the boundary of an effect on what is read anew whenever it matters.
    pub async fn effect<T, E: Broken>(
        &self,
        what: String,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.effect_on(On::Read, what, |_, _| work()).await
    }

    /// Passes the boundary of an effect. The work is told its number and the fault that befalls it.
    pub async fn effect_on<T, E: Broken>(
        &self,
        on: On,
        what: String,
        work: impl FnOnce(usize, Option<Fault>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (number, fault) = {
            let mut state = self.lock();
            state.effects.push(Effect { what, on });
            let number = state.effects.len();
            (number, state.at.get(&number).copied())
        };
        yield_now().await;
        if fault == Some(Fault::Fails) {
            return Err(E::failed(number));
        }
        if fault == Some(Fault::HeldUp) {
            self.held_up.notify_one();
            self.goes_on.notified().await;
        }
        let result = work(number, fault);
        match fault {
            Some(Fault::Crash) => {
                self.lock().crashed = true;
                pending().await
            }
            Some(Fault::AnswerLost) => {
                result?;
                Err(E::lost())
            }
            Some(
                Fault::Fails
                | Fault::HeldUp
                | Fault::StaleRead
                | Fault::TooMany
                | Fault::Locked
                | Fault::OperationFails
                | Fault::OperationUndone
                | Fault::OperationGivenUp,
            )
            | None => {
                yield_now().await;
                result
            }
        }
    }

    /// A look at the world, which changes nothing.
    pub async fn look<T, E: Broken>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (number, fails) = {
            let mut state = self.lock();
            state.looks += 1;
            (state.looks, state.look_fails == Some(state.looks))
        };
        yield_now().await;
        if fails {
            return Err(E::failed(number));
        }
        work()
    }
}

impl Broken for cluster::Error {
    fn failed(n: usize) -> Self {
        let kind = if n.is_multiple_of(3) {
            cluster::ErrorKind::Conflict
        } else {
            cluster::ErrorKind::Unavailable
        };
        Self::new(kind, "the API server does not answer")
    }

    fn lost() -> Self {
        Self::new(cluster::ErrorKind::Unavailable, "no answer came")
    }
}

impl Broken for neon::Error {
    fn failed(n: usize) -> Self {
        let (kind, status) = match n % 4 {
            0 => (neon::ErrorKind::RateLimited, 429),
            1 => (neon::ErrorKind::Locked, 423),
            2 => (neon::ErrorKind::NotReady, 422),
            _ => (neon::ErrorKind::Server, 503),
        };
        super::neon::error(kind, Some(status), "not now")
    }

    fn lost() -> Self {
        super::neon::error(neon::ErrorKind::Lost, None, "no answer came")
    }
}

impl Broken for postgres::Error {
    fn failed(n: usize) -> Self {
        let class = if n.is_multiple_of(3) {
            postgres::Class::Conflict
        } else {
            postgres::Class::Transient
        };
        Self::new(class, "the server is not there")
    }

    fn lost() -> Self {
        Self::new(postgres::Class::Transient, "the connection broke")
    }
}

impl Broken for RunError {
    fn failed(n: usize) -> Self {
        if n.is_multiple_of(2) {
            Self::Busy("somebody".to_owned())
        } else {
            Self::Transient("the server is not there".to_owned())
        }
    }

    fn lost() -> Self {
        Self::Transient("the connection broke".to_owned())
    }
}
