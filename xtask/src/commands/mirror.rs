//! Command `cargo xtask mirror`.

use std::process::ExitCode;

use camino::Utf8Path;
use netboot_loaders::base::parallel::detached_on_cancel;
use netboot_loaders::base::progress::Progress;
use netboot_loaders::build_loaders;
use netboot_loaders::config::pins::Pins;
use netboot_loaders::mirror::schedule::{ScheduledJob, Scheduler};
use netboot_loaders::mirror::signature::Trust;
use netboot_loaders::mirror::{MirrorRequest, Publisher, fedora_coreos, flatcar, mirror};
use serde_json::json;

use crate::cli::{MirrorArgs, MirrorCommand};
use crate::exit::Failure;
use crate::host::{self, Host};
use crate::ui::terminal_safe_json;
use netboot_loaders::base::diagnostic::{Class, Diagnostic};

pub(super) fn run(what: &MirrorCommand, host: &Host<'_>) -> Result<ExitCode, Failure> {
    let (upstream, args) = upstream(what);
    upstream.check_shim()?;
    let dest = host::absolute(&args.dest)?;
    if let Some(scheduler) = args.print_schedule {
        print_schedule(scheduler, what, &dest, host)?;
        return Ok(ExitCode::SUCCESS);
    }
    let trust = args.verify_signatures.then(|| trust(upstream.product(), args, host)).transpose()?;
    let MirrorArgs { keep, links, check: thorough, allow_older, .. } = *args;
    let request = MirrorRequest { upstream, dest, keep, links, thorough, trust, allow_older };
    let outcome = mirror(&request, &host.http()?, host.ui)?;
    if let Some(shim) = &outcome.shim {
        host.ui.print(&format!("shim: {shim}\n"));
    }
    // Serialised directly to a string, the fields keep their declared order.
    let line = terminal_safe_json(&serde_json::to_string(&outcome)?);
    host.ui.answer(&format!("{line}\n"), json!(outcome));
    let code = args.exit_code_on_update.filter(|_| outcome.changed);
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn upstream(what: &MirrorCommand) -> (Publisher, &MirrorArgs) {
    match what {
        MirrorCommand::FedoraCoreos { stream, arch, stream_url, args } => {
            let (stream_url, base_url) = (stream_url.clone(), args.base_url.clone());
            let (stream, arch, shim) = (*stream, *arch, args.shim);
            let origin = fedora_coreos::FedoraCoreosSource { stream, arch, stream_url, base_url, shim };
            (Publisher::FedoraCoreos(origin), args)
        }
        MirrorCommand::Flatcar { channel, arch, args } => {
            let (channel, arch, base_url, shim) = (*channel, *arch, args.base_url.clone(), args.shim);
            let origin = flatcar::FlatcarSource { channel, arch, base_url, shim };
            (Publisher::Flatcar(origin), args)
        }
    }
}

/// Returns the keys and the program that check signatures of `product`.
fn trust(product: &'static str, args: &MirrorArgs, host: &Host<'_>) -> Result<Trust, Failure> {
    let project = host.project.clone();
    let pins = detached_on_cancel(host.ui, move || Pins::read(&project)).ok_or(build_loaders::Error::Cancelled)??;
    let keys = args.keys.as_deref().map(host::absolute).transpose()?;
    Ok(Trust::new(product, &pins.signers, keys, &host.path)?)
}

fn print_schedule(scheduler: Scheduler, what: &MirrorCommand, dest: &Utf8Path, host: &Host<'_>) -> Result<(), Failure> {
    let (upstream, args) = upstream(what);
    let mut command = vec![host::own_program()?.into_string(), "--quiet".to_owned()];
    if args.verify_signatures {
        command.extend(["--project".to_owned(), host.project.root().to_string()]);
    }
    command.push("mirror".to_owned());
    command.extend(arguments(what, dest)?);
    if scheduler == Scheduler::Synology && args.exit_code_on_update.is_none() {
        // Synology sends mail only if a command fails.
        command.extend(["--exit-code-on-update", "255"].map(str::to_owned));
    }
    let stream_url = if let MirrorCommand::FedoraCoreos { stream_url, .. } = what { stream_url.as_ref() } else { None };
    for (option, url) in [("--base-url", args.base_url.as_ref()), ("--stream-url", stream_url)] {
        if let Some(url) = url.filter(|url| url.has_secret()) {
            let message =
                format!("`{option} {url}` has a password or a token, and the schedule shows it to whoever can read it");
            let help = "keep the file that it goes to readable for root alone, as with `chmod 600`";
            host.ui.warn(Diagnostic::new(message).help(help));
        }
    }
    let (identity, exit_code_on_update) = (upstream.identity(), args.exit_code_on_update);
    let text = ScheduledJob { identity, command, exit_code_on_update }.text(scheduler).map_err(|error| {
        Failure::new(Class::BadInput, format!("{error}, for {}", scheduler.as_str()))
            .help("choose another path or address")
    })?;
    host.ui.answer(&text, json!({ "schedule": text }));
    Ok(())
}

/// Returns arguments that mean the same in every working folder.
fn arguments(what: &MirrorCommand, dest: &Utf8Path) -> Result<Vec<String>, Failure> {
    let (first, url, args) = match what {
        MirrorCommand::FedoraCoreos { stream, arch, stream_url, args } => {
            (["fedora-coreos", "--stream", stream.as_str(), "--arch", arch.as_str()], stream_url.as_ref(), args)
        }
        MirrorCommand::Flatcar { channel, arch, args } => {
            (["flatcar", "--channel", channel.as_str(), "--arch", arch.as_str()], None, args)
        }
    };
    let keys = args.keys.as_deref().map(host::absolute).transpose()?;
    let options = [
        ("--stream-url", url.map(|url| url.expose().to_owned())),
        ("--dest", Some(dest.to_string())),
        ("--keep", Some(args.keep.to_string())),
        ("--links", Some(args.links.to_string())),
        ("--keys", keys.map(Into::into)),
        ("--base-url", args.base_url.as_ref().map(|url| url.expose().to_owned())),
        ("--exit-code-on-update", args.exit_code_on_update.map(|code| code.to_string())),
    ];
    let mut words: Vec<String> = first.map(str::to_owned).into();
    for (name, value) in options {
        words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    }
    words.extend(args.check.then(|| "--check".to_owned()));
    words.extend(args.allow_older.then(|| "--allow-older".to_owned()));
    words.extend(args.shim.then(|| "--shim".to_owned()));
    words.extend(args.verify_signatures.then(|| "--verify-signatures".to_owned()));
    Ok(words)
}
