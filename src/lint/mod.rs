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
use self::request::MAX_SCRIPTS;
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
/// [`Error`] if a script cannot be found or read, or if none can be checked; findings are no errors.
pub fn lint_all(request: &LintRequest<'_>, progress: &dyn Progress) -> Result<LintedScripts, Error> {
    let targets = Arc::new((request.target.clone(), request.builds.clone()));
    let (mut all, mut unchecked) = (LintedScripts::default(), Vec::new());
    sources::find(request, progress, &mut |script| {
        let script = match script {
            Err(error) if error.is_of_script() && unchecked.len() < MAX_SCRIPTS.0 => {
                unchecked.push(error);
                return Ok(());
            }
            script => script?,
        };
        let (name, embedded) = (script.name.clone(), script.embedded);
        let digest = Sha256Digest::of(script.text.as_bytes());
        let (targets, excerpts) = (Arc::clone(&targets), all.excerpts_left());
        let findings = parallel::detached_on_cancel(progress, move || findings(&script, &targets, excerpts));
        all.add(&name, digest, embedded, findings.ok_or(Error::Cancelled)?)
    })?;
    if all.scripts.is_empty() && !unchecked.is_empty() {
        return Err(unchecked.swap_remove(0));
    }
    all.unchecked = unchecked;
    for warning in all.warnings() {
        progress.warn(warning);
    }
    Ok(all)
}

/// Lints one script against all builds that run it.
fn findings(
    script: &FoundScript,
    (target, builds): &(LintTarget, Vec<LintBuild>),
    excerpts: usize,
) -> (Vec<LintFinding>, bool) {
    let templates = if script.embedded { Templates::None } else { Templates::Opaque };
    let parsed = ParsedScript::parse(&script.text, templates);
    let (found, has_more) = match &script.build {
        Some(build) if target.platform == ScriptPlatform::Any || target.platform == build.platform => {
            lint_for(&parsed, target, std::slice::from_ref(build))
        }
        Some(_) => (Vec::new(), false),
        None => lint_for(&parsed, target, builds),
    };
    (LintFinding::all(found, &parsed, excerpts), has_more)
}

/// Lints `script` for `target`, or for each of `builds` if there are any. Returns the findings, and whether there are more
/// of a rule.
#[must_use]
pub fn lint_for(script: &ParsedScript<'_>, target: &LintTarget, builds: &[LintBuild]) -> (Vec<Finding>, bool) {
    let of = |build: &LintBuild| LintTarget {
        platform: build.platform,
        available: build.contents.clone(),
        ipxe: target.ipxe,
    };
    let targets: Vec<LintTarget> =
        if builds.is_empty() { vec![target.clone()] } else { builds.iter().map(of).collect() };
    if let [target] = &targets[..] {
        let report = lint(script, target);
        return (report.findings, report.has_more);
    }
    let (mut all, mut has_more): (BTreeMap<_, Finding>, bool) = (BTreeMap::new(), false);
    for report in targets.iter().map(|target| lint(script, target)) {
        has_more |= report.has_more;
        for finding in report.findings {
            let key = (finding.span.start, finding.rule, finding.span.end);
            // The worst of what builds make of it counts.
            if all.get(&key).is_none_or(|other| finding.severity < other.severity) {
                all.insert(key, finding);
            }
        }
    }
    (all.into_values().collect(), has_more)
}

/// Returns the remedy for a configuration that the baseline has no list of.
#[must_use]
pub fn known_configs(configs: &[String]) -> Help {
    if configs.is_empty() {
        return "give a tree with loaders of that configuration: this project has no such list".into();
    }
    let names: Vec<String> = configs.iter().map(|name| format!("`{name}`")).collect();
    format!("name one of {}, or give a tree with loaders of that configuration", names.join(", ")).into()
}
