//! `/_emulator/faults`, and what a fault does to a call.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::time::sleep;

use super::{Shared, error::ApiError, line::Line, request::Body};
use crate::{
    control::Control,
    faults::{Answer, Effect, Fault},
    state,
};

/// One fault, or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Asked {
    One(Fault),
    Several(Vec<Fault>),
}

pub(crate) async fn list(State(control): Shared) -> Response {
    Json(control.faults.left()).into_response()
}

pub(crate) async fn set(
    State(control): Shared,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let faults = match asked {
        Asked::One(fault) => vec![fault],
        Asked::Several(faults) => faults,
    };
    for fault in &faults {
        fault.check().map_err(ApiError::bad_request)?;
    }
    for fault in faults {
        control.set_fault(fault);
    }
    Ok(Json(control.faults.left()).into_response())
}

pub(crate) async fn clear(State(control): Shared) -> StatusCode {
    control.faults.clear();
    StatusCode::NO_CONTENT
}

/// Answers a call, with the fault that it meets.
pub(super) async fn answer(
    control: &Arc<Control>,
    route: &str,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().as_str();
    let Some(met) = control.faults.meet_call(method, route) else {
        return next.run(request).await;
    };
    match met.effect {
        Effect::Answer(answer) => {
            if answer.after_work {
                next.run(request).await;
            }
            in_its_place(answer)
        }
        Effect::Delay { milliseconds } => {
            sleep(Duration::from_millis(milliseconds)).await;
            next.run(request).await
        }
        Effect::Drop => {
            let line = request
                .extensions()
                .get::<ConnectInfo<Line>>()
                .map(|info| info.0.clone());
            let response = next.run(request).await;
            if let Some(line) = line {
                line.cut();
            }
            response
        }
        Effect::Stale => match met.then {
            Some(then) => state::as_of(then, next.run(request)).await,
            None => next.run(request).await,
        },
        Effect::Operation { .. } => next.run(request).await,
    }
}

fn in_its_place(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if answer.html {
        let page = format!(
            "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>{status}</h1>{}</body></html>\n",
            answer.message
        );
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "text/html; charset=UTF-8")],
            page,
        )
            .into_response();
        if let Some(seconds) = answer.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        return response;
    }
    ApiError::scripted(status, answer.code, answer.message, answer.retry_after).into_response()
}
