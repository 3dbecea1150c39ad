//! Google's RISC API: where a project registers the receiver of its security events.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::security_event::EventType;
use super::service_account::ServiceAccount;
use crate::http_client::{Authorities, Client};

/// The `aud` of a token for the API.
const AUDIENCE: &str =
    "https://risc.googleapis.com/google.identity.risc.v1beta.RiscManagementService";
const PUSH: &str = "https://schemas.openid.net/secevent/risc/delivery-method/push";
const NAME: &str = "Google's RISC API";
/// The deadline of one call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The rest of Google's own message is not shown.
const MESSAGE_CHARACTERS_MAX: usize = 300;

/// The API, used with one account.
pub struct RiscApi<'a> {
    /// Where it is, for example `https://risc.googleapis.com/v1beta`.
    pub url: &'a Url,
    /// The authorities that vouch for it.
    pub authorities: Option<&'a Authorities>,
    /// The account that uses it.
    pub account: &'a ServiceAccount,
}

/// A registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where Google posts events.
    pub url: String,
    /// The last parts of the URLs of the events that are requested.
    pub events: Vec<String>,
    /// `enabled`, or `disabled` while Google posts nothing.
    pub status: String,
}

impl RiscApi<'_> {
    /// Has Google post every type of event that we know to that URL from now on.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub fn register(&self, receiver: &Url, now: i64) -> Result<(), String> {
        let events: Vec<&str> = EventType::KNOWN.iter().map(|(_, url)| *url).collect();
        let delivery = json!({"delivery_method": PUSH, "url": receiver.as_str()});
        let stream = json!({"delivery": delivery, "events_requested": events});
        self.post("stream:update", &stream, now)?;
        // Somebody may have turned it off.
        self.post("stream/status:update", &json!({"status": "enabled"}), now)
    }

    /// What is registered for the account's project.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub fn registration(&self, now: i64) -> Result<Registration, String> {
        #[derive(Deserialize)]
        struct Stream {
            delivery: Delivery,
            #[serde(default)]
            events_requested: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Delivery {
            url: String,
        }
        #[derive(Deserialize)]
        struct Status {
            status: String,
        }
        let unexpected = |_| format!("{NAME} sent an unexpected answer");
        let stream: Stream =
            serde_json::from_value(self.get("stream", now)?).map_err(unexpected)?;
        let Status { status } =
            serde_json::from_value(self.get("stream/status", now)?).map_err(unexpected)?;
        let last_part = |url: &String| url.rsplit('/').next().unwrap_or_default().to_owned();
        let events = stream.events_requested.iter().map(last_part).collect();
        Ok(Registration { url: stream.delivery.url, events, status })
    }

    /// Has Google send a verification event with that state.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub fn verify(&self, state: &str, now: i64) -> Result<(), String> {
        self.post("stream:verify", &json!({"state": state}), now)
    }

    fn get(&self, path: &str, now: i64) -> Result<Value, String> {
        let answer = self.client(path, now)?.get(&[], Instant::now() + TIMEOUT)?;
        let body = answer.body?;
        match answer.status {
            200 => serde_json::from_slice(&body)
                .map_err(|_| format!("{NAME} sent an answer that is not JSON")),
            status => Err(self.refusal(status, &body)),
        }
    }

    fn post(&self, path: &str, body: &Value, now: i64) -> Result<(), String> {
        let client = self.client(path, now)?;
        let answer = client.post(&body.to_string(), Instant::now() + TIMEOUT)?;
        match answer.status {
            200 => Ok(()),
            status => Err(self.refusal(status, &answer.body?)),
        }
    }

    fn client(&self, path: &str, now: i64) -> Result<Client, String> {
        let url = format!("{}/{path}", self.url.as_str().trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| format!("{NAME} has no such URL: {error}"))?;
        let token = self.account.token_for(AUDIENCE, now);
        Ok(Client::new(&url, self.authorities, NAME, 1).with_bearer(&token))
    }

    /// The advice for a status other than 200, with Google's own message. Google documents the
    /// messages, but no code for most of them, so they are recognised by a word.
    fn refusal(&self, status: u16, body: &[u8]) -> String {
        let error = serde_json::from_slice::<Refusal>(body)
            .map_or_else(|_| RefusalBody::default(), |r| r.error);
        let says = |word: &str| error.message.to_lowercase().contains(word);
        let is_disabled = error.details.iter().any(|detail| detail["reason"] == "SERVICE_DISABLED");
        let advice = match status {
            401 => {
                "Google does not accept the key; check that it has not been deleted, and that the clock is right"
            }
            404 => {
                "nothing is registered for this project; run `hallpass google-events register` first"
            }
            429 | 500.. => {
                return format!("{NAME} cannot answer (status {status}); try again later");
            }
            _ if is_disabled || says("has not been used") || says("it is disabled") => {
                "the RISC API is not enabled; enable it at \
                 https://console.cloud.google.com/apis/library/risc.googleapis.com"
            }
            _ if says("terms") => {
                "the terms of the RISC API are not accepted; accept them at \
                 https://console.cloud.google.com/apis/library/risc.googleapis.com"
            }
            _ if says("https url") => "Google posts events to https URLs only",
            _ if says("domain") => {
                "the host of the URL is not on an authorized domain of the project; add the domain at \
                 https://console.cloud.google.com/auth/branding"
            }
            _ if says("oauth client") => {
                "the project of the key has no OAuth client; use a service account of the project that has your client ID"
            }
            403 => {
                return format!(
                    "the service account {} may not do this; grant it the role RISC Configuration Admin \
                     (roles/riscconfigs.admin) at https://console.cloud.google.com/iam-admin/iam{}",
                    self.account.email(),
                    quoted(&error.message)
                );
            }
            _ => return format!("{NAME} refuses (status {status}){}", quoted(&error.message)),
        };
        format!("{advice}{}", quoted(&error.message))
    }
}

/// An error of Google's APIs.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Default, Deserialize)]
struct RefusalBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Value>,
}

fn quoted(message: &str) -> String {
    let plain = |c: &char| !c.is_control();
    let message: String = message.chars().filter(plain).take(MESSAGE_CHARACTERS_MAX).collect();
    if message.is_empty() { String::new() } else { format!(" (Google says: {message})") }
}
