//! Lints iPXE scripts: finds them in files, folders, trees and loaders and on web servers, and checks each against the
//! builds that run it.

mod contents;
mod excerpt;
mod linted;
mod request;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use netboot_script::{Finding, LintTarget, ParsedScript, ScriptPlatform, Templates, lint};

pub use self::contents::LintBuild;
pub use self::excerpt::{FindingTexts, LineExcerpt};
pub use self::linted::{LintFinding, LintedScript, LintedScripts};
pub use self::request::{Error, LintPlace, LintRequest, MAX_WORDS};
use self::sources::FoundScript;
use crate::base::diagnostic::Help;
use crate::base::parallel;
use crate::base::progress::Progress;
use crate::digest::Sha256Digest;

/// Lints all scripts of `request`, one after another: of each, only what a report needs is kept.
///
/// # Errors
///
/// [`Error`] if a script cannot be found or read; findings are no errors.
pub fn lint_all(request: &LintRequest<'_>, progress: &dyn Progress) -> Result<LintedScripts, Error> {
    let targets = Arc::new((request.target.clone(), request.builds.clone()));
    let mut all = LintedScripts::default();
    sources::find(request, progress, &mut |script| {
        let (name, embedded) = (script.name.clone(), script.embedded);
        let digest = Sha256Digest::of(script.text.as_bytes());
        let (targets, excerpts) = (Arc::clone(&targets), all.excerpts_left());
        let findings = parallel::detached_on_cancel(progress, move || findings(&script, &targets, excerpts));
        all.add(&name, digest, embedded, findings.ok_or(Error::Cancelled)?)
    })?;
    if let Some(warning) = all.warning() {
        progress.warn(warning);
    }
    Ok(all)
}

/// Lints one script against all builds that run it.
fn findings(
    script: &FoundScript,
    (target, builds): &(LintTarget, Vec<LintBuild>),
    excerpts: usize,
) -> Vec<LintFinding> {
    let templates = if script.embedded { Templates::None } else { Templates::Opaque };
    let parsed = ParsedScript::parse(&script.text, templates);
    let found = match &script.build {
        Some(build) if target.platform == ScriptPlatform::Any || target.platform == build.platform => {
            lint_for(&parsed, target, std::slice::from_ref(build))
        }
        Some(_) => Vec::new(),
        None => lint_for(&parsed, target, builds),
    };
    LintFinding::all(found, &parsed, excerpts)
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

/// Returns the remedy for a configuration that the baseline has no list of.
#[must_use]
pub fn known_configs(configs: &[String]) -> Help {
    let names: Vec<String> = configs.iter().map(|name| format!("`{name}`")).collect();
    format!("name one of {}, or give a tree with loaders of that configuration", names.join(", ")).into()
}
