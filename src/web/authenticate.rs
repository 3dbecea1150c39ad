//! Which credential of a request counts, and whose live session it is.

use super::app::App;
use super::cookies;
use super::error::Error;
use super::signin_request::Presented;
use crate::google::AllowList;
use crate::http::Request;
use crate::store::{Authenticated, Refusal, SessionKind};
use crate::token::{IdToken, SessionToken, TokenHash};

/// The credential that counts.
enum Credential {
    /// A bearer with our prefix decides alone, even if it cannot be a token. So does a token as the
    /// password of Basic credentials.
    Session(Option<SessionToken>),
    /// A bearer that names Google as its issuer.
    IdToken(IdToken),
    /// Any other `Authorization` belongs to the app behind the proxy. Of several cookies, any valid
    /// one suffices.
    Cookies(Vec<SessionToken>),
}

impl Credential {
    fn of(app: &App, request: &Request) -> Credential {
        for bearer in request.bearers() {
            if SessionToken::has_prefix(bearer) {
                return Credential::Session(SessionToken::parse(bearer));
            }
            if let Some(token) = IdToken::from_bearer(bearer) {
                return Credential::IdToken(token);
            }
        }
        if let Some(token) = request.basic_credentials().find_map(SessionToken::from_basic) {
            return Credential::Session(Some(token));
        }
        Credential::Cookies(cookies::session_tokens(request, &app.settings))
    }

    fn is_present(&self) -> bool {
        match self {
            Credential::Session(_) | Credential::IdToken(_) => true,
            Credential::Cookies(tokens) => !tokens.is_empty(),
        }
    }

    fn hashes(&self) -> Vec<TokenHash> {
        match self {
            Credential::Session(token) => token.iter().map(SessionToken::hash).collect(),
            Credential::IdToken(token) => vec![token.signed_hash()],
            Credential::Cookies(tokens) => tokens.iter().map(SessionToken::hash).collect(),
        }
    }

    /// Whether it proves the session that was found by its hash. The hash of an ID token leaves out
    /// the signature.
    fn proves(&self, found: &Authenticated) -> bool {
        match self {
            Credential::IdToken(token) => found.session.id == token.session_id(),
            Credential::Session(_) | Credential::Cookies(_) => true,
        }
    }
}

/// The purpose of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Be named to an app: check, forward and me.
    Identify,
    /// Anything else.
    Act,
}

const ONLY_IDENTIFIES: &str =
    "a token for programs works for /auth/check, /auth/forward and /auth/me only";

impl App {
    /// The caller, with a live session that the current policy permits. A new Google ID token is
    /// exchanged first.
    ///
    /// # Errors
    /// 401 without a live session, 403 because of the policy, a block or a token for programs, 429
    /// for too many new ID tokens, 503 if the store or Google cannot answer.
    pub(super) fn authenticate(&self, request: &Request, now: i64) -> Result<Authenticated, Error> {
        self.authenticate_for(Purpose::Act, request, now)
    }

    /// Like [`App::authenticate`], but also accepts a token for programs, which only names the
    /// caller.
    ///
    /// # Errors
    /// Those of [`App::authenticate`].
    pub(super) fn authenticate_any(
        &self,
        request: &Request,
        now: i64,
    ) -> Result<Authenticated, Error> {
        self.authenticate_for(Purpose::Identify, request, now)
    }

    fn authenticate_for(
        &self,
        purpose: Purpose,
        request: &Request,
        now: i64,
    ) -> Result<Authenticated, Error> {
        let credential = Credential::of(self, request);
        let hashes = credential.hashes();
        let mut found = self.sessions(&credential, now)?;
        if let Credential::IdToken(token) = &credential
            && found.iter().all(Option::is_none)
        {
            if self.store.id_token_has_ended(&token.signed_hash())? {
                return Err(Error::Unauthenticated { bad_credential: true });
            }
            self.exchange(token, request, now)?;
            // Google has just confirmed this signature.
            found = self.store.sessions(&hashes, now, self.settings.session_idle)?;
        }
        self.choose(purpose, &credential, &hashes, found, now)
    }

    /// [`App::authenticate_any`] from the cache alone: `None` if that needs the database or Google.
    pub(super) fn authenticate_from_cache(
        &self,
        request: &Request,
        now: i64,
    ) -> Option<Result<Authenticated, Error>> {
        let credential = Credential::of(self, request);
        let hashes = credential.hashes();
        let found = self.store.cached_sessions(&hashes, now, self.settings.session_idle)?;
        let all_proved = found.iter().all(|found| credential.proves(found));
        let found = found.into_iter().map(Some);
        all_proved.then(|| self.choose(Purpose::Identify, &credential, &hashes, found, now))
    }

    /// The first session that is live and permitted.
    fn choose(
        &self,
        purpose: Purpose,
        credential: &Credential,
        hashes: &[TokenHash],
        found: impl IntoIterator<Item = Option<Authenticated>>,
        now: i64,
    ) -> Result<Authenticated, Error> {
        let mut refusal = Error::Unauthenticated { bad_credential: credential.is_present() };
        for (token, caller) in hashes.iter().zip(found) {
            let Some(caller) = caller.filter(|caller| self.is_live(caller, now)) else {
                continue;
            };
            match self.permit(&caller, purpose) {
                Ok(()) => {
                    self.store.update_last_seen(&caller.session, token, now);
                    return Ok(caller);
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Every live session whose token the request carries, whatever the policy says. Google is not
    /// asked.
    ///
    /// # Errors
    /// 403 if there are only tokens for programs, 503 if the store cannot answer.
    pub(super) fn live_sessions(
        &self,
        request: &Request,
        now: i64,
    ) -> Result<Vec<Authenticated>, Error> {
        let found = self.sessions(&Credential::of(self, request), now)?;
        let live = found.into_iter().flatten().filter(|caller| self.is_live(caller, now));
        let (tokens, sessions): (Vec<_>, Vec<_>) = live.partition(is_token);
        if sessions.is_empty() && !tokens.is_empty() {
            return Err(Error::denied(ONLY_IDENTIFIES));
        }
        Ok(sessions)
    }

    /// Whether the request carries a new ID token, for which Google may have to be asked.
    pub fn needs_exchange(&self, request: &Request, now: i64) -> bool {
        let token = request.bearers().find_map(IdToken::from_bearer);
        token.is_some_and(|token| {
            // The store is not read on a thread for quick requests if that may take long.
            self.store.is_remote()
                || !matches!(
                    self.sessions(&Credential::IdToken(token), now).as_deref(),
                    Ok([Some(_)])
                )
        })
    }

    /// For each token of the credential, the session that it proves, live or not.
    fn sessions(
        &self,
        credential: &Credential,
        now: i64,
    ) -> Result<Vec<Option<Authenticated>>, Error> {
        let found = self.store.sessions(&credential.hashes(), now, self.settings.session_idle)?;
        let proved = |found: Option<Authenticated>| found.filter(|found| credential.proves(found));
        Ok(found.into_iter().map(proved).collect())
    }

    fn is_live(&self, caller: &Authenticated, now: i64) -> bool {
        let turned_off = is_token(caller) && self.settings.token_lifetime == 0;
        !turned_off && caller.session.is_live(now, self.settings.session_idle)
    }

    fn permit(&self, caller: &Authenticated, purpose: Purpose) -> Result<(), Error> {
        if caller.user.blocked_at.is_some() {
            return Err(Error::denied_in_session(caller, Refusal::Blocked.description()));
        }
        if caller.user.google_disabled_at.is_some() {
            let reason = Refusal::DisabledByGoogle.description();
            return Err(Error::denied_in_session(caller, reason));
        }
        if !caller.is_allowed && !self.settings.policy.permits(&caller.user.profile) {
            // The cache may answer this, so the list in the database is not read.
            let reason = self.settings.policy.refusal(&caller.user.profile, &AllowList::default());
            return Err(Error::denied_in_session(caller, reason));
        }
        // Sessions of a client ID that is no longer accepted have ended; signing in with another
        // one helps. A token that the operator created has no client ID.
        let client_id = &caller.session.client_id;
        let by_operator = is_token(caller) && client_id.is_empty();
        if !by_operator && !self.settings.client_ids.contains(client_id) {
            return Err(Error::Unauthenticated { bad_credential: true });
        }
        if is_token(caller) && purpose == Purpose::Act {
            return Err(Error::denied(ONLY_IDENTIFIES));
        }
        Ok(())
    }

    /// Exchanges an ID token for its row in the store. Requests that bring the same token meanwhile
    /// share the outcome.
    fn exchange(&self, token: &IdToken, request: &Request, now: i64) -> Result<(), Error> {
        if let Err(limited) =
            self.signin_limiter.count(self.client_address(request).rate_limit_key())
        {
            return self.conclude_signin(request, Err(limited.into()), now);
        }
        self.exchanges.share(token.hash(), || {
            let credential = Credential::IdToken(token.clone());
            if self.sessions(&credential, now)?.iter().any(Option::is_some) {
                return Ok(());
            }
            let presented = Presented { token: token.clone(), nonce: None };
            let outcome = self.sign_in(&presented, SessionKind::IdToken, request, now);
            self.conclude_signin(request, outcome.map(drop), now)
        })
    }
}

fn is_token(caller: &Authenticated) -> bool {
    caller.session.kind == SessionKind::Token
}
