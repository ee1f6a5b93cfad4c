//! `cargo xtask verify`

use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::build::{Workshop, check_cache};
use netboot_loaders::build_loaders::{self, Choices};
use netboot_loaders::choices::sites::Options;
use netboot_loaders::oracle::{self, Answer, Question};
use netboot_loaders::progress::{Event, Progress};
use netboot_loaders::tree::checked::{self, CheckedTree};
use netboot_loaders::tree::verify;
use serde_json::json;

use super::reproduce::located;
use crate::cli::Verify;
use crate::exit::{BAD_INPUT, FAILURE, Failure, OTHER_BYTES};
use crate::host::Host;

pub(super) fn run(args: &Verify, host: &Host<'_>) -> Result<(), Failure> {
    let path = host.tree(args.path.as_deref())?;
    if args.against_make { against_make(args, &path, host) } else { against_manifest(path, host) }
}

fn against_manifest(path: Utf8PathBuf, host: &Host<'_>) -> Result<(), Failure> {
    let report = verify::verify(&path, host.ui).map_err(checked::Error::from)?;
    if !report.differences.is_empty() {
        return Err(checked::Error::Different { path, differences: report.differences }.into());
    }
    let (files, others) = (report.manifest.files.len(), report.others);
    let besides = match others {
        0 => "nothing else is there".to_owned(),
        _ => format!("nothing is known of {others} more"),
    };
    host.ui.result(
        &format!("{path}: all {files} files are as in the manifest, and {besides}\n"),
        json!({ "path": path, "files": files, "others": others }),
    );
    Ok(())
}

fn against_make(args: &Verify, path: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    let folder = Utf8Path::from_path(scratch.path()).unwrap_or(Utf8Path::new("/tmp"));
    let tree = CheckedTree::open(path, folder, host.ui)?;
    let choices = Choices::read(&host.project, &Options::from(&args.choices), host.ui)?;
    let (cache, origins, settings) = (host.cache()?, Host::origins(&args.origins)?, host.settings(&args.make)?);
    check_cache(&cache).map_err(build_loaders::Error::from)?;
    let plan = choices.plan(&host.path, &cache, host.ui)?;
    let workshop = Workshop { pin: &plan.inputs.pins.ipxe, cache: &cache, settings: &settings, progress: host.ui };
    let seed = args.seed.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| u64::from(since.subsec_nanos()))
    });
    let question = Question { plan: &plan, tree: &tree, sources: &cache, origins: &origins, workshop: &workshop };
    let answer = oracle::ask(&question, args.sample as usize, seed)?;
    let Answer { sites, loaders, unknown, differences } = &answer;
    if *unknown > 0 {
        let message = format!(
            "`{path}` has {unknown} loaders that the choices do not have, and nobody asks make about these\nhint: name the inventories that it was built with, as `--sites racks.csv`"
        );
        host.ui.report(&Event::Warning { message });
    }
    let what = format!("{loaders} loaders of {} of {} sites (seed {seed})", sites.len(), plan.sites().count());
    if !differences.is_empty() {
        let told: String =
            differences.iter().map(|(path, difference)| format!("`{path}`\n{}", located(difference))).collect();
        let text = format!(
            "of {what}, {} are not what make gives\n{told}hint: compare again with `--seed {seed}`, and report it with the toolchain of the manifest",
            differences.len()
        );
        return Err(Failure::new(OTHER_BYTES, &text));
    }
    host.ui.result(
        &format!("{path}: {what} are what make gives, byte for byte\n"),
        json!({ "path": path, "loaders": loaders, "sites": sites, "seed": seed }),
    );
    Ok(())
}

impl From<oracle::Error> for Failure {
    fn from(error: oracle::Error) -> Self {
        use oracle::Error as E;
        match error {
            E::OtherChoices { .. } | E::Nothing => Self::of(BAD_INPUT, &error),
            E::Build(error) => build_loaders::Error::from(error).into(),
            E::Changed(_) | E::Fs(_) => Self::of(FAILURE, &error),
        }
    }
}
