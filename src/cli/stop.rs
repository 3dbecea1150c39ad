//! Why a command ends before its time.

/// One sentence for standard error, and the exit code.
#[derive(Debug)]
pub struct Stop {
    /// 1 for most failures, 2 for wrong usage, as clap has it.
    pub code: u8,
    /// Without a full stop.
    pub message: String,
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop { code: 1, message }
    }
}
