//! POST /auth/signin: a token in, a session out.

use serde::Serialize;

use super::app::App;
use super::error::Error;
use super::signin_request::{Presented, SignInRequest, is_redirect_post};
use super::{body, csrf, forward_auth, return_to, session_cookie};
use crate::google::{
    AllowList, Claims, Expected, Failure, Identity, Question, SERVICE_ACCOUNT, VerifiedBy,
};
use crate::http::{Request, Response};
use crate::profile::Profile;
use crate::store::{
    AllowedName, Event, EventKind, NewSession, Refusal, RefusedBy, SessionKind, SignIn, SignedIn,
    StoreError, User,
};
use crate::token::{SessionToken, random_name};

/// The page for people who were not going anywhere else.
pub const ACCOUNT_PATH: &str = "/auth/account";

/// Signs somebody in.
///
/// # Errors
/// 400, 401, 403, 415, 429 or 503.
pub fn post(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let outcome = attempt(app, request, now);
    app.conclude_signin(request, outcome, now)
}

fn attempt(app: &App, request: &Request, now: i64) -> Result<Response, SignInFailure> {
    let settings = &app.settings;
    let fields = body::fields(request);
    let guard = match &fields {
        Ok(fields) if is_redirect_post(request, fields) => csrf::guard_redirect_post,
        _ => csrf::guard,
    };
    guard(request, settings).map_err(SignInFailure::unrecorded)?;
    app.signin_limiter.count(app.client_address(request).rate_limit_key())?;

    let sign_in = SignInRequest::read(request, &fields?)?;
    let kind = SessionKind::Session;
    let (signed_in, session_token) = app.sign_in(sign_in.presented(), kind, request, now)?;
    let response = match &sign_in {
        SignInRequest::Posted(_) => Response::json(200, &Document::of(&signed_in, &session_token)),
        SignInRequest::Redirect { state, .. } => Response::see_other(
            state
                .as_deref()
                .and_then(|state| return_to::parse(state, settings))
                .unwrap_or_else(|| settings.url_of(ACCOUNT_PATH)),
        ),
    };
    Ok(response.with("Set-Cookie", session_cookie::set(settings, &session_token)))
}

/// The JSON of a sign-in, in the contract's order.
#[derive(Serialize)]
struct Document<'a> {
    user: &'a User,
    session: DocumentSession<'a>,
    new_user: bool,
}

#[derive(Serialize)]
struct DocumentSession<'a> {
    token: &'a str,
    id: &'a str,
    created_at: i64,
    expires_at: i64,
}

impl<'a> Document<'a> {
    fn of(signed_in: &'a SignedIn, token: &'a SessionToken) -> Document<'a> {
        let session = &signed_in.session;
        Document {
            user: &signed_in.user,
            session: DocumentSession {
                token: token.expose(),
                id: &session.id,
                created_at: session.created_at,
                expires_at: session.expires_at,
            },
            new_user: signed_in.new_user,
        }
    }
}

/// A failed sign-in, and what is recorded about it.
pub struct SignInFailure {
    error: Error,
    /// The person whom the token names, once it is verified.
    verified: Option<Box<Verified>>,
    /// Whether it must still be recorded as a refusal.
    unrecorded: bool,
}

type Verified = (Identity, VerifiedBy);

impl SignInFailure {
    /// A failure that is not an event, or that the store has recorded already.
    fn unrecorded(error: Error) -> SignInFailure {
        SignInFailure { error, verified: None, unrecorded: false }
    }
}

/// A failure before the token names anybody. A rate limit and an outage are not refusals.
impl From<Error> for SignInFailure {
    fn from(error: Error) -> SignInFailure {
        let unrecorded = error.retry_after().is_none();
        SignInFailure { error, verified: None, unrecorded }
    }
}

/// Whether a person may sign in.
enum Admission {
    BySettings,
    /// An entry in the database lets them in. It may be removed meanwhile; then they are refused
    /// for this reason.
    ByList {
        otherwise: &'static str,
    },
    Refused(&'static str),
}

impl App {
    /// Every sign-in goes through here: the token is verified, the policy applied, and the store
    /// records it.
    ///
    /// # Errors
    /// 401, 403 or 503.
    pub(super) fn sign_in(
        &self,
        presented: &Presented,
        kind: SessionKind,
        request: &Request,
        now: i64,
    ) -> Result<(SignedIn, SessionToken), SignInFailure> {
        let token = &presented.token;
        let verified = self.verify(presented, request, now)?;
        let (identity, verified_by) = &verified;
        let claims = identity.claims();
        let unless_allowed = match self.admit(claims).map_err(Error::from)? {
            Admission::BySettings => None,
            Admission::ByList { otherwise } => Some(otherwise),
            Admission::Refused(reason) => {
                let error = Error::denied_to(&claims.profile, reason);
                let verified = Some(Box::new(verified));
                return Err(SignInFailure { error, verified, unrecorded: true });
            }
        };
        let session_token = SessionToken::generate();
        let (hash, id, expires_at) = match kind {
            SessionKind::Session | SessionKind::Token => {
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
            unless_allowed,
        };
        match self.store.sign_in(sign_in, now).map_err(Error::from)? {
            Ok(signed_in) => {
                self.metrics.count_verified(verified_by.as_str());
                Ok((signed_in, session_token))
            }
            Err(refusal) => {
                let reason = refusal.description();
                Err(SignInFailure::unrecorded(match refusal {
                    Refusal::TokenEnded => Error::InvalidToken(reason),
                    _ => Error::denied_to(&claims.profile, reason),
                }))
            }
        }
    }

    fn admit(&self, claims: &Claims) -> Result<Admission, StoreError> {
        let (policy, profile) = (&self.settings.policy, &claims.profile);
        if claims.is_service_account() {
            return Ok(Admission::Refused(SERVICE_ACCOUNT));
        }
        if policy.permits(profile) {
            return Ok(Admission::BySettings);
        }
        if self.store.entry_for(profile)?.is_some() {
            let otherwise = policy.refusal(profile, &AllowList::default());
            return Ok(Admission::ByList { otherwise });
        }
        Ok(Admission::Refused(policy.refusal(profile, &allow_list(self.store.allowed_names()?))))
    }

    fn verify(
        &self,
        presented: &Presented,
        request: &Request,
        now: i64,
    ) -> Result<Verified, Error> {
        let nonce = presented.nonce.as_deref();
        let client = self.client_address(request);
        let is_near = client.is_near(&self.settings.trusted_proxies);
        let question = Question {
            token: &presented.token,
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

    /// Counts how a sign-in ended, and records a refusal.
    ///
    /// # Errors
    /// The failure's.
    pub(super) fn conclude_signin<T>(
        &self,
        request: &Request,
        outcome: Result<T, SignInFailure>,
        now: i64,
    ) -> Result<T, Error> {
        self.metrics.count_signin(match outcome.as_ref().err().map(|failure| &failure.error) {
            None => "signed_in",
            Some(Error::TooManyRequests { .. }) => "limited",
            Some(Error::Unavailable { .. }) => "unavailable",
            Some(Error::InvalidToken(_)) => "invalid_token",
            Some(Error::AccessDenied { .. }) => "access_denied",
            Some(_) => "invalid_request",
        });
        outcome.map_err(|failure| {
            if failure.unrecorded {
                self.record_refusal(request, &failure, now);
            }
            failure.error
        })
    }

    fn record_refusal(&self, request: &Request, failure: &SignInFailure, now: i64) {
        let verified = failure.verified.as_deref();
        let claims = verified.map(|(identity, _)| identity.claims());
        let event = Event {
            subject: claims.map(|claims| claims.profile.subject.clone()),
            email: claims.and_then(|claims| claims.profile.email.clone()),
            client: self.client(request),
            client_id: claims.map(|claims| claims.audience.clone()),
            verified_by: verified.map(|(_, by)| by.as_str()),
            reason: Some(failure.error.description().to_owned()),
            host: forward_auth::host(self, request),
            ..Event::new(EventKind::Refusal)
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

/// The list in the database, as the policy compares it.
pub fn allow_list(entries: Vec<AllowedName>) -> AllowList {
    let mut list = AllowList::default();
    for entry in entries {
        list.domains.extend(entry.domain);
        list.emails.extend(entry.email);
    }
    list
}

/// The name of an account on pages.
pub fn account_name(profile: &Profile) -> &str {
    profile.email.as_deref().unwrap_or(profile.display_name())
}
