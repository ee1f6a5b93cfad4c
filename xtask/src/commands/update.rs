//! Command `cargo xtask update`.

use netboot_loaders::base::plural::{choose, count};
use netboot_loaders::base::url::Url;
use netboot_loaders::config::pins::{IpxePin, SyslinuxPin};
use netboot_loaders::digest::CommitId;
use netboot_loaders::update::history::{Changes, Direction};
use netboot_loaders::update::{UpdateRequest, ipxe, syslinux};
use serde_json::{Value, json};

use crate::cli::{Input, OriginArgs, Update};
use crate::exit::Failure;
use crate::host::Host;
use crate::program::name;
use netboot_loaders::base::diagnostic::Class;

pub(super) fn run(args: Update, host: &Host<'_>) -> Result<(), Failure> {
    let Update { what, to, dry_run, offline, ipxe_url, syslinux_archive } = args;
    let misplaced = match what {
        Some(Input::Ipxe) => syslinux_archive.as_ref().map(|_| "--syslinux-archive"),
        Some(Input::Syslinux) => ipxe_url.as_ref().map(|_| "--ipxe-url"),
        None => None,
    };
    if let Some(option) = misplaced {
        let text = format!("`{option}` says nothing about this input");
        return Err(Failure::new(Class::BadInput, text).help("leave it out, or name the other input"));
    }
    let given = ipxe_url.is_some();
    let origins =
        host.origins(&OriginArgs { offline, ipxe_url, syslinux_archive, secure_boot_set: None, sources_from: None })?;
    let cache = host.cache()?;
    let request =
        UpdateRequest { project: &host.project, cache: &cache, origins: &origins, to: to.as_deref(), dry_run };
    let say = |(mut lines, changed, object): (String, bool, Value), next| {
        if changed && dry_run {
            lines += "nothing is written because of --dry-run\n";
        } else if changed {
            lines += &format!("vendor/pins.toml is written: look at it with `git diff`\nnext: {} {next}\n", name());
        }
        let object = json!({ "changed": changed, "written": changed && !dry_run, "update": object });
        if dry_run { host.ui.answer(&lines, object) } else { host.ui.result(&lines, object) }
    };
    if what != Some(Input::Syslinux) {
        let next = "build-loaders, which compares the linked objects with the baseline";
        say(ipxe_summary(&ipxe::update(&request, host.ui)?, given), next);
    }
    if what != Some(Input::Ipxe) {
        say(syslinux_summary(&syslinux::update(&request, host.ui)?), "build-loaders");
    }
    Ok(())
}

/// Returns lines for people, whether anything changes, and the same as an object for programs.
fn ipxe_summary(outcome: &ipxe::IpxeUpdate, given: bool) -> (String, bool, Value) {
    let ipxe::IpxeUpdate { old, new, url, changes, shallow } = outcome;
    let pin = |pin: &IpxePin| json!({ "version": pin.version, "ref": pin.git_ref, "commit": pin.commit });
    let object = json!({ "input": "ipxe", "url": url, "old": pin(old), "new": pin(new), "changes": changes });
    if old == new {
        let lines = format!("iPXE {} ({}) is up to date with {} of {url}\n", old.version, old.commit, new.git_ref);
        return (lines, false, object);
    }
    let mut lines = format!(
        "iPXE {} -> {}, {} of {url}\n  old: {}\n  new: {}\n",
        old.version, new.version, new.git_ref, old.commit, new.commit
    );
    match changes {
        _ if old.commit == new.commit => lines += "the commit stays; only what it is called changes\n",
        Some(changes) => lines += &brings(changes),
        None => lines += "that repository does not have the old commit, so nobody can say what came since\n",
    }
    if *shallow {
        lines += "it is a clone without its whole history: `git fetch --unshallow` there brings the rest\n";
    }
    if given {
        let urls: Vec<String> = old.urls.iter().map(Url::to_string).collect();
        lines += &format!("builds elsewhere take iPXE from {}, which must have this commit, too\n", urls.join(" or "));
    }
    (lines, true, object)
}

/// Maximum number of commits to show.
const MAX_SHOWN: usize = 20;

/// Summarises the commits between the pins, which the update adds or removes.
fn brings(changes: &Changes) -> String {
    let Changes { direction, base, commits, lost, about_security, security } = changes;
    let colon = if security.is_empty() { "" } else { ":" };
    let say = choose(*about_security, "says", "say");
    let noun = if *direction == Direction::Back { "fewer commit" } else { "commit" };
    let mut lines =
        format!("{}, {} of which {say} something about security{colon}\n", count(*commits, noun), about_security);
    for commit in security.iter().take(MAX_SHOWN) {
        lines += &format!("  {}  {}\n", short(&commit.commit), commit.subject);
    }
    if *about_security > MAX_SHOWN {
        lines += &format!("  and {} more\n", about_security - MAX_SHOWN);
    }
    if *direction == Direction::Diverged {
        let since = base.as_ref().map_or_else(|| "from the start".into(), |base| format!("since {}", short(base)));
        lines += &format!(
            "the histories diverge {since}: {} of the old pin {} not in the new one\n",
            count(*lost, "commit"),
            choose(*lost, "is", "are")
        );
    }
    lines
}

/// Returns as many digits of `commit` as iPXE's own messages show.
fn short(commit: &CommitId) -> String {
    commit.to_string()[..9].to_owned()
}

fn syslinux_summary(outcome: &syslinux::SyslinuxUpdate) -> (String, bool, Value) {
    let syslinux::SyslinuxUpdate { old, new, archive } = outcome;
    let pin = |pin: &SyslinuxPin| {
        let members = pin
            .members
            .iter()
            .map(|member| json!({ "name": member.name, "sha256": member.sha256, "size": member.size }));
        json!({ "version": pin.version, "members": members.collect::<Vec<_>>() })
    };
    let object = json!({ "input": "syslinux", "archive": archive, "old": pin(old), "new": pin(new) });
    let Some(archive) = archive else {
        let lines = format!(
            "syslinux {} stays as it is: there has been no release since 6.03, only the pre-release 6.04-pre1\n\
             to pin the files of an archive, give it with `--syslinux-archive`, and its version with `--to`\n",
            old.version
        );
        return (lines, false, object);
    };
    if old == new {
        let lines =
            format!("syslinux {} is up to date with {}, SHA-256 {}\n", old.version, archive.name, archive.sha256);
        return (lines, false, object);
    }
    let mut lines =
        format!("syslinux {} -> {}, {}, SHA-256 {}\n", old.version, new.version, archive.name, archive.sha256);
    for (old, new) in old.members.iter().zip(&new.members) {
        let what = if old == new {
            "as pinned".into()
        } else {
            format!("{}, SHA-256 {}", count(new.size, "byte"), new.sha256)
        };
        lines += &format!("  {}: {what}\n", new.name);
    }
    (lines, true, object)
}
