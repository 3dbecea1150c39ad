//! Why a command failed.

/// One sentence for standard error, and the exit code.
#[derive(Debug)]
pub struct Stop {
    /// 1 for most failures; 2 for wrong usage, as in clap.
    pub code: u8,
    /// A sentence without a full stop.
    pub message: String,
}

impl Stop {
    /// Wrong usage: clap's exit code for it.
    pub fn usage(message: String) -> Stop {
        Stop { code: 2, message }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop { code: 1, message }
    }
}
