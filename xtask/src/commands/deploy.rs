//! Command `cargo xtask deploy`.

use camino::Utf8PathBuf;
use netboot_loaders::base::plural::{all, choose, size};
use netboot_loaders::base::process::find_program;
use netboot_loaders::build_loaders;
use netboot_loaders::deploy::plan::{DeployOptions, FileAction};
use netboot_loaders::deploy::sftp::ssh::Ssh;
use netboot_loaders::deploy::target::DeployTarget;
use netboot_loaders::deploy::{self, DeployOutcome, DeployRequest};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::printable::printable;
use netboot_loaders::toolchain::{self, needs};
use netboot_loaders::tree::open::CheckedTree;
use serde_json::{Value, json};

use super::{MAX_NAME, check_place, install, outside_inputs};
use crate::cli::Deploy;
use crate::exit::Failure;
use crate::host::{Host, absolute, temporary_folder, whole_environment};
use netboot_loaders::base::diagnostic::Class;

pub(super) fn run(args: &Deploy, host: &Host<'_>) -> Result<(), Failure> {
    let path = host.tree(args.tree.as_deref())?;
    let target = match &args.target {
        DeployTarget::Folder(folder) => {
            let folder = absolute(folder)?;
            check_place(&folder, MAX_NAME)?;
            outside_inputs(&folder, host)?;
            DeployTarget::Folder(folder)
        }
        server @ DeployTarget::Sftp(_) => server.clone(),
    };
    let program = match &target {
        DeployTarget::Folder(_) => Utf8PathBuf::new(),
        DeployTarget::Sftp(_) => ssh(args, host)?,
    };
    let ssh = Ssh {
        program,
        config: args.ssh_config.as_deref().map(absolute).transpose()?,
        options: args.ssh_options.clone(),
        env: whole_environment(),
    };
    let lock = match &target {
        DeployTarget::Folder(_) => None,
        DeployTarget::Sftp(address) => {
            let name = Sha256Digest::of(address.to_string().as_bytes());
            Some(host.cache()?.lock(&format!("deploy-{}", name.short())))
        }
    };
    let request = DeployRequest {
        target: &target,
        ssh: &ssh,
        lock,
        options: DeployOptions { read_all: args.read_all, prune: args.prune, replace: args.replace },
        attempts: args.attempts,
        dry_run: args.dry_run,
    };
    let tree = CheckedTree::open(&path, &temporary_folder()?, host.ui)?;
    let outcome = deploy::run(tree, &request, host.ui)?;
    let object = object(&outcome, &target, args.dry_run);
    if args.dry_run {
        host.ui.answer(&format!("{}nothing was done at {target}\n", outcome.plan), object);
    } else {
        host.ui.result(&summary(&outcome, &target), object);
    }
    outcome.refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// Returns the ssh program that carries SFTP.
fn ssh(args: &Deploy, host: &Host<'_>) -> Result<Utf8PathBuf, Failure> {
    if let Some(named) = &args.ssh {
        let found = if named.as_str().contains('/') { Some(absolute(named)?) } else { None };
        let found = found.filter(|path| path.is_file()).or_else(|| find_program(named.as_str(), &host.path));
        return found.ok_or_else(|| {
            Failure::new(Class::MissingTool, format!("found no program `{named}`"))
                .help("name OpenSSH's client, or leave `--ssh` out")
        });
    }
    if args.install_deps {
        install::missing(&needs::deploy(), host)?;
    }
    let tools = toolchain::look(&needs::deploy(), &host.path, &host.cache()?, host.ui);
    let tools = tools.map_err(build_loaders::Error::from)?;
    Ok(tools.first().map(|tool| tool.file().to_owned()).unwrap_or_default())
}

/// Returns a summary of the deployment for people.
fn summary(outcome: &DeployOutcome, target: &DeployTarget) -> String {
    let DeployOutcome { plan, sent, replaced, pruned, bytes, .. } = outcome;
    let files = plan.listed().count();
    let mut text = if *pruned == 0 && *bytes == 0 && plan.under_way().next().is_none() {
        format!("{target} is up to date: {} {} there\n", all(files, "file"), choose(files, "is", "are"))
    } else {
        let unchanged = files - sent - replaced;
        format!(
            "{target} has {}: {sent} sent, {replaced} replaced, {unchanged} unchanged, {pruned} pruned\n{} sent and read back\n",
            all(files, "file"),
            size(*bytes)
        )
    };
    for path in &plan.obsolete {
        text += &format!("obsolete   {} (stays: nobody asked to prune)\n", printable(path));
    }
    for path in &plan.changed {
        text += &format!("changed    {} (stays: it is not what was put there)\n", printable(path));
    }
    text
}

/// Returns the same summary for programs.
fn object(outcome: &DeployOutcome, target: &DeployTarget, dry_run: bool) -> Value {
    let DeployOutcome { plan, sent, replaced, pruned, bytes, reconnected, .. } = outcome;
    let named = |step| {
        let files = plan.files.iter().filter(|planned| planned.step == step);
        files.map(|planned| planned.wanted.path.as_str()).collect::<Vec<_>>()
    };
    let planned = json!({
        "send": named(FileAction::Send),
        "replace": named(FileAction::Replace),
        "unchanged": named(FileAction::Unchanged),
        "prune": plan.prune,
        "obsolete": plan.obsolete,
        "changed": plan.changed,
        "strangers": plan.strangers,
        "bytes": plan.to_send(),
    });
    json!({
        "target": target.to_string(),
        "dry-run": dry_run,
        "sent": sent,
        "replaced": replaced,
        "pruned": pruned,
        "bytes": bytes,
        "reconnected": reconnected,
        "plan": planned,
    })
}
