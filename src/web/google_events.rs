//! POST /auth/google/events: what Google reports about accounts (RISC, by RFC 8935).

use super::app::App;
use super::error::Error;
use crate::google::{AccountEvent, EventFailure, EventType, SecurityEvent};
use crate::http::{Request, Response};
use crate::store::{GoogleEffect, GoogleEvent, GoogleEventOutcome, GoogleReport};

const MEDIA_TYPES: [&str; 2] = ["application/secevent+jwt", "application/jwt"];

/// Receives one event. The answer is 202 once its effect is on disk, or if it has none.
///
/// # Errors
/// 400 in the form of RFC 8935 if the event is not valid, 429, or 503 if the keys or the store
/// cannot answer.
pub fn receive(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let outcome = attempt(app, request, now);
    app.metrics.count_google_event(match &outcome {
        Ok(GoogleEventOutcome::Applied) => "applied",
        Ok(GoogleEventOutcome::Repeated) => "repeated",
        Ok(GoogleEventOutcome::Unknown) => "unknown",
        Err(Error::TooManyRequests { .. }) => "limited",
        Err(Error::Unavailable { .. }) => "unavailable",
        Err(_) => "invalid",
    });
    outcome.map(|_| Response::empty(202))
}

fn attempt(app: &App, request: &Request, now: i64) -> Result<GoogleEventOutcome, Error> {
    let client = app.client_address(request);
    app.events_limiter.count(client.rate_limit_key())?;
    let token = token(request)?;
    let near = client.is_near(&app.settings.trusted_proxies);
    let network = client.rate_limit_key().filter(|_| !near);
    let event = app.verifier.verify_event(token, &app.settings.client_ids, network, now)?;
    Ok(app.store.apply_google_event(to_apply(&event), now)?)
}

/// The token is the whole body, in ASCII.
fn token(request: &Request) -> Result<&str, Error> {
    let code = "invalid_request";
    if !request.media_type().is_some_and(|sent| MEDIA_TYPES.contains(&sent.as_str())) {
        let description = "the body must be application/secevent+jwt or application/jwt";
        return Err(Error::InvalidEvent { code, description });
    }
    std::str::from_utf8(&request.body)
        .map_err(|_| Error::InvalidEvent { code, description: "the body is not a JWT" })
}

/// The event as the store applies it.
fn to_apply(event: &SecurityEvent) -> GoogleEvent {
    GoogleEvent {
        id: event.id().to_owned(),
        client_id: event.audience().to_owned(),
        issued_at: event.issued_at(),
        reports: event.reports().iter().filter_map(report).collect(),
    }
}

fn report(event: &AccountEvent) -> Option<GoogleReport> {
    let effect = match event.event_type {
        EventType::SessionsRevoked | EventType::TokensRevoked | EventType::AccountPurged => {
            GoogleEffect::EndSessions
        }
        EventType::AccountDisabled if event.is_hijacking() => GoogleEffect::Disable,
        EventType::AccountDisabled => GoogleEffect::EndSessions,
        EventType::AccountEnabled => GoogleEffect::Enable,
        EventType::CredentialChangeRequired | EventType::Verification => GoogleEffect::Record,
        EventType::Unknown => return None,
    };
    // Without a subject, it is about somebody who is not one of our users.
    if event.subject.is_none() && event.event_type != EventType::Verification {
        return None;
    }
    Some(GoogleReport {
        name: event.event_type.name(),
        detail: event.detail.clone(),
        subject: event.subject.clone(),
        effect,
    })
}

impl From<EventFailure> for Error {
    fn from(failure: EventFailure) -> Error {
        match failure {
            EventFailure::Refused { code, description } => {
                Error::InvalidEvent { code, description }
            }
            EventFailure::Unavailable { cause, retry_after } => Error::Unavailable {
                cause,
                retry_after: retry_after.unwrap_or(Error::RETRY_AFTER_SECONDS),
            },
        }
    }
}
