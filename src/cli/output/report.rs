//! The findings of checks, one line each.

use serde_json::{Value, json};

use crate::cli::output::table;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It does not work.
    Failure,
    /// The check could not decide.
    Unknown,
}

/// A finding of a check.
#[derive(Debug)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// The result.
    pub verdict: Verdict,
    /// The observation.
    pub detail: String,
    /// The advice, if there is any.
    pub advice: Option<String>,
}

/// Findings, printed as they come or, as JSON, at the end.
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
    /// A check that passed.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, detail: detail.into(), advice: None }
    }

    /// Something that needs attention.
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

    /// Something that does not work.
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

    /// A failure from an error text: what is wrong and, after a semicolon, what to do.
    pub fn refused(check: &'static str, why: &str) -> Finding {
        let (detail, advice) = why
            .rsplit_once("; ")
            .unwrap_or((why, "`hallpass serve --help` says what each flag takes"));
        Finding::failure(check, detail, advice)
    }
}

impl Report {
    /// An empty report.
    pub fn new(is_json: bool) -> Report {
        Report { is_json, findings: Vec::new() }
    }

    /// Adds a finding and, unless the report is JSON, prints it.
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

    /// The findings so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether any check failed.
    pub fn has_failed(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == Verdict::Failure)
    }

    /// Prints the array if the report is JSON.
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
