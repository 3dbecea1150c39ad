//! The name of a request in the log and in `X-Request-Id`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Makes IDs of 16 characters that reveal neither time nor order: SipHash of a counter under a
/// random key of this process. They cost no system call.
#[derive(Default)]
pub struct RequestIds {
    key: RandomState,
    made: AtomicU64,
}

impl RequestIds {
    pub fn next(&self) -> String {
        loop {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let mut bytes = [0; 12];
            bytes[..8].copy_from_slice(&self.key.hash_one((number, 0_u8)).to_be_bytes());
            bytes[8..].copy_from_slice(&self.key.hash_one((number, 1_u8)).to_be_bytes()[..4]);
            let id = URL_SAFE_NO_PAD.encode(bytes);
            // A leading hyphen would make it an option of grep.
            if !id.starts_with('-') {
                return id;
            }
        }
    }
}
