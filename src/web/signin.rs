//! POST /auth/signin: a token in, a session out.

use serde::Serialize;

use super::app::App;
use super::error::Error;
use super::{csrf, forward_auth, return_to, session_cookie, signin_request};
use crate::google::{Expected, Failure, Identity, Question, VerifiedBy};
use crate::http::{Request, Response};
use crate::profile::Profile;
use crate::store::{
    Event, EventKind, NewSession, Refusal, RefusedBy, SessionKind, SignIn, SignedIn, User,
};
use crate::token::{IdToken, SessionToken, random_name};

const NOT_FROM_HERE: &str = "this sign-in did not begin in this browser, or its cookies are off (g_csrf_token must be \
    there as cookie and as field, and be the same)";

/// The page that people land on who were going nowhere else.
pub const ACCOUNT_PATH: &str = "/auth/account";

/// The answer to a sign-in, in the contract's order.
#[derive(Serialize)]
struct Answer<'a> {
    user: &'a User,
    session: AnsweredSession<'a>,
    new_user: bool,
}

#[derive(Serialize)]
struct AnsweredSession<'a> {
    token: &'a str,
    id: &'a str,
    created_at: i64,
    expires_at: i64,
}

/// Signs somebody in.
///
/// # Errors
/// As the contract's table says: 400, 401, 403, 415, 429, 503.
pub fn post(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let outcome = attempt(app, request, now);
    app.count_signin(outcome.as_ref().err());
    outcome
}

fn attempt(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    if signin_request::is_redirect_post(request) {
        csrf::guard_redirect_post(request, &app.settings)?;
    } else {
        csrf::guard(request, &app.settings)?;
    }
    app.signin_limiter.count(app.client_address(request).rate_limit_key())?;

    let refused = |error: &Error| app.record_refusal(request, None, error, now);
    let intake = signin_request::read(request).inspect_err(refused)?;
    if let Some(post) = &intake.redirect_post {
        let expected = post.g_csrf_token.as_deref().unwrap_or_default();
        if expected.is_empty()
            || !session_cookie::values(request, "g_csrf_token").any(|cookie| cookie == expected)
        {
            let error = Error::InvalidRequest(NOT_FROM_HERE);
            return Err(error).inspect_err(refused);
        }
    }
    let token = IdToken::parse(&intake.token)
        .ok_or(Error::InvalidToken("this cannot be a Google ID token"))
        .inspect_err(refused)?;
    let (signed_in, session_token) =
        app.sign_in(&token, intake.nonce.as_deref(), SessionKind::Session, request, now)?;

    let response = match intake.redirect_post {
        Some(post) => Response::see_other(
            post.state
                .and_then(|state| return_to::parse(&state, &app.settings))
                .unwrap_or_else(|| app.settings.url_of(ACCOUNT_PATH)),
        ),
        None => Response::json(200, &answer(&signed_in, &session_token)),
    };
    Ok(response.with("Set-Cookie", session_cookie::set(&app.settings, &session_token)))
}

impl App {
    /// The way every sign-in goes: Google is asked, the claims are checked, the policy is asked, the store records it.
    ///
    /// # Errors
    /// 401, 403 or 503; the first two are recorded as refusals.
    pub(super) fn sign_in(
        &self,
        token: &IdToken,
        nonce: Option<&str>,
        kind: SessionKind,
        request: &Request,
        now: i64,
    ) -> Result<(SignedIn, SessionToken), Error> {
        let verified = self
            .identify(token, nonce, request, now)
            .inspect_err(|error| self.record_refusal(request, None, error, now))?;
        let (identity, verified_by) = &verified;
        let claims = identity.claims();
        let denied = |reason| Error::denied_to(&claims.profile, reason);
        self.settings
            .policy
            .admit(claims)
            .map_err(denied)
            .inspect_err(|error| self.record_refusal(request, Some(&verified), error, now))?;

        let session_token = SessionToken::generate();
        let (hash, id, expires_at) = match kind {
            SessionKind::Session => {
                (session_token.hash(), random_name(), now + self.settings.session_lifetime)
            }
            SessionKind::IdToken => (token.signed_hash(), token.session_id(), claims.expires_at),
        };
        let sign_in = SignIn {
            profile: claims.profile.clone(),
            client_id: claims.audience.clone(),
            authorized_party: claims.authorized_party.clone(),
            id_token: token.signed_hash(),
            verified_by: verified_by.as_str(),
            client: self.client(request),
            session: NewSession { token: hash, kind, id, expires_at },
            sessions_max: self.settings.sessions_per_user,
        };
        match self.store.sign_in(sign_in, now)? {
            Ok(signed_in) => {
                self.metrics.count_verified(verified_by.as_str());
                Ok((signed_in, session_token))
            }
            Err(refusal @ Refusal::TokenEnded) => Err(Error::InvalidToken(refusal.description())),
            Err(refusal) => Err(denied(refusal.description())),
        }
    }

    /// Counts an attempt by how it ended.
    pub(super) fn count_signin(&self, error: Option<&Error>) {
        self.metrics.count_signin(match error {
            None => "signed_in",
            Some(Error::TooManyRequests { .. }) => "limited",
            Some(Error::Unavailable { .. }) => "unavailable",
            Some(Error::InvalidToken(_)) => "invalid_token",
            Some(Error::AccessDenied { .. }) => "access_denied",
            Some(_) => "invalid_request",
        });
    }

    fn identify(
        &self,
        token: &IdToken,
        nonce: Option<&str>,
        request: &Request,
        now: i64,
    ) -> Result<(Identity, VerifiedBy), Error> {
        let client = self.client_address(request);
        let is_near = client.is_near(&self.settings.trusted_proxies);
        let question = Question {
            token,
            expected: Expected { audiences: &self.settings.client_ids, nonce, now },
            client: client.rate_limit_key().filter(|_| !is_near),
        };
        self.verifier.verify(&question).map_err(|failure| match failure {
            Failure::Refused(reason) => Error::InvalidToken(reason),
            Failure::Unavailable { cause, retry_after } => Error::Unavailable {
                cause,
                retry_after: retry_after.unwrap_or(Error::RETRY_AFTER_SECONDS),
            },
        })
    }

    /// Records that somebody was refused for what the client did. Not being able to answer is not a refusal, and neither
    /// is a rate limit.
    fn record_refusal(
        &self,
        request: &Request,
        verified: Option<&(Identity, VerifiedBy)>,
        error: &Error,
        now: i64,
    ) {
        if error.retry_after().is_some() {
            return;
        }
        let claims = verified.map(|(identity, _)| identity.claims());
        let event = Event {
            kind: EventKind::Refusal,
            subject: claims.map(|claims| claims.profile.subject.clone()),
            email: claims.and_then(|claims| claims.profile.email.clone()),
            session_id: None,
            client: self.client(request),
            client_id: claims.map(|claims| claims.audience.clone()),
            verified_by: verified.map(|(_, by)| by.as_str()),
            reason: Some(error.description().to_owned()),
            host: forward_auth::host(self, request),
        };
        self.record_within_budget(event, RefusedBy::SignIn, now);
    }

    /// Records a refusal, or counts it in the metrics if there are too many.
    pub(super) fn record_within_budget(&self, refusal: Event, by: RefusedBy, now: i64) {
        if !self.store.record_refusal(refusal, by, now) {
            self.metrics.count_unrecorded_refusal();
        }
    }
}

/// How a page names an account.
pub fn account_name(profile: &Profile) -> String {
    profile.email.as_deref().unwrap_or(profile.display_name()).to_owned()
}

fn answer<'a>(signed_in: &'a SignedIn, token: &'a SessionToken) -> Answer<'a> {
    let session = &signed_in.session;
    Answer {
        user: &signed_in.user,
        session: AnsweredSession {
            token: token.expose(),
            id: &session.id,
            created_at: session.created_at,
            expires_at: session.expires_at,
        },
        new_user: signed_in.new_user,
    }
}
