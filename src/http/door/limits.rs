//! The largest request that the door lets through.

/// The longest head, from the method to the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most headers; browsers behind a proxy send about 30.
pub const HEADERS_MAX: usize = 100;
/// The longest body; an ID token has less than 2 KiB.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// The most bytes on the wire of a body in chunks, which bounds sizes and extensions too.
pub const CHUNKED_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;
