//! Lints iPXE scripts: finds them in files, folders, trees and loaders and on web servers, and checks each against the
//! builds that run it.

mod contents;
mod request;
mod sources;

use std::collections::{BTreeMap, HashMap};

use netboot_script::{Finding, LintTarget, ParsedScript, Rule, ScriptPlatform, Severity, Templates, lint};

pub use self::contents::LintBuild;
pub use self::request::{Error, LintPlace, LintRequest};
use self::sources::FoundScript;
use crate::base::diagnostic::Help;
use crate::base::progress::Progress;
use crate::base::url::without_credentials;

/// A script with its findings.
#[derive(Debug)]
pub struct LintedScript {
    /// Its name, as messages show it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it was in a loader.
    pub embedded: bool,
    /// The findings in the order of the text.
    pub findings: Vec<Finding>,
}

/// Lints all scripts of `request`.
///
/// # Errors
///
/// [`Error`] if a script cannot be found or read; findings are no errors.
pub fn lint_all(request: &LintRequest<'_>, progress: &dyn Progress) -> Result<Vec<LintedScript>, Error> {
    let scripts = sources::find(request, progress)?;
    let mut linted = Vec::with_capacity(scripts.len());
    for script in scripts {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let findings = findings(request, &script);
        let FoundScript { name, text, embedded, .. } = script;
        linted.push(LintedScript { name: without_credentials(&name), text, embedded, findings });
    }
    Ok(merged(linted))
}

/// Lints one script against all builds that run it.
fn findings(request: &LintRequest<'_>, script: &FoundScript) -> Vec<Finding> {
    let templates = if script.embedded { Templates::None } else { Templates::Opaque };
    let parsed = ParsedScript::parse(&script.text, templates);
    let wanted = request.target.platform;
    match &script.build {
        Some(build) if wanted == ScriptPlatform::Any || wanted == build.platform => {
            lint_for(&parsed, &request.target, std::slice::from_ref(build))
        }
        Some(_) => Vec::new(),
        None => lint_for(&parsed, &request.target, &request.builds),
    }
}

/// Lints `script` for `target`, or for each of `builds` if there are any.
#[must_use]
pub fn lint_for(script: &ParsedScript<'_>, target: &LintTarget, builds: &[LintBuild]) -> Vec<Finding> {
    let of = |build: &LintBuild| LintTarget {
        platform: build.platform,
        available: build.contents.clone(),
        ipxe: target.ipxe,
    };
    let targets: Vec<LintTarget> =
        if builds.is_empty() { vec![target.clone()] } else { builds.iter().map(of).collect() };
    if let [target] = &targets[..] {
        return lint(script, target).findings;
    }
    let mut all: BTreeMap<_, Finding> = BTreeMap::new();
    for finding in targets.iter().flat_map(|target| lint(script, target).findings) {
        let key = (finding.span.start, finding.rule, finding.span.end);
        // The worst of what builds make of it counts.
        if all.get(&key).is_none_or(|other| finding.severity < other.severity) {
            all.insert(key, finding);
        }
    }
    all.into_values().collect()
}

/// Joins the scripts of loaders that have the same text: they have the same findings, except for what a build lacks.
fn merged(scripts: Vec<LintedScript>) -> Vec<LintedScript> {
    let mut out: Vec<LintedScript> = Vec::new();
    let mut first = HashMap::new();
    for script in scripts {
        let Some(index) = first.get(&script.text).copied().filter(|_| script.embedded) else {
            first.insert(script.text.clone(), out.len());
            out.push(script);
            continue;
        };
        let known: &mut LintedScript = &mut out[index];
        for finding in script.findings {
            let lacks = finding.rule == Rule::MissingFeature;
            let same = |other: &Finding| {
                (other.rule, other.span) == (finding.rule, finding.span) && (!lacks || other.message == finding.message)
            };
            if !known.findings.iter().any(same) {
                known.findings.push(finding);
            }
        }
        known.findings.sort_by_key(|finding| (finding.span.start, finding.rule));
    }
    out
}

impl LintedScript {
    /// Returns the number of findings of this `severity`.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Returns the remedy for a configuration that the baseline has no list of.
#[must_use]
pub fn known_configs(configs: &[String]) -> Help {
    let names: Vec<String> = configs.iter().map(|name| format!("`{name}`")).collect();
    format!("name one of {}, or give a tree with loaders of that configuration", names.join(", ")).into()
}
