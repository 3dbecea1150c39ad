//! Reading a sign-in request, however the client sends it.

use serde_json::Value;

use super::body;
use super::cookies::{self, G_CSRF_TOKEN};
use super::error::Error;
use crate::http::Request;
use crate::json::Fields;
use crate::token::IdToken;

/// The fields that may hold the token: Google's samples for Android, iOS and AIR, its old web
/// sample, and the current button.
const TOKEN_FIELDS: [&str; 4] = ["id_token", "idToken", "idtoken", CREDENTIAL];
/// The field of Google's redirect post.
const CREDENTIAL: &str = "credential";
/// The fields in which clients send a plain user ID.
const USER_ID_FIELDS: [&str; 7] =
    ["user_id", "userId", "userid", "google_id", "googleId", "sub", "id"];

const PLAIN_USER_ID: &str =
    "a plain user id does not prove who sends it, because ids are not secret; send the ID token";
const NO_TOKEN: &str =
    "there is no token; send it as id_token, idToken, idtoken or credential, or as a bearer";
pub const NOT_FROM_HERE: &str = "this sign-in did not begin in this browser, or its cookies are off \
    (g_csrf_token must be present as a cookie and as a field, with the same value)";

/// A well-formed sign-in request.
pub enum SignInRequest {
    /// From a client that reads the session as JSON.
    Posted(Presented),
    /// From Google's button in redirect mode, with the right `g_csrf_token`. The browser is sent
    /// on to `state`.
    Redirect { presented: Presented, state: Option<String> },
}

/// An ID token, and the nonce that it must contain.
pub struct Presented {
    pub token: IdToken,
    pub nonce: Option<String>,
}

impl SignInRequest {
    /// Reads a request whose body has these fields.
    ///
    /// # Errors
    /// 400 without exactly one token, for a plain user ID, or for a wrong `g_csrf_token`; 401 for
    /// a token of impossible shape.
    pub fn read(request: &Request, fields: &Fields) -> Result<SignInRequest, Error> {
        let token = token_text(request, fields)?;
        let nonce = single(fields, "nonce")?;
        let redirect = is_redirect_post(request, fields);
        let state = if redirect { single(fields, "state")? } else { None };
        if redirect {
            let expected = single(fields, G_CSRF_TOKEN)?;
            if !expected.is_some_and(|value| cookies::g_csrf_tokens(request).contains(&value)) {
                return Err(Error::InvalidRequest(NOT_FROM_HERE));
            }
        }
        let token = IdToken::parse(&token)
            .ok_or(Error::InvalidToken("this cannot be a Google ID token"))?;
        let presented = Presented { token, nonce };
        Ok(if redirect {
            SignInRequest::Redirect { presented, state }
        } else {
            SignInRequest::Posted(presented)
        })
    }

    /// The token and its nonce.
    pub fn presented(&self) -> &Presented {
        match self {
            SignInRequest::Posted(presented) | SignInRequest::Redirect { presented, .. } => {
                presented
            }
        }
    }
}

/// Whether these are the fields of a form with Google's field in it.
pub fn is_redirect_post(request: &Request, fields: &Fields) -> bool {
    body::is_form(request) && fields.first(CREDENTIAL).is_some()
}

/// The `state` of a redirect post that was refused: where the person was going.
pub fn state(request: &Request) -> Option<String> {
    let fields = body::fields(request).ok()?;
    if !is_redirect_post(request, &fields) {
        return None;
    }
    single(&fields, "state").ok()?
}

fn token_text(request: &Request, fields: &Fields) -> Result<String, Error> {
    let mut tokens: Vec<&str> = request.bearers().collect();
    for (_, value) in fields.iter().filter(|(name, _)| TOKEN_FIELDS.contains(name)) {
        match value {
            Value::String(text) => tokens.push(text),
            Value::Number(_) => return Err(Error::InvalidRequest(PLAIN_USER_ID)),
            _ => return Err(Error::InvalidRequest("the token must be a string")),
        }
    }
    let has_user_id = fields.iter().any(|(name, _)| USER_ID_FIELDS.contains(&name));
    match tokens[..] {
        [] | [""] if has_user_id => Err(Error::InvalidRequest(PLAIN_USER_ID)),
        [] | [""] => Err(Error::InvalidRequest(NO_TOKEN)),
        [token] if token.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(Error::InvalidRequest(PLAIN_USER_ID))
        }
        [token] => Ok(token.to_owned()),
        _ => Err(Error::InvalidRequest("expected exactly one token, got several")),
    }
}

/// The one value of a field that may be absent; an empty one counts as absent.
fn single(fields: &Fields, name: &str) -> Result<Option<String>, Error> {
    let mut values = fields.iter().filter(|(field, value)| *field == name && !value.is_null());
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some((_, Value::String(text))), None) => {
            Ok(Some(text.clone()).filter(|text| !text.is_empty()))
        }
        _ => Err(Error::InvalidRequest(
            "nonce, state and g_csrf_token must each be one string, or absent",
        )),
    }
}
