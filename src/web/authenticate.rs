//! Who is asking: which credential of a request counts, and what it is worth now.

use super::app::App;
use super::session_cookie;
use crate::error::Error;
use crate::google::NOT_ON_THE_LIST;
use crate::http::Request;
use crate::store::{Authenticated, Refusal, SessionKind};
use crate::token::{IdToken, SessionToken, TokenHash};

/// The credential of a request that counts.
enum Credential {
    /// A bearer of ours decides alone.
    Session(SessionToken),
    /// A bearer that says Google issued it.
    IdToken(IdToken),
    /// Any other `Authorization` belongs to the app behind the proxy. Of several cookies, any good one will do.
    Cookies(Vec<SessionToken>),
}

impl Credential {
    fn of(app: &App, request: &Request) -> Credential {
        for bearer in request.bearers() {
            if let Some(token) = SessionToken::parse(bearer) {
                return Credential::Session(token);
            }
            if let Some(token) = IdToken::from_bearer(bearer) {
                return Credential::IdToken(token);
            }
        }
        let name = session_cookie::name(&app.settings);
        Credential::Cookies(
            session_cookie::values(request, name).filter_map(SessionToken::parse).collect(),
        )
    }

    fn hashes(&self) -> Vec<TokenHash> {
        match self {
            Credential::Session(token) => vec![token.hash()],
            Credential::IdToken(token) => vec![token.hash()],
            Credential::Cookies(tokens) => tokens.iter().map(SessionToken::hash).collect(),
        }
    }
}

impl App {
    /// Who asks, with a live session and permitted by the policy as it is now. A Google ID token that nobody has seen
    /// is exchanged first.
    ///
    /// # Errors
    /// 401 without a live session, 403 if the policy or a block forbids it, 503 if store or Google cannot answer.
    pub(super) fn authenticate(&self, request: &Request, now: i64) -> Result<Authenticated, Error> {
        let credential = Credential::of(self, request);
        if let Credential::IdToken(token) = &credential
            && self.session(&token.hash(), now)?.is_none()
        {
            let outcome = self.exchange(token, request, now);
            self.count_signin(outcome.as_ref().err());
            outcome?;
        }
        let mut refusal = Error::Unauthenticated;
        for token in credential.hashes() {
            let Some(caller) = self.live(&token, now)? else {
                continue;
            };
            match self.permit(&caller) {
                Ok(()) => {
                    self.store.touch(&caller.session, &token, now);
                    return Ok(caller);
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Every live session that the request has the token of, whatever the policy says. Google is not asked.
    pub(super) fn live_sessions(
        &self,
        request: &Request,
        now: i64,
    ) -> Result<Vec<Authenticated>, Error> {
        let hashes = Credential::of(self, request).hashes();
        hashes.iter().filter_map(|token| self.live(token, now).transpose()).collect()
    }

    /// Whether the request brings an ID token that nobody has seen: then Google may be asked, and it may take seconds.
    pub fn needs_exchange(&self, request: &Request, now: i64) -> bool {
        let token = request.bearers().find_map(IdToken::from_bearer);
        token.is_some_and(|token| !matches!(self.session(&token.hash(), now), Ok(Some(_))))
    }

    /// Whether it can be told without asking the database, or anybody else, who asks.
    pub fn knows_caller(&self, request: &Request, now: i64) -> bool {
        let is_known =
            |token| self.store.known_session(token, now, self.settings.session_idle).is_some();
        Credential::of(self, request).hashes().iter().all(is_known)
    }

    fn session(&self, token: &TokenHash, now: i64) -> Result<Option<Authenticated>, Error> {
        Ok(self.store.session(token, now, self.settings.session_idle)?)
    }

    fn live(&self, token: &TokenHash, now: i64) -> Result<Option<Authenticated>, Error> {
        let found = self.session(token, now)?;
        Ok(found.filter(|holder| holder.session.is_live(now, self.settings.session_idle)))
    }

    fn permit(&self, caller: &Authenticated) -> Result<(), Error> {
        if caller.user.blocked_at.is_some() {
            return Err(Error::denied_in_session(caller, Refusal::Blocked.description()));
        }
        if !self.settings.policy.permits(&caller.user.profile) {
            return Err(Error::denied_in_session(caller, NOT_ON_THE_LIST));
        }
        Ok(())
    }

    /// Makes the row of an ID token. Those who bring the same token meanwhile share the outcome.
    fn exchange(&self, token: &IdToken, request: &Request, now: i64) -> Result<(), Error> {
        self.signin_limiter.count(self.client_address(request))?;
        self.exchanges.share(token.hash(), || {
            if self.session(&token.hash(), now)?.is_none() {
                self.sign_in(token, None, SessionKind::IdToken, request, now)?;
            }
            Ok(())
        })
    }
}
