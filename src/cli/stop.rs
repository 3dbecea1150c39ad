//! Why a command failed.

/// One sentence for standard error, and the exit code.
#[derive(Debug)]
pub struct Stop {
    /// 1 for most failures; 2 for wrong usage, as in clap.
    pub code: u8,
    /// A sentence without a full stop.
    pub message: String,
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop { code: 1, message }
    }
}
