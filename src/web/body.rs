//! The fields of a form or JSON body.

use super::error::Error;
use crate::http::Request;
use crate::json::Fields;

const FORM: &str = "application/x-www-form-urlencoded";

/// Reads the fields; an empty body of any type has none.
///
/// # Errors
/// 400 if the body is not what its type says, 415 for another type.
pub fn fields(request: &Request) -> Result<Fields, Error> {
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

/// The text of a field; empty if it is absent or not a string.
pub fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.first(name).and_then(|value| value.as_str()).unwrap_or_default()
}

/// Whether the body is a form.
pub fn is_form(request: &Request) -> bool {
    request.media_type().as_deref() == Some(FORM)
}
