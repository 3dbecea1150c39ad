//! The sign-out page, for apps that link to it.

use maud::html;

use super::languages::{accepted, fill};
use super::{Scripts, page};
use crate::http::{Request, Response};
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::return_to;
use crate::web::sessions::signed_out_address;
use crate::web::signin::{ACCOUNT_PATH, account_name};

/// GET /auth/signout?rd=URL: asks first, because any page can link to it. Without a session, it
/// redirects as after a sign-out.
///
/// # Errors
/// 503 if the store cannot answer.
pub fn signout(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let return_address = return_to::requested(request, &app.settings);
    let signed_in = app.live_sessions(request, now)?;
    let Some(caller) = signed_in.first() else {
        return Ok(Response::see_other(signed_out_address(app, return_address.as_deref())));
    };
    let texts = accepted(request);
    let account = html! { strong { bdi { (account_name(&caller.user.profile)) } } };
    let content = html! {
        h1 { (texts.sign_out_question) }
        p { (fill(texts.signed_in_as, &[("account", &account)])) }
        form.actions method="post" action="/auth/signout" {
            @if let Some(place) = &return_address { input type="hidden" name="rd" value=(place); }
            button.primary { (texts.sign_out) }
            button.danger name="everywhere" value="true" { (texts.sign_out_everywhere) }
            a.button href=(return_address.as_deref().unwrap_or(ACCOUNT_PATH)) { (texts.stay_signed_in) }
        }
    };
    Ok(page(app, texts, 200, texts.sign_out, Scripts::None, &content))
}
