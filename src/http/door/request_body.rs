//! The body of a request: of a known length, or in chunks.
//!
//! Chunks are decoded only here. The grammar is that of RFC 9112, section 7.1, without trailers and
//! without leniency: lines end with CRLF, and sizes consist of hexadecimal digits. Extensions are
//! skipped, as the RFC demands.

use super::limits::{BODY_BYTES_MAX, CHUNKED_BYTES_MAX};
use super::reject::Reason;

/// The part of a body that is still missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// A number of bytes.
    Length {
        /// At most [`BODY_BYTES_MAX`].
        missing: usize,
    },
    /// Chunks up to the last one.
    Chunked(Chunks),
}

/// The state of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    expected: Expected,
    received_bytes: usize,
    decoded_bytes: usize,
}

/// What must come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    FirstDigit,
    DigitOrEnd { size: usize },
    Extension { size: usize },
    SizeLineFeed { size: usize },
    Data { missing: usize },
    DataCarriageReturn,
    DataLineFeed,
    LastCarriageReturn,
    LastLineFeed,
    Nothing,
}

impl RequestBody {
    /// A body of which no chunk has arrived.
    pub const CHUNKED: RequestBody = RequestBody::Chunked(Chunks {
        expected: Expected::FirstDigit,
        received_bytes: 0,
        decoded_bytes: 0,
    });

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        match self {
            RequestBody::Length { missing } => *missing == 0,
            RequestBody::Chunked(chunks) => chunks.expected == Expected::Nothing,
        }
    }

    /// Appends the content in `bytes` to `body`, and returns how many bytes of `bytes` belong to
    /// the body.
    ///
    /// # Errors
    /// If the chunks are malformed or too large.
    pub fn receive(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<usize, Reason> {
        if self.is_complete() {
            return Ok(0);
        }
        match self {
            RequestBody::Length { missing } => {
                let taken = bytes.len().min(*missing);
                body.extend_from_slice(&bytes[..taken]);
                *missing -= taken;
                Ok(taken)
            }
            RequestBody::Chunked(chunks) => chunks.decode(bytes, body),
        }
    }
}

impl Chunks {
    fn decode(&mut self, bytes: &[u8], decoded: &mut Vec<u8>) -> Result<usize, Reason> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at)
            && self.expected != Expected::Nothing
        {
            let taken = if let Expected::Data { missing } = self.expected {
                let data = &bytes[at..bytes.len().min(at + missing)];
                decoded.extend_from_slice(data);
                self.decoded_bytes += data.len();
                self.expected = match missing - data.len() {
                    0 => Expected::DataCarriageReturn,
                    missing => Expected::Data { missing },
                };
                data.len()
            } else {
                self.expected = self.expected_after(*byte)?;
                1
            };
            at += taken;
            self.received_bytes += taken;
            if self.received_bytes > CHUNKED_BYTES_MAX {
                return Err(Reason::TooLarge);
            }
        }
        Ok(at)
    }

    fn expected_after(&self, byte: u8) -> Result<Expected, Reason> {
        Ok(match (self.expected, byte) {
            (Expected::FirstDigit, _) => self.expected_after_digit(0, byte)?,
            (Expected::DigitOrEnd { size }, b';') => Expected::Extension { size },
            (Expected::Extension { size }, b'\t' | b' '..=b'~') => Expected::Extension { size },
            (Expected::DigitOrEnd { size } | Expected::Extension { size }, b'\r') => {
                Expected::SizeLineFeed { size }
            }
            (Expected::DigitOrEnd { size }, _) => self.expected_after_digit(size, byte)?,
            (Expected::SizeLineFeed { size: 0 }, b'\n') => Expected::LastCarriageReturn,
            (Expected::SizeLineFeed { size }, b'\n') => Expected::Data { missing: size },
            (Expected::DataCarriageReturn, b'\r') => Expected::DataLineFeed,
            (Expected::DataLineFeed, b'\n') => Expected::FirstDigit,
            (Expected::LastCarriageReturn, b'\r') => Expected::LastLineFeed,
            (Expected::LastLineFeed, b'\n') => Expected::Nothing,
            _ => return Err(Reason::Malformed),
        })
    }

    fn expected_after_digit(&self, size: usize, digit: u8) -> Result<Expected, Reason> {
        let digit = char::from(digit).to_digit(16).ok_or(Reason::Malformed)?;
        let size = size * 16 + digit as usize;
        if size > BODY_BYTES_MAX - self.decoded_bytes {
            return Err(Reason::TooLarge);
        }
        Ok(Expected::DigitOrEnd { size })
    }
}
