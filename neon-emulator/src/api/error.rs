//! Errors in the form of Neon's API: `{request_id, code, message}`. Most of Neon's errors have an
//! empty `code`; clients tell them apart by status and message, so both are part of the contract.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// An answer that is not a success.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// Empty but for limits of the plan.
    pub(crate) code: String,
    pub(crate) message: String,
    /// The header `Retry-After`, in seconds.
    pub(crate) retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: String::new(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// What a fault says.
    pub(crate) fn scripted(
        status: StatusCode,
        code: String,
        message: String,
        retry_after: Option<u64>,
    ) -> Self {
        Self {
            status,
            code,
            message,
            retry_after,
        }
    }

    /// 400: a value that can never be right.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "supplied credentials do not pass authentication",
        )
    }

    /// 403: not with this key.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: what only a person has was asked for with an organization's key.
    pub(crate) fn not_for_organizations() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not allowed for organization API keys",
        )
    }

    /// 404: a key of one project asks for something else.
    pub(crate) fn out_of_scope(project_id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!(
                "not allowed to perform actions outside the project this key is scoped to; subject_project_id:\"{project_id}\""
            ),
        )
    }

    /// 429: the account has called too often.
    pub(crate) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")
    }

    /// 404: `what` names the kind of thing, as in "branch".
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    /// 404 for a path that the emulator does not serve.
    pub(crate) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "this route does not exist or is not emulated",
        )
    }

    /// 405.
    pub(crate) fn no_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
    }

    /// 406: the stretch of time does not go with the rest.
    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, message)
    }

    /// 409: the name, or the place, is taken.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 412: what is needed first is not there.
    pub(crate) fn precondition(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, message)
    }

    /// 422: not in this state, or not in this plan.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 422 with a code: a limit of the plan is reached.
    pub(crate) fn limit(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            ..Self::unprocessable(message)
        }
    }

    /// 423: operations are running; safe to try again.
    pub(crate) fn locked() -> Self {
        Self::new(
            StatusCode::LOCKED,
            "project already has running conflicting operations, scheduling of new ones is prohibited",
        )
    }

    /// Whether a running operation could change this verdict.
    pub(crate) fn depends_on_state(&self) -> bool {
        matches!(
            self.status,
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
        )
    }
}

impl IntoResponse for ApiError {
    /// Without a body: the outermost layer writes it, with the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
