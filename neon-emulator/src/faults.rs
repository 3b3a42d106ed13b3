//! Scripted misbehaviour: what a client has to survive, on demand. Set through
//! `/_emulator/faults` or [`crate::Emulator::set_fault`]; each is used up by the calls it meets.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::state::{model::State, operation::Action};

/// One kind of misbehaviour and the calls that it meets. A call meets one fault at most: of those
/// that fit, the one that was set first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `GET`, `POST` and so on. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The route as the specification writes it, below the base path, for instance
    /// `/projects/{project_id}/branches`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// How many fitting calls, or operations, pass unharmed before. Default: 0.
    #[serde(default)]
    pub skip: u32,
    /// How many are met after those. Default: 1.
    #[serde(default = "once")]
    pub count: u32,
    /// What happens.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Effect {
    /// Another answer than the true one.
    Answer(Answer),
    /// The work begins that much later.
    Delay {
        /// In milliseconds.
        milliseconds: u64,
    },
    /// The work is done, then the connection is closed without an answer.
    Drop,
    /// A read shows the state as it was when the fault was set. Meets `GET` only.
    Stale,
    /// An operation does not do its work. `method` and `route` do not matter.
    Operation {
        /// Neon's name of the action, for instance `start_compute`. Default: any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        /// What becomes of it.
        outcome: Outcome,
    },
}

/// An answer in the place of the true one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// Of the error's body.
    pub code: String,
    /// Of the error's body.
    pub message: String,
    /// In HTML, as whoever stands before the API answers, and not as the API does.
    pub html: bool,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// Whether the work is done nevertheless.
    pub after_work: bool,
}

/// What becomes of an operation that is met by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It fails without having done anything; those after it are cancelled.
    Fail,
    /// It runs until the faults are cleared, then does its work.
    Hang,
}

impl Fault {
    /// A fault for the next call, whatever it is.
    #[must_use]
    pub fn of(effect: Effect) -> Self {
        Self {
            method: None,
            route: None,
            skip: 0,
            count: 1,
            effect,
        }
    }

    /// Only for calls with this method and route.
    #[must_use]
    pub fn at(self, method: &str, route: &str) -> Self {
        Self {
            method: Some(method.to_owned()),
            route: Some(route.to_owned()),
            ..self
        }
    }

    /// For as many calls.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// What is wrong with it, if something is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let error = 400..600;
        match &self.effect {
            Effect::Answer(answer) if !error.contains(&answer.status) => {
                Err("status must be between 400 and 599".to_owned())
            }
            Effect::Stale if self.method.as_deref().is_some_and(|method| method != "GET") => {
                Err("only GET can be stale".to_owned())
            }
            Effect::Operation {
                action: Some(action),
                ..
            } if Action::named(action).is_none() => {
                Err(format!("no operation is called {action:?}"))
            }
            Effect::Answer(_)
            | Effect::Delay { .. }
            | Effect::Drop
            | Effect::Stale
            | Effect::Operation { .. } => Ok(()),
        }
    }

    fn fits_call(&self, method: &str, route: &str) -> bool {
        let fits =
            |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        let kind = match self.effect {
            Effect::Answer(_) | Effect::Delay { .. } | Effect::Drop => true,
            Effect::Stale => method == "GET",
            Effect::Operation { .. } => false,
        };
        kind && fits(&self.method, method) && fits(&self.route, route)
    }

    fn fits_operation(&self, done: Action) -> bool {
        match &self.effect {
            Effect::Operation { action, .. } => action
                .as_deref()
                .is_none_or(|name| Action::named(name) == Some(done)),
            Effect::Answer(_) | Effect::Delay { .. } | Effect::Drop | Effect::Stale => false,
        }
    }
}

fn once() -> u32 {
    1
}

/// A fault with the state at the time it was set, which stale reads show.
struct Armed {
    fault: Fault,
    then: Option<Arc<State>>,
}

/// A fault that meets a call.
pub(crate) struct Met {
    pub(crate) effect: Effect,
    /// Of [`Effect::Stale`].
    pub(crate) then: Option<Arc<State>>,
}

/// The faults that are set.
#[derive(Default)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Armed>>,
    cleared: Notify,
}

impl Faults {
    /// Sets a fault; `now` is the present state, for stale reads.
    pub(crate) fn set(&self, fault: Fault, now: impl FnOnce() -> State) {
        let then = (fault.effect == Effect::Stale).then(|| Arc::new(now()));
        self.with(|armed| armed.push(Armed { fault, then }));
    }

    /// What is left of the faults that were set.
    pub(crate) fn left(&self) -> Vec<Fault> {
        self.with(|armed| armed.iter().map(|armed| armed.fault.clone()).collect())
    }

    /// Removes all faults; operations that hang go on.
    pub(crate) fn clear(&self) {
        self.with(Vec::clear);
        self.cleared.notify_waiters();
    }

    /// The fault that a call meets.
    pub(crate) fn meet_call(&self, method: &str, route: &str) -> Option<Met> {
        self.meet(|fault| fault.fits_call(method, route))
    }

    /// Waits out or reports the fault that an operation meets. `false` means that it fails.
    pub(crate) async fn pass_operation(&self, action: Action) -> bool {
        // Before looking: a clearance in between is not missed.
        let cleared = self.cleared.notified();
        match self
            .meet(|fault| fault.fits_operation(action))
            .map(|met| met.effect)
        {
            Some(Effect::Operation {
                outcome: Outcome::Fail,
                ..
            }) => false,
            Some(Effect::Operation {
                outcome: Outcome::Hang,
                ..
            }) => {
                cleared.await;
                true
            }
            Some(Effect::Answer(_) | Effect::Delay { .. } | Effect::Drop | Effect::Stale)
            | None => true,
        }
    }

    fn meet(&self, fits: impl Fn(&Fault) -> bool) -> Option<Met> {
        self.with(|armed| {
            // Those that let this one pass count it.
            for index in 0..armed.len() {
                let candidate = armed.get_mut(index).filter(|armed| fits(&armed.fault));
                let Some(Armed { fault, then }) = candidate else {
                    continue;
                };
                if fault.skip > 0 {
                    fault.skip -= 1;
                    continue;
                }
                let met = Met {
                    effect: fault.effect.clone(),
                    then: then.clone(),
                };
                fault.count = fault.count.saturating_sub(1);
                if fault.count == 0 {
                    armed.remove(index);
                }
                return Some(met);
            }
            None
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<Armed>) -> T) -> T {
        change(&mut self.armed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "/projects/{project_id}/branches";

    #[test]
    fn faults_are_met_in_their_order_and_used_up() {
        let faults = Faults::default();
        faults.set(
            Fault {
                skip: 1,
                ..Fault::of(Effect::Drop).at("POST", ROUTE).times(2)
            },
            State::default,
        );
        let delay = Effect::Delay { milliseconds: 1 };
        faults.set(Fault::of(delay.clone()), State::default);
        let meet = |method| faults.meet_call(method, ROUTE).map(|met| met.effect);
        assert_eq!(
            meet("POST"),
            Some(delay),
            "passed by the first, met by the second"
        );
        assert_eq!(meet("GET"), None);
        assert_eq!(meet("POST"), Some(Effect::Drop));
        assert_eq!(faults.left()[0].count, 1);
        assert_eq!(meet("POST"), Some(Effect::Drop));
        assert_eq!(meet("POST"), None);
        assert!(faults.left().is_empty());
    }

    #[test]
    fn faults_are_written_as_the_readme_says() {
        let read = |text: &str| serde_json::from_str::<Fault>(text).unwrap();
        let locked = read(r#"{"fault": "answer", "method": "PATCH", "status": 423, "count": 3}"#);
        assert_eq!(locked.count, 3);
        assert!(locked.check().is_ok());
        assert!(
            read(r#"{"fault": "answer", "status": 200}"#)
                .check()
                .is_err()
        );
        assert!(
            read(r#"{"fault": "stale", "method": "POST"}"#)
                .check()
                .is_err()
        );
        let hang = read(r#"{"fault": "operation", "action": "start_compute", "outcome": "hang"}"#);
        assert!(hang.check().is_ok());
        let nothing = read(r#"{"fault": "operation", "action": "dance", "outcome": "fail"}"#);
        assert!(nothing.check().is_err());
    }
}
