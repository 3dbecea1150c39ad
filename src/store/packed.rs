//! A session and its user in one piece of memory: a third of what the values take, which have many short texts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sessions::{Authenticated, Client, Session, SessionKind};
use super::users::User;
use crate::profile::Profile;

/// A [`Authenticated`] as bytes, which this process alone reads.
#[derive(Clone)]
pub struct Packed(Arc<[u8]>);

impl Packed {
    pub fn new(holder: &Authenticated) -> Packed {
        Packed(postcard::to_allocvec(holder).expect("a Vec takes every write").into())
    }

    pub fn open(&self) -> Authenticated {
        postcard::from_bytes(&self.0).expect("what was packed can be opened")
    }
}

/// Every field of a [`Session`], while its own form is the one of the contract.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Session")]
pub struct WholeSession {
    id: String,
    kind: SessionKind,
    client_id: String,
    created_at: i64,
    last_seen_at: i64,
    expires_at: i64,
    ended_at: Option<i64>,
    client: Client,
}

/// Every field of a [`User`], likewise.
#[derive(Serialize, Deserialize)]
#[serde(remote = "User")]
pub struct WholeUser {
    profile: Profile,
    created_at: i64,
    last_signin_at: Option<i64>,
    blocked_at: Option<i64>,
}
