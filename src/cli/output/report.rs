//! What checks find, one line each.

use serde_json::{Value, json};

use crate::cli::output::table;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warning,
    /// It does not work.
    Failure,
    /// It cannot be told.
    Unknown,
}

/// What one check finds.
#[derive(Debug)]
pub struct Finding {
    /// Its name.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Findings, shown as they come, or at the end as JSON.
pub struct Report {
    is_json: bool,
    findings: Vec<Finding>,
}

impl Verdict {
    fn glyph_and_name(self) -> (&'static str, &'static str) {
        match self {
            Verdict::Ok => ("✓", "ok"),
            Verdict::Warning => ("!", "warning"),
            Verdict::Failure => ("✗", "failure"),
            Verdict::Unknown => ("?", "unknown"),
        }
    }
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, detail: detail.into(), advice: None }
    }

    /// All works, for now or for some.
    pub fn warning(
        check: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            verdict: Verdict::Warning,
            detail: detail.into(),
            advice: Some(advice.into()),
        }
    }

    /// Something does not work.
    pub fn failure(
        check: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        Finding {
            check,
            verdict: Verdict::Failure,
            detail: detail.into(),
            advice: Some(advice.into()),
        }
    }
}

impl Report {
    /// An empty one.
    pub fn new(is_json: bool) -> Report {
        Report { is_json, findings: Vec::new() }
    }

    /// Adds a finding: on a terminal with a glyph, otherwise a line with tabs.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, finding: Finding) -> Result<(), String> {
        if !self.is_json {
            let (glyph, name) = finding.verdict.glyph_and_name();
            table::finding(glyph, name, finding.check, &finding.detail, finding.advice.as_deref())?;
        }
        self.findings.push(finding);
        Ok(())
    }

    /// All so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether any came out as a failure.
    pub fn has_failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Failure)
    }

    /// Prints the array, if it is to be one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&self) -> Result<(), String> {
        if self.is_json {
            table::documents(
                [Value::Array(self.findings.iter().map(document).collect())].into_iter(),
            )?;
        }
        Ok(())
    }
}

fn document(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "verdict": finding.verdict.glyph_and_name().1,
        "detail": finding.detail,
        "advice": finding.advice,
    })
}
