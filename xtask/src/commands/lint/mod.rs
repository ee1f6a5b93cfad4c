//! Command `cargo xtask lint`.

mod frames;
mod sarif;
mod server;
mod text;

use netboot_loaders::base::diagnostic::{Class, Page};
use netboot_loaders::base::fs::{self, Temporary};
use netboot_loaders::base::http::NetworkAccess;
use netboot_loaders::base::paths;
use netboot_loaders::base::plural::count;
use netboot_loaders::lint::{
    LintBuild, LintFinding, LintPlace, LintRequest, LintedScript, LintedScripts, known_configs, lint_all,
};
use netboot_loaders::printable::printable;
use netboot_script::{LintTarget, ScriptPlatform, Severity};
use serde_json::{Value, json};

use crate::cli::LintArgs;
use crate::exit::Failure;
use crate::host::{Host, absolute, temporary_folder};

pub(super) fn run(args: &LintArgs, host: &Host<'_>) -> Result<(), Failure> {
    let platform = args.platform.map_or(ScriptPlatform::Any, Into::into);
    let target = LintTarget { platform, ipxe: args.ipxe.into(), available: None };
    let builds = args.config.as_deref().map(|config| builds(config, platform, host)).transpose()?.unwrap_or_default();
    if args.lsp {
        return server::run(target, builds, host.ui);
    }
    let mut places = args.places();
    if places.is_empty() {
        places.push(LintPlace::Path(own_scripts(host)?));
    }
    let network = if args.offline { NetworkAccess::Offline } else { NetworkAccess::Online(host.http()?) };
    let scratch = Temporary::create(&temporary_folder()?, paths::TEMPORARY)?;
    let request = LintRequest { places, target, builds, network: &network, scratch: scratch.path() };
    let mut linted = lint_all(&request, host.ui)?;
    for script in &mut linted.scripts {
        // Files of the project are shown as elsewhere.
        let own = script.name.strip_prefix(host.project.root().as_str()).and_then(|name| name.strip_prefix('/'));
        if let Some(own) = own {
            script.name = own.to_owned();
        }
    }
    if let Some(file) = &args.sarif {
        fs::write_atomic(&absolute(file)?, sarif::report(&linted.scripts).as_bytes())?;
    }
    host.ui.answer(&text::report(&linted), object(&linted));
    if !linted.unchecked.is_empty() {
        return Err(linted.unchecked.swap_remove(0).into());
    }
    let (errors, warnings) = (linted.count(Severity::Error), linted.count(Severity::Warning));
    if errors == 0 && (warnings == 0 || args.deny.is_none()) {
        return Ok(());
    }
    let found = [count(errors, "error"), count(warnings, "warning")].join(" and ");
    let failure = Failure::new(Class::Check, format!("found {found} in {}", count(linted.scripts.len(), "script")));
    Err(failure.help("correct the lines above").page(Page::Lint))
}

/// Returns the builds of the configuration `config` for `platform`.
fn builds(config: &str, platform: ScriptPlatform, host: &Host<'_>) -> Result<Vec<LintBuild>, Failure> {
    let builds = LintBuild::of_config(&host.project, config, platform)?;
    if builds.is_empty() {
        let text =
            format!("there is no list of what is linked into loaders of the configuration `{}`", printable(config));
        return Err(Failure::new(Class::BadInput, text).help(known_configs(&LintBuild::configs(&host.project)?)));
    }
    Ok(builds)
}

/// Returns the folder of the project's own scripts.
fn own_scripts(host: &Host<'_>) -> Result<camino::Utf8PathBuf, Failure> {
    let folder = host.project.scripts();
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::exists(&folder)?;
    let text = format!("there is no folder `{}`", printable(&folder));
    Err(Failure::new(Class::BadInput, text).help("name the scripts, folders, trees or addresses to lint"))
}

fn object(linted: &LintedScripts) -> Value {
    let finding = |finding: &LintFinding| {
        json!({
            "rule": finding.rule.id(),
            "severity": finding.severity.as_str(),
            "line": finding.line,
            "column": finding.column,
            "message": finding.message,
            "help": [finding.remedy],
        })
    };
    let script = |script: &LintedScript| json!({ "script": script.name, "findings": script.findings.iter().map(finding).collect::<Vec<_>>() });
    json!({
        "scripts": linted.scripts.iter().map(script).collect::<Vec<_>>(),
        "errors": linted.count(Severity::Error),
        "warnings": linted.count(Severity::Warning),
        "notes": linted.count(Severity::Note),
    })
}
