//! What Neon does wrong, by chance.

use neon_emulator::{Answer, Effect, Fault, Outcome};
use rand::{RngExt, rngs::StdRng};

pub(crate) const BRANCHES: &str = "/projects/{project_id}/branches";
pub(crate) const BRANCH: &str = "/projects/{project_id}/branches/{branch_id}";
pub(crate) const RESTORE: &str = "/projects/{project_id}/branches/{branch_id}/restore";
const ROLES_OF_BRANCH: &str = "/projects/{project_id}/branches/{branch_id}/roles";
const ENDPOINTS: &str = "/projects/{project_id}/endpoints";
pub(crate) const ENDPOINT: &str = "/projects/{project_id}/endpoints/{endpoint_id}";
pub(crate) const PROJECT: &str = "/projects/{project_id}";

/// What goes wrong with a call that changes something; with any that reads, where none is given.
pub(crate) fn fault(random: &mut StdRng, call: Option<(&str, &str)>) -> Fault {
    let of = |effect| match call {
        Some((method, route)) => Fault::of(effect).at(method, route),
        None => Fault {
            method: Some("GET".to_owned()),
            ..Fault::of(effect)
        },
    };
    let answer = |answer| of(Effect::Answer(answer));
    // whether a reset was done that nobody answered for is waited for for minutes
    let after_work = random.random_bool(0.5) || call.is_some_and(|(_, route)| route == RESTORE);
    match random.random_range(0..10) {
        0 => answer(Answer {
            retry_after: Some(1),
            ..said(429, "too many requests")
        })
        .times(random.random_range(1..=2)),
        1 if call.is_some() => answer(said(
            423,
            "project already has running conflicting operations, scheduling of new ones is prohibited",
        ))
        .times(random.random_range(1..=4)),
        1 | 2 => answer(Answer {
            after_work,
            ..said(500, "internal error")
        }),
        3 => answer(Answer {
            after_work,
            ..said(503, "service unavailable")
        })
        .times(random.random_range(1..=3)),
        4 => answer(Answer {
            html: true,
            after_work: true,
            ..said(524, "a timeout occurred")
        }),
        5 => of(Effect::Delay {
            milliseconds: random.random_range(100..1500),
        }),
        6 => of(Effect::Drop),
        7 => Fault::of(Effect::Stale)
            .at("GET", one_of(random, &[BRANCHES, ENDPOINTS, ROLES_OF_BRANCH]))
            .times(random.random_range(1..=4)),
        8 => Fault::of(operation(random, Outcome::Fail)),
        _ => Fault::of(operation(random, Outcome::Hang)),
    }
}

fn said(status: u16, message: &str) -> Answer {
    Answer {
        status,
        message: message.to_owned(),
        ..Answer::default()
    }
}

fn operation(random: &mut StdRng, outcome: Outcome) -> Effect {
    let actions = [
        "start_compute",
        "apply_config",
        "delete_timeline",
        "suspend_compute",
        "create_branch",
    ];
    let actions = match outcome {
        // a branch whose data was not made, or not replaced, stays as it is until a person has looked at it
        Outcome::Fail => &actions[..3],
        Outcome::Hang => &actions[..],
    };
    Effect::Operation {
        action: Some(one_of(random, actions).to_owned()),
        outcome,
    }
}

fn one_of<T: Copy>(random: &mut StdRng, all: &[T]) -> T {
    all[random.random_range(0..all.len())]
}
