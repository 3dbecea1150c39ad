//! Taking the token out of a sign-in request, however the client sends it.

use serde_json::Value;

use super::error::Error;
use crate::http::Request;
use crate::json::Fields;

/// The fields a token may be in: Google's samples for Android, iOS and AIR, the old web one, and the new button.
const TOKEN_FIELDS: [&str; 4] = ["id_token", "idToken", "idtoken", CREDENTIAL];
/// The field of Google's own redirect post.
const CREDENTIAL: &str = "credential";
/// What clients call a plain user id.
const USER_ID_FIELDS: [&str; 7] =
    ["user_id", "userId", "userid", "google_id", "googleId", "sub", "id"];

const PLAIN_USER_ID: &str =
    "a plain user id is no proof of who sends it, as ids are no secret; send the ID token";

/// What a sign-in request brings.
pub struct Intake {
    /// The text that should be an ID token.
    pub token: String,
    /// The nonce that the token must contain.
    pub nonce: Option<String>,
    /// What came beside it, if this is Google's own redirect post.
    pub redirect_post: Option<RedirectPost>,
}

/// The other fields of Google's redirect post.
pub struct RedirectPost {
    /// Must equal the cookie of that name.
    pub g_csrf_token: Option<String>,
    /// Where the person was going.
    pub state: Option<String>,
}

/// Whether the body is a form with Google's field in it, before anything else is said about it.
pub fn is_redirect_post(request: &Request) -> bool {
    request.media_type().as_deref() == Some(FORM)
        && Fields::parse_form(&request.body).iter().any(|(name, _)| name == CREDENTIAL)
}

/// Where somebody was going whose redirect post this is, whatever becomes of it.
pub fn state(request: &Request) -> Option<String> {
    if !is_redirect_post(request) {
        return None;
    }
    single(&Fields::parse_form(&request.body), "state").ok()?
}

/// Reads a sign-in request.
///
/// # Errors
/// 400 unless there is exactly one token and it is not a plain user id; 415 for a body of another type.
pub fn read(request: &Request) -> Result<Intake, Error> {
    let fields = body_fields(request)?;
    let named: Vec<&Value> = fields
        .iter()
        .filter(|(name, _)| TOKEN_FIELDS.contains(name))
        .map(|(_, value)| value)
        .collect();
    let mut tokens: Vec<String> = request.bearers().map(str::to_owned).collect();
    for value in named {
        match value {
            Value::String(text) => tokens.push(text.clone()),
            Value::Number(_) => return Err(Error::InvalidRequest(PLAIN_USER_ID)),
            _ => return Err(Error::InvalidRequest("the token must be a string")),
        }
    }
    let token = match <[String; 1]>::try_from(tokens) {
        Ok([token]) => token,
        Err(tokens) if tokens.is_empty() => String::new(),
        Err(_) => {
            return Err(Error::InvalidRequest(
                "there must be exactly one token, and there are several",
            ));
        }
    };
    if token.is_empty() {
        let user_id = fields.iter().any(|(name, _)| USER_ID_FIELDS.contains(&name));
        return Err(Error::InvalidRequest(if user_id {
            PLAIN_USER_ID
        } else {
            "there is no token; send it as id_token, idToken, idtoken or credential, or as a bearer"
        }));
    }
    if token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::InvalidRequest(PLAIN_USER_ID));
    }
    let redirect_post = if is_redirect_post(request) {
        Some(RedirectPost {
            g_csrf_token: single(&fields, "g_csrf_token")?,
            state: single(&fields, "state")?,
        })
    } else {
        None
    };
    Ok(Intake { token, nonce: single(&fields, "nonce")?, redirect_post })
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form or JSON body; none for an empty body, whatever its type.
///
/// # Errors
/// 400 if it is not what it says, 415 if it says something else.
pub fn body_fields(request: &Request) -> Result<Fields, Error> {
    if request.body.is_empty() {
        return Ok(Fields::parse_form(b""));
    }
    match request.media_type().as_deref() {
        Some(FORM) if std::str::from_utf8(&request.body).is_ok() => {
            Ok(Fields::parse_form(&request.body))
        }
        Some(FORM) => Err(Error::InvalidRequest("the form is not UTF-8")),
        Some("application/json") => Fields::parse(&request.body)
            .map_err(|_| Error::InvalidRequest("the body is not a JSON object")),
        _ => Err(Error::UnsupportedMediaType),
    }
}

/// The one value of a field that may be absent; empty is absent.
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
